//! The program killed at any moment of a backup and of a restore: what looks whole is whole, and the next run goes through.

use std::process::Child;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use servers::Postgres;

use crate::bed::{Bed, PATIENCE, fine, messages};

/// Kills spread over the time that the work takes.
const KILLS: u32 = 8;

/// Lets it work for the `n`th part of `takes` and some, then kills it; whether it was still at work.
fn kill_during(mut child: Child, takes: Duration, n: u32) -> bool {
    let some = Duration::from_micros(getrandom::u64().unwrap() % 40_000);
    std::thread::sleep(takes * n / KILLS + some);
    let _ = child.kill();
    !child.wait().unwrap().success()
}

/// Names have seconds, and who was killed keeps the name.
fn next_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_secs(1) - Duration::from_nanos(now.subsec_nanos().into()));
}

/// Makes a backup as soon as the server has let go of the session of who was killed.
fn back_up(bed: &Bed) {
    let began = Instant::now();
    loop {
        let made = bed.run(&["backup", "run"]);
        if made.status.code() != Some(13) {
            fine(&made);
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the lock ends with its session");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_backup_is_whole_or_none() {
    let bed = Bed::new();
    bed.talk(1..21).await;
    let began = Instant::now();
    back_up(&bed);
    let takes = began.elapsed();
    let mut killed = 0;
    for n in 0..KILLS {
        next_second();
        killed += u32::from(kill_during(bed.command(&["backup", "run"]).spawn().unwrap(), takes, n));
    }
    assert!(killed > 2, "{killed} of {KILLS} were killed before they were done");
    back_up(&bed);
    let listed = fine(&bed.run(&["backup", "list", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let whole = listed.as_array().unwrap().iter().filter(|entry| entry["whole"] == true).count();
    let checked = fine(&bed.run(&["backup", "verify", "all"]));
    assert_eq!(checked.lines().count(), whole, "what looks whole is whole: {checked}");
    let copying = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'";
    bed.server().until(copying, "0");
    let (back, _) = bed.restore(&["latest"]);
    assert_eq!(messages(&back), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_restore_left_nothing_or_a_whole_server() {
    let bed = Bed::new();
    let talk = bed.talk(1..21).await;
    back_up(&bed);
    let streaming = bed.stream();
    talk.write(21..41).await;
    bed.until_sealed();
    assert!(streaming.stop().success(), "{}", bed.log());
    let before: u32 = bed.server().sql("SELECT max(generation) FROM store_generation").parse().unwrap();
    let is_whole = |server: &Postgres| {
        assert_eq!(messages(server), 40);
        let generation: u32 = server.sql("SELECT max(generation) FROM store_generation").parse().unwrap();
        assert!(generation > before, "nobody takes it for the old life");
    };
    let began = Instant::now();
    is_whole(&bed.restore(&["latest"]).0);
    let takes = began.elapsed();
    let mut killed = 0;
    for n in 0..KILLS {
        killed += u32::from(kill_during(bed.restoring(&["latest"]).spawn().unwrap(), takes, n));
        if bed.target().exists() {
            is_whole(&Postgres::on(&bed.target()));
        }
    }
    assert!(killed > 2, "{killed} of {KILLS} were killed before they were done");
    is_whole(&bed.restore(&["latest"]).0);
}
