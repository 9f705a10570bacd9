//! What comes back is what was there, row by row, but for what a restore is there to change.

use std::collections::BTreeMap;
use std::path::Path;

use backup::catalogue::Which;
use schema_store::Accounts;
use schema_store::rows::account::Origin;

use super::bed::{Bed, wait};
use super::people::{pair, person, publish_keys, write};

/// Where a restore writes down that it happened.
const GROWN: [&str; 5] =
    ["store_generation", "generation_heads", "generation_user_heads", "change_log", "audit_logs"];
/// What could be handed out twice, and goes.
const EMPTIED: &str = "key_packages";

/// Restores in the tests; `RESTORES=100` for the figure.
fn restores() -> u64 {
    std::env::var("RESTORES").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// Every row of every table, and how often it is there.
fn rows(database: &Path) -> BTreeMap<(String, String), usize> {
    let sqlite = rusqlite::Connection::open(database).unwrap();
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut tables = sqlite.prepare(tables).unwrap();
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut found = BTreeMap::new();
    for table in tables.map(Result::unwrap) {
        let mut all = sqlite.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
        let columns = all.column_count();
        let mut all = all.query([]).unwrap();
        while let Some(row) = all.next().unwrap() {
            let row: Vec<_> = (0..columns).map(|column| row.get_ref(column).unwrap()).collect();
            *found.entry((table.clone(), format!("{row:?}"))).or_default() += 1;
        }
    }
    found
}

#[test]
fn every_restore_is_equal_to_the_source() {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, bob, conversation) = wait(pair(&store));
    for round in 0..restores() {
        wait(write(&store, alice, conversation, 1 + round * 7..8 + round * 7));
        wait(publish_keys(&store, bob, 1));
        let carol = wait(person(&store, &format!("carol{round}")));
        if round % 3 == 1 {
            wait(store.erase_account(carol.user, "asked for it".to_owned(), Origin::system())).unwrap();
        }
        let source = rows(&bed.database());
        let made = bed.back_up().unwrap();
        let target = bed.beside(&format!("round-{round}"));
        bed.restore(Which::Named(made.name), &target).unwrap();
        let mut back = rows(&target.database);
        assert!(source.keys().any(|(table, _)| table == "messages"));
        for ((table, row), count) in &source {
            let found = back.remove(&(table.clone(), row.clone())).unwrap_or(0);
            let expected = if table == EMPTIED { 0 } else { *count };
            assert_eq!(found, expected, "round {round}, {table}: {row}");
        }
        let strays: Vec<_> = back.keys().filter(|(table, _)| !GROWN.contains(&table.as_str())).collect();
        assert!(strays.is_empty(), "round {round}: {strays:?}");
        std::fs::remove_dir_all(target.database.parent().unwrap()).unwrap();
    }
    println!("{} of {0} restores are equal to the source", restores());
}
