//! A restore to an earlier moment begins a timeline in the middle of a log that is sealed much further: what is written there
//! is sealed and comes back, and so does what was left.

use std::process::Command;
use std::time::Instant;

use servers::Postgres;

use crate::bed::{Bed, PATIENCE, Streaming, Talk, fine, messages, refused};

fn status(bed: &Bed) -> serde_json::Value {
    serde_json::from_str(&fine(&bed.run(&["backup", "status", "--json"]))).unwrap()
}

fn latest(bed: &Bed) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(bed.seen.join("latest.json")).unwrap()).unwrap()
}

/// Waits until `latest.json` says so.
fn until(bed: &Bed, what: &str, holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let began = Instant::now();
    loop {
        let said = latest(bed);
        if holds(&said) {
            return said;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: {said}; {}", bed.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn moment(value: &serde_json::Value) -> jiff::Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// What becomes of who follows the log.
enum Follower {
    /// It runs on while the server under it is another one.
    Stays(Streaming),
    /// It begins again, with what it had received.
    Begins,
    /// It begins again on another machine.
    BeginsElsewhere,
}

/// A log of several segments, and a restore that goes back before most of them: 20 messages come back. Gives the name of
/// the backup of all 24.
async fn go_back(bed: &mut Bed, talk: &Talk, streaming: Streaming, follower: &mut Follower) -> String {
    // From here on nothing of the log is missed.
    bed.until_sealed();
    talk.write(11..21).await;
    let lsn = bed.server().sql("SELECT pg_current_wal_insert_lsn()");
    for round in 0..4u64 {
        bed.server().sql("SELECT pg_switch_wal()");
        talk.write(21 + round..22 + round).await;
    }
    bed.until_sealed();
    match follower {
        Follower::Begins => assert!(streaming.stop().success(), "{}", bed.log()),
        Follower::Stays(stays) => *stays = streaming,
        Follower::BeginsElsewhere => {
            assert!(streaming.stop().success(), "{}", bed.log());
            std::fs::remove_dir_all(bed.path("data/wal")).unwrap();
        }
    }
    let data = bed.server().data().display().to_string();
    let said = fine(&bed.run(&["restore", "--to-lsn", &lsn, "--target", &data, "--replace"]));
    let safety = said.strip_prefix("what was there is backed up as ").unwrap();
    let safety = safety.lines().next().unwrap().to_owned();
    let server = bed.server.as_mut().unwrap();
    assert!(server.has_ended(), "it was stopped");
    server.start_again();
    assert_eq!(messages(bed.server()), 20);
    safety
}

/// Goes back and on, loses the server and brings everything back.
async fn back_and_on(begin: impl FnOnce(&Bed) -> Follower) {
    let mut bed = Bed::new();
    let mut talk = bed.talk(1..11).await;
    let first = bed.back_up();
    let streaming = bed.stream();
    let mut follower = begin(&bed);
    let safety = go_back(&mut bed, &talk, streaming, &mut follower).await;
    talk.store = bed.store().await;
    let streaming = match follower {
        Follower::Stays(streaming) => streaming,
        Follower::Begins | Follower::BeginsElsewhere => bed.stream(),
    };
    assert_eq!(talk.write(100..110).await, 10);
    bed.until_sealed();
    assert!(status(&bed)["log"].is_null(), "the newest backup is of what was left: {}", status(&bed));
    let second = bed.back_up();
    bed.server().sql("SELECT pg_switch_wal()");
    assert_eq!(talk.write(110..120).await, 10);
    bed.until_sealed();
    assert_eq!(status(&bed)["log"]["timeline"], 2);
    let checked = fine(&bed.run(&["backup", "verify"]));
    assert!(checked.contains("its log: whole and authentic"), "{checked}");
    drop(talk);
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    let restored = |arguments: &[&str]| -> u64 { messages(&bed.restore(arguments).0) };
    assert_eq!(restored(&["latest"]), 40, "what was committed on the new timeline");
    assert_eq!(restored(&[&safety]), 24, "what was left");
    assert_eq!(restored(&[&first]), 10);
    assert_eq!(restored(&[&second]), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_after_a_restore_to_an_earlier_moment_comes_back() {
    back_and_on(|_| Follower::BeginsElsewhere).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_with_an_old_spool_goes_on_from_the_earlier_moment() {
    back_and_on(|_| Follower::Begins).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_the_log_finds_the_server_that_went_back() {
    // In its place until it is there.
    let nobody = |_: &Bed| Follower::Stays(Streaming::of(Command::new("true").spawn().unwrap()));
    back_and_on(nobody).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_sealed_and_is_gone_is_no_end() {
    let mut bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    let safety = go_back(&mut bed, &talk, streaming, &mut Follower::Begins).await;
    drop(talk);
    let mut streaming = bed.stream();
    bed.until_sealed();
    let made = bed.back_up();
    bed.server().sql("SELECT pg_switch_wal()");
    bed.until_sealed();
    streaming.kill();
    let log = std::fs::read_dir(bed.seen.join("wal")).unwrap().next().unwrap().unwrap().path();
    for entry in std::fs::read_dir(log).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("00000002") && !name.ends_with(".history") {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    refused(&bed.restoring(&["latest"]).output().unwrap(), 14, "of it nothing is there");
    refused(&bed.run(&["backup", "verify"]), 14, "its end is missing");
    assert!(!bed.target().exists());
    for (name, expected) in [(made, 20), (safety, 24)] {
        assert_eq!(messages(&bed.restore(&[&name]).0), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_left_is_not_followed() {
    let mut bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    drop(talk);
    // Restored beside: the old server runs on.
    let (back, _) = bed.restore(&["latest"]);
    let old = std::mem::replace(&mut bed.url, back.url("postgres"));
    let old_server = bed.server.replace(back);
    let streaming =
        bed.stream_with(&["--every", "1", "--spool", &bed.path("data/other").display().to_string()]);
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    bed.url = old;
    refused(&bed.run(&["backup", "stream"]), 14, "timeline 2 of its log is sealed");
    drop(old_server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_is_behind_makes_nothing_look_fresh() {
    let bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    bed.until_sealed();
    let receiver = receiver(&streaming);
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &receiver]).status().unwrap().success());
    };
    signal("-STOP");
    let before = now(bed.server());
    talk.write(11..21).await;
    let behind = until(&bed, "it is behind", |said| said["log"]["lag_bytes"].as_u64() > Some(0));
    assert!(moment(&behind["log"]["at"]) <= before, "{behind} of {before}");
    let again = |said: &serde_json::Value| said["log"]["lag_bytes"] != behind["log"]["lag_bytes"];
    talk.write(21..31).await;
    let behind = until(&bed, "it is further behind", again);
    assert!(moment(&behind["log"]["at"]) <= before, "{behind} of {before}");
    assert_eq!(status(&bed)["log"]["at"], behind["log"]["at"]);
    signal("-CONT");
    let after = now(bed.server());
    until(&bed, "it has come after", |said| moment(&said["log"]["at"]) > after);
    // Nothing is written, and it stays fresh.
    let idle = now(bed.server());
    until(&bed, "an idle server", |said| moment(&said["log"]["at"]) > idle);
    assert!(streaming.stop().success(), "{}", bed.log());
}

/// The process that receives the log.
fn receiver(streaming: &Streaming) -> String {
    let parent = streaming.id().to_string();
    let found = Command::new("pgrep").args(["-P", &parent, "-x", "pg_receivewal"]).output().unwrap();
    fine(&found).trim().to_owned()
}

/// What the machine's clock says.
fn now(server: &Postgres) -> jiff::Timestamp {
    let text = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    server.sql(&format!("SELECT {text}")).parse().unwrap()
}
