//! Who follows the log when its server is gone without a word, or has no longer what comes next; and what a restore makes of
//! a log that was not followed to its end.

use std::process::Command;
use std::time::{Duration, Instant};

use servers::{Postgres, Proxy};

use crate::bed::{Bed, PATIENCE, files, fine, messages};

/// The position of the log's end.
fn head(server: &Postgres) -> String {
    server.sql("SELECT pg_current_wal_flush_lsn()")
}

/// Whether what is sealed of its segment reaches that position; zeros at a record's end are not sealed.
fn is_sealed(bed: &Bed, lsn: &str) -> bool {
    let find = format!("SELECT file_name || ' ' || file_offset FROM pg_walfile_name_offset('{lsn}')");
    let at = bed.server().sql(&find);
    let (file, offset) = at.split_once(' ').unwrap();
    let offset: u64 = offset.parse().unwrap();
    files(&bed.seen.join("wal")).iter().any(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let to = name.strip_suffix(".json").and_then(|name| name.split_once('-')).map(|(_, to)| to);
        path.parent().unwrap().ends_with(file)
            && to.is_some_and(|to| u64::from_str_radix(to, 16).unwrap() + 64 >= offset)
    })
}

/// Waits until it is so.
fn until(bed: &Bed, what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < patience, "{what}: {}", bed.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What `backup status` says of the log; null when no backup is continued by it.
fn log(bed: &Bed) -> serde_json::Value {
    let said = fine(&bed.run(&["backup", "status", "--json"]));
    serde_json::from_str::<serde_json::Value>(&said).unwrap()["log"].clone()
}

/// Segments later, the server has nothing left of those before.
fn forget(server: &Postgres) {
    for _ in 0..3 {
        server.sql("CREATE TABLE IF NOT EXISTS filler (n int)");
        server.sql("INSERT INTO filler VALUES (1)");
        server.sql("SELECT pg_switch_wal()");
    }
    server.sql("CHECKPOINT");
    server.sql("INSERT INTO filler VALUES (2)");
    server.sql("CHECKPOINT");
}

#[test]
fn what_can_not_be_noted_is_sealed_all_the_same_and_noted_later() {
    let bed = Bed::new();
    bed.back_up();
    bed.server().sql("ALTER TABLE backup_log RENAME TO elsewhere");
    let streaming = bed.stream();
    until(&bed, "it warns", PATIENCE, || bed.log().contains("could not be noted"));
    let lsn = head(bed.server());
    bed.until_sealed();
    assert!(is_sealed(&bed, &lsn), "{}", bed.log());
    bed.server().sql("ALTER TABLE elsewhere RENAME TO backup_log");
    until(&bed, "it is noted", PATIENCE, || bed.server().sql("SELECT count(*) FROM backup_log") == "1");
    assert!(streaming.stop().success(), "{}", bed.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_server_wrote_last_is_sealed_and_its_follower_ends_when_told() {
    let mut bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let proxy = Proxy::to(bed.server().address());
    bed.url = bed.server().url_through(proxy.address(), "postgres");
    let streaming = bed.stream();
    bed.until_sealed();
    // Nobody hears that the server is gone: it goes between two seals, again and again.
    for round in 0..3u64 {
        talk.write(11 + round * 10..21 + round * 10).await;
        let lsn = head(bed.server());
        let flushed = format!("SELECT bool_or(flush_lsn >= '{lsn}') FROM pg_stat_replication");
        until(&bed, "it is received", PATIENCE, || bed.server().sql(&flushed) == "t");
        proxy.swallow();
        until(&bed, "it is sealed", Duration::from_secs(20), || is_sealed(&bed, &lsn));
        if round < 2 {
            proxy.heal();
            bed.until_sealed();
        }
    }
    let told = Instant::now();
    assert!(streaming.stop().success(), "{}", bed.log());
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}: {}", told.elapsed(), bed.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_the_server_has_no_more_is_followed_from_where_it_is() {
    let mut bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    bed.server().sql("SELECT pg_drop_replication_slot('messenger_wal')");
    talk.write(11..21).await;
    forget(bed.server());
    let streaming = bed.stream();
    talk.write(21..31).await;
    bed.until_sealed();
    assert!(bed.log().contains("has already been removed"), "{}", bed.log());
    assert!(log(&bed).is_null(), "a new base backup is needed: {}", log(&bed));
    bed.back_up();
    talk.write(31..41).await;
    bed.until_sealed();
    until(&bed, "the new backup is continued", PATIENCE, || !log(&bed).is_null());
    let checked = fine(&bed.run(&["backup", "verify"]));
    assert!(checked.contains("its log: whole and authentic"), "{checked}");
    drop(talk);
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    assert_eq!(messages(&bed.restore(&["latest"]).0), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_with_an_old_spool_goes_on_where_the_other_one_ended() {
    let bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    let other = bed.path("data/other").display().to_string();
    let streaming = bed.stream_with(&["--every", "1", "--spool", &other]);
    talk.write(11..21).await;
    forget(bed.server());
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    forget(bed.server());
    let streaming = bed.stream();
    talk.write(21..31).await;
    bed.until_sealed();
    assert!(!log(&bed).is_null(), "and nothing is missing");
    assert!(!bed.log().contains("has already been removed"), "{}", bed.log());
    assert!(streaming.stop().success(), "{}", bed.log());
    fine(&bed.run(&["backup", "verify"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_was_sealed_in_half_does_not_hide_that_of_the_copy() {
    let mut bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let mut streaming = bed.stream();
    bed.until_sealed();
    // Whoever follows the log dies while a copy is made.
    let client = bed.server().connect().await;
    let copying = bed.command(&["backup", "run"]).spawn().unwrap();
    let is_copied = "SELECT 1 FROM pg_stat_progress_basebackup WHERE phase = 'streaming database files'";
    let began = Instant::now();
    while client.query(is_copied, &[]).await.unwrap().is_empty() {
        assert!(began.elapsed() < PATIENCE, "a copy is made");
    }
    let copier =
        Command::new("pgrep").args(["-P", &copying.id().to_string(), "-x", "pg_basebackup"]).output();
    let copier = fine(&copier.unwrap()).trim().to_owned();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &copier]).status().unwrap().success());
    signal("-STOP");
    talk.write(11..21).await;
    bed.until_sealed();
    streaming.kill();
    talk.write(21..31).await;
    signal("-CONT");
    fine(&copying.wait_with_output().unwrap());
    fine(&bed.run(&["backup", "verify"]));
    drop((talk, client));
    bed.lose_the_server();
    assert_eq!(messages(&bed.restore(&["latest"]).0), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_restores_begin_two_timelines_though_nobody_followed_the_first() {
    let mut bed = Bed::new();
    bed.talk(1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    bed.lose_the_server();
    for timeline in ["00000002", "00000003"] {
        let (back, said) = bed.restore(&["latest"]);
        let found = back.sql("SELECT substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8)");
        assert_eq!((found.as_str(), messages(&back)), (timeline, 10), "{said}");
    }
}
