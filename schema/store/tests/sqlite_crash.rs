//! What was acked survives `kill -9`: a child process appends, is killed, and the file is judged by what it had printed.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod contract;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use contract::{Bed, Person, TestClock, message, offset};
use schema_store::{SqliteStore, Store};
use schema_wire::record::{Appended, Entry};
use schema_wire::{ConversationId, DeviceId, Offset, UserId};

const FOLDER: &str = "STORE_CRASH_FOLDER";
const LIVES: u64 = 4;
const ACKS_PER_LIFE: usize = 150;
const WRITERS: u64 = 8;

/// Who writes where, kept beside the store for the next life.
fn remembered(folder: &Path) -> (Person, ConversationId) {
    let text = std::fs::read_to_string(folder.join("who")).unwrap();
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap();
    let person = Person { user: UserId::parse(next()).unwrap(), device: DeviceId::parse(next()).unwrap() };
    (person, ConversationId::parse(next()).unwrap())
}

async fn prepare(folder: &Path) {
    let bed = Bed { store: SqliteStore::open(&folder.join("store.db")).unwrap(), clock: TestClock::new() };
    let (alice, _, conversation) = bed.pair().await;
    let who = format!("{}\n{}\n{conversation}\n", alice.user, alice.device);
    std::fs::write(folder.join("who"), who).unwrap();
}

/// The child: appends until it is killed, and prints each key and offset once acked.
async fn write_until_killed(folder: &Path) {
    let store = SqliteStore::open(&folder.join("store.db")).unwrap();
    let (alice, conversation) = remembered(folder);
    let life = u64::from(std::process::id()) << 24;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.push(tokio::spawn(async move {
            for n in 0.. {
                let key = life | (writer << 20) | n;
                let at = offset(store.append(vec![message(alice, conversation, key)]).await.unwrap()[0]);
                writeln!(std::io::stdout().lock(), "acked {key} {at}").unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Runs one life of the child and returns what it acked before it was killed.
fn one_life(folder: &Path) -> Vec<(u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["acked_survives_being_killed", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acked = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The harness may have begun the line with words of its own; a line cut by the kill has no offset.
        let Some((_, pair)) = line.split_once("acked ") else { continue };
        if let Some((key, at)) = pair.split_once(' ')
            && let (Ok(key), Ok(at)) = (key.parse(), at.parse())
        {
            acked.push((key, at));
        }
        if acked.len() == ACKS_PER_LIFE {
            child.kill().unwrap();
            break;
        }
    }
    child.wait().unwrap();
    acked
}

#[tokio::test]
async fn acked_survives_being_killed() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return write_until_killed(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path()).await;
    let mut acked = Vec::new();
    for _ in 0..LIVES {
        let life = one_life(folder.path());
        assert_eq!(life.len(), ACKS_PER_LIFE, "the child ended by itself");
        acked.extend(life);
        judge(folder.path(), &acked).await;
    }
}

async fn judge(folder: &Path, acked: &[(u64, u64)]) {
    let store = SqliteStore::open(&folder.join("store.db")).unwrap();
    let bed = Bed { store, clock: TestClock::new() };
    let (alice, conversation) = remembered(folder);
    for (key, at) in acked {
        let again = bed.publish(message(alice, conversation, *key)).await;
        assert!(
            matches!(again, Appended::Duplicate { offset: Offset(o), .. } if o == *at),
            "{key} {at}: {again:?}"
        );
    }
    let (mut from, mut head) = (1, 1);
    while from <= head {
        let page = bed.page(alice.user, conversation, from, false).await;
        for entry in &page.entries {
            let Entry::Message(m) = entry else { panic!("a hole: {entry:?}") };
            assert_eq!(m.offset.0, from, "dense");
            from += 1;
        }
        head = page.head.0;
    }
    assert!(head >= acked.len() as u64);
}
