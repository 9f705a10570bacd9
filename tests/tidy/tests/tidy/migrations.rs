//! Migrations of the shared store expand first: a node of the version before runs on beside them. What takes something away
//! is in a file that says so and raises the floor, a version later.

use crate::source::{files, report, root};

const FOLDER: &str = "schema/store/migrations/postgres/";
/// The first schema that was served by several nodes.
const BASELINE: u32 = 4;
/// First line of a migration that older programs do not work on.
const CONTRACT: &str = "-- Contract:";
/// What such a migration must do.
const FLOOR: &str = "update schema_floor set version";

#[test]
fn migrations_expand_before_they_contract() {
    let mut complaints = Vec::new();
    let mut seen = 0;
    for path in files().into_iter().filter(|path| path.starts_with(FOLDER)) {
        let name = &path[FOLDER.len()..];
        let number = name.trim_start_matches('V').split("__").next().and_then(|n| n.parse::<u32>().ok());
        if number.expect("a migration is named V<number>__<words>.sql") <= BASELINE {
            continue;
        }
        seen += 1;
        let text = std::fs::read_to_string(root().join(&path)).expect("readable");
        let found = taken_away(&text);
        if text.starts_with(CONTRACT) {
            let raises = statements(&text).iter().any(|statement| statement.contains(FLOOR));
            complaints.extend((!raises).then(|| format!("{name}: a contract raises schema_floor")));
        } else {
            complaints.extend(found.into_iter().map(|statement| format!("{name}: {statement}")));
        }
    }
    assert!(seen > 0, "the walk found none");
    report("migrations that a node of the version before would not survive", complaints);
}

/// Statements after which an older program reads or writes what is not there, or is refused what it writes.
fn taken_away(text: &str) -> Vec<String> {
    statements(text).into_iter().filter(|statement| is_contract(statement)).collect()
}

fn is_contract(statement: &str) -> bool {
    let has = |words: &str| statement.contains(words);
    let added = statement.split(" add column ").skip(1);
    let demands = |column: &str| {
        // Up to the next column of the same statement.
        let column = column.split(", add ").next().unwrap_or(column);
        column.contains(" not null") && !column.contains(" default ")
    };
    has("drop ")
        || has(" rename ")
        || has(" set not null")
        || has(" type ") && has("alter column")
        || has("add constraint") && has("alter table")
        || statement.starts_with("create unique index") && !has(" where false")
        || statement.starts_with("truncate")
        || statement.starts_with("alter table") && added.into_iter().any(demands)
}

/// Statements in small letters with single spaces, without comments and without the bodies of functions.
fn statements(text: &str) -> Vec<String> {
    let code: String =
        text.lines().map(|line| line.split("--").next().unwrap_or("").to_owned() + " ").collect();
    let outside: String = code.split("$$").step_by(2).collect();
    let squeeze = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    outside.split(';').map(squeeze).filter(|s| !s.is_empty()).collect()
}

#[test]
fn the_scan_sees_what_takes_away_and_nothing_else() {
    for bad in [
        "ALTER TABLE users DROP COLUMN about;",
        "DROP TABLE users;",
        "ALTER TABLE users RENAME COLUMN a TO b;",
        "ALTER TABLE users ADD COLUMN n bigint NOT NULL;",
        "ALTER TABLE users ADD COLUMN m text DEFAULT 'x', ADD COLUMN n bigint NOT NULL, ADD COLUMN o text DEFAULT 'y';",
        "ALTER TABLE users ALTER COLUMN a SET NOT NULL;",
        "ALTER TABLE users ALTER COLUMN a SET DATA TYPE text;",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (a > 0);",
        "CREATE UNIQUE INDEX i ON users (name);",
    ] {
        assert_eq!(taken_away(bad).len(), 1, "{bad}");
    }
    for good in [
        "CREATE TABLE t (a text NOT NULL); INSERT INTO t VALUES ('x');",
        "ALTER TABLE users ADD COLUMN n bigint NOT NULL DEFAULT 0, ADD COLUMN o text;",
        "-- DROP TABLE users;\nCREATE INDEX i ON users (name);",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE x; END $$;",
    ] {
        assert_eq!(taken_away(good), Vec::<String>::new(), "{good}");
    }
}
