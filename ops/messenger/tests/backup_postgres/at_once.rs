//! What runs at the same time: two who back up, two who follow the log, a backup beside a restore, a drill beside all of it.

use schema_store::Accounts;
use schema_store::rows::account::Origin;
use servers::account;

use crate::bed::{Bed, fine, messages, refused};
use crate::people::person;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_and_a_drill_during_a_restore_and_only_one_who_follows_the_log() {
    let bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    talk.write(11..21).await;
    bed.until_sealed();
    let follows = |spool: &str| {
        let spool = bed.path(spool).display().to_string();
        bed.run(&["backup", "stream", "--spool", &spool])
    };
    refused(&follows("data/wal"), 13, "another backup or restore runs");
    refused(&follows("second"), 13, "another `backup stream`");
    let restoring = bed.restoring(&["latest"]).spawn().unwrap();
    let drilling = bed.command(&["backup", "drill"]).spawn().unwrap();
    bed.back_up();
    let drilled = fine(&drilling.wait_with_output().unwrap());
    assert!(drilled.contains("messages 20, audit trail intact"), "{drilled}");
    fine(&restoring.wait_with_output().unwrap());
    assert_eq!(messages(&servers::Postgres::on(&bed.target())), 20);
    assert!(streaming.stop().success(), "{}", bed.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_backups_at_once_are_one() {
    let bed = Bed::new();
    let running: Vec<_> = (0..3).map(|_| bed.command(&["backup", "run"]).spawn().unwrap()).collect();
    let mut made = 0;
    for child in running {
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            made += 1;
        } else {
            refused(&output, 13, "another backup");
        }
    }
    assert!(made >= 1, "somebody is first");
    let checked = fine(&bed.run(&["backup", "verify", "all"]));
    assert_eq!(checked.lines().count(), made, "{checked}");
}

#[test]
fn a_second_drill_leaves_the_first_one_alone() {
    let bed = Bed::new();
    bed.back_up();
    // What a drill that is under way holds and has.
    let held = std::fs::File::create(bed.path("data/backup.drill.lock")).unwrap();
    account::hand_over(&bed.path("data/backup.drill.lock"), 0o600);
    held.lock().unwrap();
    std::fs::create_dir(bed.path("data/backup.drill")).unwrap();
    account::hand_over(&bed.path("data/backup.drill"), 0o700);
    refused(&bed.run(&["backup", "drill"]), 13, "another drill");
    assert!(bed.path("data/backup.drill").exists(), "it is still there");
    bed.back_up();
    drop(held);
    fine(&bed.run(&["backup", "drill"]));
    assert!(!bed.path("data/backup.drill").exists(), "what a dead one left is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_alive_is_backed_up_before_it_is_replaced() {
    let mut bed = Bed::new();
    let talk = bed.talk(1..11).await;
    let carol = person(&talk.store, "carol").await;
    let name = bed.back_up();
    talk.write(11..21).await;
    talk.store.erase_account(carol.user, "asked for it".to_owned(), Origin::system()).await.unwrap();
    drop(talk);
    let data = bed.server().data().display().to_string();
    let over = ["restore", &name, "--target", &data, "--replace"];
    refused(&bed.run(&over[..4]), 4, "--replace");
    let unknown = bed.command(&over).env("DATABASE_URL", "").output().unwrap();
    refused(&unknown, 4, "a server runs on it");
    assert_eq!(messages(bed.server()), 20, "it runs on");
    let said = fine(&bed.run(&over));
    let safety = said.strip_prefix("what was there is backed up as ").unwrap().lines().next().unwrap();
    assert!(said.contains("what was there lies in") && said.contains("messages 10"), "{said}");
    assert!(said.contains("1 accounts erased again"), "the ledger of what was there counts: {said}");
    let server = bed.server.as_mut().unwrap();
    assert!(server.has_ended(), "it was stopped");
    server.start_again();
    assert_eq!(messages(bed.server()), 10);
    let store = bed.store().await;
    assert!(store.find_user("carol@example.org".to_owned()).await.is_err());
    let (undone, _) = bed.restore(&[safety]);
    assert_eq!(messages(&undone), 20, "the safety backup is a backup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_erased_after_the_newest_base_backup_is_erased_again() {
    let mut bed = Bed::new();
    let store = bed.store().await;
    let (carol, dave) = (person(&store, "carol").await, person(&store, "dave").await);
    let name = bed.back_up();
    let streaming = bed.stream();
    for gone in [carol, dave] {
        store.erase_account(gone.user, "asked for it".to_owned(), Origin::system()).await.unwrap();
        bed.until_sealed();
        // The ledger is sealed right after the log.
        std::thread::sleep(std::time::Duration::from_millis(1_500));
    }
    let ledgers: Vec<_> = crate::bed::files(&bed.seen)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("erasures/"))
        .collect();
    assert_eq!(ledgers.len(), 2, "the newest one and what says what it is: {ledgers:?}");
    drop(store);
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    let (back, said) = bed.restore(&[&name]);
    assert!(said.contains("2 accounts erased again"), "{said}");
    assert_eq!(
        back.sql("SELECT count(*) FROM users WHERE email IN ('carol@example.org', 'dave@example.org')"),
        "0"
    );
    drop(back);
    let whole = std::fs::read(&ledgers[0]).unwrap();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    std::fs::write(&ledgers[0], altered).unwrap();
    refused(&bed.restoring(&[&name]).output().unwrap(), 14, "use another backup");
    refused(&bed.run(&["backup", "verify"]), 14, "use another backup");
    std::fs::write(&ledgers[0], whole).unwrap();
    fine(&bed.run(&["backup", "verify"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_begins_after_the_backup_does_not_count() {
    let bed = Bed::new();
    let talk = bed.talk(1..11).await;
    let name = bed.back_up();
    // Nobody follows the log, and the server has no reason to keep it.
    for round in 0..3u64 {
        talk.write(11 + round..12 + round).await;
        bed.server().sql("SELECT pg_switch_wal()");
    }
    let streaming = bed.stream();
    talk.write(20..30).await;
    bed.until_sealed();
    let status = || -> serde_json::Value {
        serde_json::from_str(&fine(&bed.run(&["backup", "status", "--json"]))).unwrap()
    };
    assert!(status()["log"].is_null(), "{}", status());
    refused(&bed.restoring(&["latest"]).output().unwrap(), 14, "there are later ones");
    refused(&bed.run(&["backup", "verify", "latest"]), 14, "there are later ones");
    assert!(!bed.target().exists());
    let (back, _) = bed.restore(&[&name]);
    assert_eq!(messages(&back), 10, "the backup alone is fine");
    drop(back);
    bed.back_up();
    bed.until_sealed();
    assert!(status()["log"].is_object(), "{}", status());
    let (back, _) = bed.restore(&["latest"]);
    assert_eq!(messages(&back), 23);
    drop(streaming);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_whose_end_nobody_received_is_missed_though_the_next_one_is_the_newest() {
    let bed = Bed::new();
    let talk = bed.talk(1..11).await;
    let name = bed.back_up();
    let streaming = bed.stream();
    talk.write(11..21).await;
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    // The segment's end is received by nobody: the next follower begins with the segment after it.
    let server = bed.server();
    server.sql("SELECT pg_drop_replication_slot('messenger_wal')");
    talk.write(21..31).await;
    server.sql("SELECT pg_switch_wal()");
    talk.write(31..32).await;
    server.sql("CHECKPOINT");
    std::fs::remove_dir_all(bed.path("data/wal")).unwrap();
    let streaming = bed.stream();
    talk.write(32..41).await;
    bed.until_sealed();
    let is_continued = || {
        let status = fine(&bed.run(&["backup", "status", "--json"]));
        serde_json::from_str::<serde_json::Value>(&status).unwrap()["log"].is_object()
    };
    assert!(!is_continued(), "to the follower that found it");
    assert!(streaming.stop().success(), "{}", bed.log());
    let streaming = bed.stream();
    talk.write(41..42).await;
    bed.until_sealed();
    assert!(!is_continued(), "to the one after it");
    refused(&bed.run(&["backup", "verify", "latest"]), 14, "there are later ones");
    refused(&bed.restoring(&["latest"]).output().unwrap(), 14, "there are later ones");
    assert_eq!(messages(&bed.restore(&[&name]).0), 10, "the backup alone is fine");
    drop(streaming);
}
