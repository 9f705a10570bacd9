//! The commit floor writes what the store writes: the store reads it, and both say the same to SQLite.

use schema_store::{Accounts, SqliteStore, Store};
use schema_wire::Offset;
use schema_wire::record::{Entry, StoreReply, StoreRequest};

use crate::floor::commit::{HEAD, MESSAGE, PUBLISH_KEY, SETTINGS, measure};

const APPEND: &str = include_str!("../../../../schema/store/src/sqlite/append.rs");
const OPEN: &str = include_str!("../../../../schema/store/src/sqlite/open.rs");

#[test]
fn the_store_reads_what_the_floor_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = measure(folder.path(), 200, 10, 1, 0.2).unwrap();
    assert!(outcome.rows_per_s > 0.0 && outcome.cpu_us_per_row > 0.0, "{outcome:?}");
    assert!(0.0 < outcome.commit_p50_us && outcome.commit_p50_us <= outcome.commit_p99_us, "{outcome:?}");
    assert!(measure(folder.path(), 200, 10, 1, 0.1).is_err(), "an old file would not measure the same");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(&folder.path().join("commit-floor.db")).unwrap();
        let user = store.find_user("floor0@bench.example".to_owned()).await.unwrap().user;
        let conversation = &store.conversations(user, None, 2).await.unwrap()[0];
        let head = conversation.head;
        assert!(head.0 >= 10 && head.0.is_multiple_of(10), "whole groups: {head:?}");
        let (conversation, from) = (conversation.id, Offset(1));
        let ask = StoreRequest::Recover { user, conversation, from, limit: 10, backwards: false };
        let StoreReply::Recover(page) = store.ask(ask).await else { panic!("a page") };
        assert!(page.readable && page.head == head);
        let bodies = page.entries.iter().map(|entry| match entry {
            Entry::Message(message) => message.body.len(),
            Entry::Gone { .. } => panic!("nothing was deleted"),
        });
        assert_eq!(bodies.collect::<Vec<_>>(), [200; 10]);
    });
}

#[test]
fn senseless_measurements_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (batch, seconds) in [(0, 1.0), (100_000, 1.0), (1, 0.0), (1, f64::NAN)] {
        assert!(measure(folder.path(), 100, batch, 1, seconds).is_err());
    }
}

#[test]
fn statements_and_settings_are_those_of_the_store() {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let append = one_line(APPEND);
    for statement in [MESSAGE, PUBLISH_KEY, HEAD] {
        assert!(append.contains(&one_line(statement)), "{statement}");
    }
    let prepare = OPEN.split("fn prepare(").nth(1).unwrap().split("\n}").next().unwrap();
    let set = prepare.lines().filter(|line| line.contains(".pragma_update"));
    let set: Vec<(String, String)> = set
        .map(|line| {
            let mut arguments = line.split('(').nth(1).unwrap().split([',', ')']).skip(1);
            let mut next = || arguments.next().unwrap().trim().trim_matches('"').to_owned();
            (next(), next())
        })
        .collect();
    let ours: Vec<(String, String)> =
        SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(set, ours);
}
