//! Redis: its lives, its password, and three of them as a cluster.

use servers::redis::Reply;
use servers::{Cluster, Redis, RedisOptions};

#[test]
fn it_forgets_or_keeps_as_it_was_told() {
    let mut forgetful = Redis::start();
    let options = RedisOptions { keeps: true, password: Some("correct".into()), ..RedisOptions::default() };
    let mut keeper = Redis::start_with(&options);
    for server in [&mut forgetful, &mut keeper] {
        server.command(&["SET", "mark", "1"]);
        server.kill();
        assert!(!server.runs());
        server.start_again();
    }
    assert_eq!(forgetful.command(&["GET", "mark"]), Reply::Nothing);
    assert_eq!(keeper.command(&["GET", "mark"]).text(), "1");
    assert!(keeper.url().starts_with("redis://:correct@127.0.0.1:"));
    keeper.flush();
    assert_eq!(keeper.command(&["GET", "mark"]), Reply::Nothing);
    keeper.stop();
    assert_eq!(keeper.try_command(&["PING"]), None);
}

#[test]
fn it_hangs_while_paused() {
    let server = Redis::start();
    server.pause();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| server.command(&["PING"]));
        std::thread::sleep(std::time::Duration::from_millis(200));
        assert!(!asking.is_finished());
        server.resume();
        assert_eq!(asking.join().unwrap().text(), "PONG");
    });
}

#[test]
fn three_nodes_share_the_slots() {
    let mut cluster = Cluster::start();
    let Reply::List(shards) = cluster.nodes[0].command(&["CLUSTER", "SLOTS"]) else { panic!("a list") };
    assert_eq!((shards.len(), cluster.urls().len()), (3, 3));
    let heard = cluster
        .nodes
        .iter()
        .filter(|node| !matches!(node.try_command(&["SPUBLISH", "channel", "x"]), Some(Reply::Error(_))));
    assert_eq!(heard.count(), 1, "a channel has one home");
    cluster.nodes[2].kill();
    cluster.nodes[2].start_again();
    cluster.until_whole();
}
