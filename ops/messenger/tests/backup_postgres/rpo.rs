//! What is lost when the server, its folder and whoever follows its log are killed at once under load, with the settings that
//! everybody has: sealed every three seconds, flushed to the disk.

use std::time::{Duration, Instant};

use backup::postgres::Lsn;
use servers::Options;
use servers::postgres::Client;

use crate::bed::{Bed, Talk, fine, messages};

/// The longest time between two seals in seconds, and some for the sealing itself.
const MISSING_MAX: Duration = Duration::from_secs(5);

/// Rounds in the tests; `RPO_ROUNDS=20` for the figure.
fn rounds() -> u32 {
    std::env::var("RPO_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// A message that was acknowledged: when, and how far the server's log was flushed by then; nobody knows of the last one.
struct Acked {
    at: Instant,
    flushed: Option<Lsn>,
}

async fn flushed(client: &Client) -> Option<Lsn> {
    let row = client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await.ok()?;
    row.get::<_, String>(0).parse().ok()
}

/// Writes until the server is gone; returns what was acknowledged.
async fn load(talk: Talk, client: Client) -> Vec<Acked> {
    let mut acked = Vec::new();
    for n in 1.. {
        if talk.write(n..n + 1).await == 0 {
            break;
        }
        let at = Instant::now();
        acked.push(Acked { at, flushed: flushed(&client).await });
    }
    acked
}

/// Up to where the log is sealed in the place, as a check of every piece says.
fn sealed(bed: &Bed) -> Lsn {
    let said = fine(&bed.run(&["backup", "verify"]));
    let (_, after) = said.split_once("its log: whole and authentic up to ").expect("there is a log");
    after.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_at_most_seconds_are_missing_and_nothing_that_was_sealed() {
    for round in 0..rounds() {
        let mut bed = Bed::with(Options { fsync: true, ..Options::default() });
        let talk = bed.talk(1..1).await;
        bed.back_up();
        let mut streaming = bed.stream_with(&[]);
        bed.until_sealed();
        let client = bed.server().connect().await;
        let loading = tokio::spawn(load(talk, client));
        tokio::time::sleep(Duration::from_millis(500)).await;
        bed.until_sealed();
        // At another moment between two seals each time.
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 617 % 3_000)).await;
        // Everything at once: the server, its folder, and who follows it.
        bed.server.as_mut().unwrap().pause();
        let died = Instant::now();
        streaming.kill();
        bed.server().resume();
        bed.lose_the_server();
        let acked = loading.await.unwrap();
        let sealed = sealed(&bed);
        let covered = acked.iter().take_while(|one| one.flushed.is_some_and(|end| end <= sealed)).count();
        let (back, _) = bed.restore(&["latest"]);
        let kept = usize::try_from(messages(&back)).unwrap();
        let missing =
            acked.get(kept).map_or(Duration::ZERO, |first| died.saturating_duration_since(first.at));
        println!(
            "round {round}: {} acknowledged, {covered} of them before the end of what was sealed, {kept} came back, {missing:?} missing",
            acked.len()
        );
        assert!(covered > 0 && kept >= covered, "{kept} of {covered} that were sealed came back");
        assert!(missing < MISSING_MAX, "{missing:?} of {} are missing", acked.len());
    }
}
