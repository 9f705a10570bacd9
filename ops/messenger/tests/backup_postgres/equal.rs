//! What comes back is what was there, row by row, but for what a restore is there to change.

use std::collections::BTreeMap;

use schema_store::Accounts;
use schema_store::rows::account::Origin;
use servers::Postgres;

use super::bed::Bed;
use super::people::{pair, person, publish_keys, write};

/// Where a restore writes down that it happened.
const GROWN: [&str; 6] = [
    "store_generation",
    "store_lives",
    "generation_heads",
    "generation_user_heads",
    "change_log",
    "audit_logs",
];
/// What whoever follows the log writes at any moment.
const NOTED: &str = "backup_log ";
/// What could be handed out twice, and goes.
const EMPTIED: &str = "key_packages ";
/// A line for every row: its table, and what it holds.
const ROWS: &str =
    "SELECT string_agg(format('SELECT %L || '' '' || replace(t::text, chr(10), '' '') FROM %I t',
    relname, relname), ' UNION ALL ')
  FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";

/// Restores in the tests; `RESTORES=100` for the figure.
fn restores() -> u64 {
    std::env::var("RESTORES").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Every row, and how often it is there.
fn rows(server: &Postgres) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for row in server.sql(&server.sql(ROWS)).lines().filter(|row| !row.starts_with(NOTED)) {
        *found.entry(row.to_owned()).or_default() += 1;
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_restore_is_equal_to_the_source() {
    let bed = Bed::new();
    let store = bed.store().await;
    let (alice, bob, conversation) = pair(&store).await;
    bed.back_up();
    let _streaming = bed.stream();
    for round in 0..restores() {
        write(&store, alice, conversation, 1 + round * 7..8 + round * 7).await;
        publish_keys(&store, bob, 1).await;
        let carol = person(&store, &format!("carol{round}")).await;
        if round % 3 == 1 {
            store.erase_account(carol.user, "asked for it".to_owned(), Origin::system()).await.unwrap();
        }
        // From a base backup alone and from the log after one.
        if round % 10 == 0 {
            bed.back_up();
        }
        let source = rows(bed.server());
        bed.until_sealed();
        let (server, said) = bed.restore(&["latest"]);
        let mut back = rows(&server);
        assert!(source.keys().any(|row| row.starts_with("messages")));
        for (row, count) in &source {
            let found = back.remove(row).unwrap_or(0);
            let expected = if row.starts_with(EMPTIED) { 0 } else { *count };
            assert_eq!(found, expected, "round {round}: {row}; {said}");
        }
        let is_grown = |row: &&String| !GROWN.iter().any(|table| row.starts_with(&format!("{table} ")));
        let strays: Vec<_> = back.keys().filter(is_grown).collect();
        assert!(strays.is_empty(), "round {round}: {strays:?}");
    }
    println!("{} of {0} restores are equal to the source", restores());
}
