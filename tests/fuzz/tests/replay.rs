//! Replays every committed input of every target: what once broke a promise, or came close, never does again.

use fuzz::{TARGETS, corpus, engine};

/// All corpora together, in bytes.
const BYTES_MAX: usize = 1_500_000;

fn replay(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("the target is listed");
    let inputs = corpus::load(name).expect("the corpus is readable");
    assert!(!inputs.is_empty(), "{name} has a corpus");
    assert!(inputs.len() <= corpus::FILES_MAX, "{name} has {} files", inputs.len());
    for (path, input) in inputs {
        if let Err(promise) = engine::replay(target, &input) {
            panic!("{} breaks: {promise}", path.display());
        }
    }
}

macro_rules! corpora {
    ($($name:ident),+ $(,)?) => {
        $(#[test] fn $name() { replay(stringify!($name)); })+

        #[test]
        fn every_target_is_replayed() {
            let listed: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(listed, [$(stringify!($name)),+]);
        }
    };
}

corpora!(wire, upgrade, websocket, proxy, internal, jwt, tls, quic, sealed, shard);

#[test]
fn the_corpora_stay_small() {
    let inputs = TARGETS.iter().flat_map(|target| corpus::load(target.name).expect("the corpus is readable"));
    let bytes: usize = inputs.map(|(_, input)| input.len()).sum();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes of inputs");
}
