//! Backups of real PostgreSQL servers by the real program: copied, followed, killed, brought back to any moment, refused
//! when altered.
#![allow(clippy::unwrap_used)]

mod at_once;
mod bed;
mod disasters;
mod equal;
mod followers;
mod forks;
mod fresh;
mod health;
mod kills;
mod large;
mod memory;
mod node;
#[path = "../../../backup/tests/people/mod.rs"]
mod people;
mod places;
mod refusals;
mod requests;
mod rpo;
mod scripts;

use std::time::Duration;

use bed::{Bed, fine, messages, refused};
use people::{pair, person, publish_keys, write};
use schema_store::postgres::Options as StoreOptions;
use schema_store::rows::account::Origin;
use schema_store::{Accounts, PostgresStore};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_comes_back_with_all_that_was_sealed() {
    let mut bed = Bed::new();
    let store = bed.store().await;
    let (alice, bob, conversation) = pair(&store).await;
    assert_eq!(write(&store, alice, conversation, 1..40).await, 39);
    publish_keys(&store, bob, 3).await;
    bed.back_up();
    let carol = person(&store, "carol").await;
    store.erase_account(carol.user, "asked for it".to_owned(), Origin::system()).await.unwrap();
    // Killed again and again while it seals, the log still hangs together.
    for round in 0..4u64 {
        let mut streaming = bed.stream();
        let from = 40 + round * 40;
        assert_eq!(write(&store, alice, conversation, from..from + 40).await, 40);
        std::thread::sleep(Duration::from_millis(400 + 333 * round));
        streaming.kill();
    }
    let streaming = bed.stream();
    bed.server().sql("SELECT pg_switch_wal()");
    assert_eq!(write(&store, alice, conversation, 200..210).await, 10);
    bed.until_sealed();
    let said = fine(&bed.run(&["backup", "verify"]));
    assert!(said.contains("its log: whole and authentic"), "{said}");
    let status: serde_json::Value =
        serde_json::from_str(&fine(&bed.run(&["backup", "status", "--json"]))).unwrap();
    assert!(status["age_seconds"].as_u64().unwrap() < 30 && status["log"]["lag_bytes"].is_u64(), "{status}");
    let before: u32 = bed.server().sql("SELECT max(generation) FROM store_generation").parse().unwrap();
    drop(store);
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    let (back, said) = bed.restore(&["latest"]);
    assert!(said.contains("messages 209") && said.contains("3 one-time key packages"), "{said}");
    assert_eq!(messages(&back), 209);
    assert!(back.sql("SELECT max(generation) FROM store_generation").parse::<u32>().unwrap() > before);
    assert_eq!(back.sql("SELECT count(*) FROM key_packages"), "0");
    let store = PostgresStore::open(&back.url("postgres"), StoreOptions::default()).await.unwrap();
    assert_eq!(write(&store, alice, conversation, 300..301).await, 1, "and it goes on");
    assert!(store.find_user("carol@example.org".to_owned()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_moment_can_be_reached() {
    let bed = Bed::new();
    let talk = bed.talk(1..11).await;
    let name = bed.back_up();
    let streaming = bed.stream();
    talk.write(11..21).await;
    let lsn = bed.server().sql("SELECT pg_current_wal_insert_lsn()");
    std::thread::sleep(Duration::from_millis(1_100));
    talk.write(21..31).await;
    std::thread::sleep(Duration::from_millis(50));
    let time = bed
        .server()
        .sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
    std::thread::sleep(Duration::from_millis(50));
    talk.write(31..41).await;
    bed.until_sealed();
    for (arguments, expected) in [
        (vec![name.as_str()], 10),
        (vec!["--to-lsn", &lsn], 20),
        (vec!["--to-time", &time], 30),
        (vec!["latest"], 40),
    ] {
        let (back, said) = bed.restore(&arguments);
        assert_eq!(messages(&back), expected, "{arguments:?}: {said}");
    }
    refused(
        &bed.run(&["restore", "--to-time", "2020-01-01T00:00:00Z", "--target", "back/x"]),
        4,
        "old enough",
    );
    let drilled = fine(&bed.run(&["backup", "drill"]));
    assert!(drilled.contains("messages 40, audit trail intact"), "{drilled}");
    assert!(!bed.path("data/backup.drill").exists());
    assert_eq!(bed.server().sql("SELECT status FROM restore_drills"), "PASSED");
    assert_eq!(bed.server().sql("SELECT status FROM backups"), "DONE");
    drop(streaming);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_is_brought_up_to_date() {
    let mut bed = Bed::new();
    bed.back_up();
    let streaming = bed.stream();
    // The log ends with a database as a program left it that does not know the newest migration.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema/store/migrations/postgres");
    let mut migrations = refinery::load_sql_migrations(folder).unwrap();
    migrations.sort();
    let newest = migrations.pop().unwrap().version();
    bed.server().sql("CREATE DATABASE older");
    let mut client = bed.server().connect_to("older").await;
    refinery::Runner::new(&migrations).run_async(&mut client).await.unwrap();
    drop(client);
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    let rename = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN ('postgres', 'older')";
    bed.server().sql_in("template1", rename);
    bed.server().sql_in("template1", "ALTER DATABASE postgres RENAME TO newer");
    bed.server().sql_in("template1", "ALTER DATABASE older RENAME TO postgres");
    // Whoever follows the log needs a database that it knows; the log is the whole server's.
    let newer = bed.server().url("newer");
    let known = std::mem::replace(&mut bed.url, newer);
    let streaming = bed.stream();
    bed.until_sealed();
    bed.url = known;
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    let (back, _) = bed.restore(&["latest"]);
    assert_eq!(back.sql("SELECT max(version) FROM refinery_schema_history"), newest.to_string());
    assert!(back.sql("SELECT max(generation) FROM store_generation") != "1", "it is a new life");
}
