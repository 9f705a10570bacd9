//! What the server does for every page, as the server itself says: no table that is large is read from end to end. The
//! statements are those that the program sent, by the server's log; nobody keeps a list of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use servers::{Options, Postgres};

use super::{Full, agent};

/// Rows from which on a table is large.
const LARGE: f64 = 2_000.0;
/// Each address is asked for so often: after five times the server may choose a plan for whatever the arguments are.
const TIMES: u32 = 8;
/// Rows that one statement may look at: an export reads pages of 200, a check of the chain 10,000 entries.
const ROWS_MAX: f64 = 12_000.0;

/// A server that can tell its plans, and does not yet.
pub fn explained() -> Options {
    let options = Options::default().set("shared_preload_libraries", "auto_explain");
    let options = options.set("auto_explain.log_min_duration", "-1").set("auto_explain.log_format", "json");
    let options = options.set("auto_explain.log_analyze", "on").set("auto_explain.log_timing", "off");
    options.set("auto_explain.log_nested_statements", "on")
}

/// Statement and plan of everything logged.
fn plans(log: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.ends_with("plan:") {
            continue;
        }
        let mut text = String::new();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            text.push_str(more);
            text.push('\n');
        }
        let entry: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        found.push((entry["Query Text"].as_str().unwrap_or_default().to_owned(), entry["Plan"].clone()));
    }
    found
}

/// Visits a plan and all its parts.
fn walk(plan: &Value, visit: &mut impl FnMut(&Value)) {
    visit(plan);
    for part in plan["Plans"].as_array().into_iter().flatten() {
        walk(part, visit);
    }
}

fn number(plan: &Value, field: &str) -> f64 {
    plan[field].as_f64().unwrap_or_default()
}

/// Rows that a part of a plan took from a table or an index, those it threw away included.
fn rows_read(plan: &Value) -> f64 {
    let is_source =
        plan["Node Type"].as_str().is_some_and(|kind| kind.contains("Scan")) && plan["Plans"].is_null();
    if !is_source {
        return 0.0;
    }
    let each = number(plan, "Actual Rows") + number(plan, "Rows Removed by Filter");
    each * number(plan, "Actual Loops")
}

fn large_tables(server: &Postgres) -> BTreeSet<String> {
    let sql = format!("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND reltuples > {LARGE}");
    server.sql(&sql).lines().map(str::to_owned).collect()
}

/// Asks for every page, and reads the plans of what it sent.
pub fn look(full: &Full) {
    let large = large_tables(&full.server);
    for table in ["users", "reports", "audit_logs", "devices", "conversation_members"] {
        assert!(large.contains(table), "{table} is large: {large:?}");
    }
    full.server.sql("ALTER SYSTEM SET auto_explain.log_min_duration = 0");
    full.server.sql("SELECT pg_reload_conf()");
    full.server.until("SHOW auto_explain.log_min_duration", "0");
    // What was logged while rows came in is no page's.
    let before = full.server.log().len();
    let agent = agent();
    for page in full.pages() {
        for _ in 0..TIMES {
            let (status, _) = full.ask(&agent, &page);
            assert!(status == 200 || page.route == "/" || page.route == "/sign-in", "{page:?}: {status}");
        }
    }
    judge(&full.server.log()[before..], &large);
}

fn judge(log: &str, large: &BTreeSet<String>) {
    let plans = plans(log);
    let (mut scans, mut greedy) = (BTreeMap::new(), BTreeMap::new());
    for (statement, plan) in &plans {
        let mut rows = 0.0;
        walk(plan, &mut |part| {
            let table = part["Relation Name"].as_str().unwrap_or_default();
            if part["Node Type"] == "Seq Scan" && large.contains(table) {
                scans.insert(statement.clone(), table.to_owned());
            }
            rows += rows_read(part);
        });
        if rows > ROWS_MAX {
            greedy.insert(statement.clone(), rows);
        }
    }
    let statements: BTreeSet<&String> = plans.iter().map(|(statement, _)| statement).collect();
    println!("{} statements, {} plans", statements.len(), plans.len());
    assert!(statements.len() > 60, "pages send more than {} statements", statements.len());
    assert!(scans.is_empty(), "read from end to end: {scans:#?}");
    assert!(greedy.is_empty(), "look at more than {ROWS_MAX} rows: {greedy:#?}");
}

#[test]
fn a_scan_is_seen() {
    let log = "LOG:  duration: 1 ms  plan:\n\t{\n\t \"Query Text\": \"SELECT 1\",\n\t \"Plan\": {\"Node Type\": \"Limit\",\
               \n\t \"Plans\": [{\"Node Type\": \"Seq Scan\", \"Relation Name\": \"users\", \"Actual Rows\": 2,\
               \n\t \"Rows Removed by Filter\": 5, \"Actual Loops\": 3}]}}\nLOG: other\n";
    let plans = plans(log);
    assert_eq!(plans.len(), 1);
    let mut rows = 0.0;
    walk(&plans[0].1, &mut |part| rows += rows_read(part));
    assert_eq!((plans[0].0.as_str(), rows), ("SELECT 1", 21.0));
    let refused = std::panic::catch_unwind(|| judge(log, &BTreeSet::from(["users".to_owned()])));
    assert!(refused.is_err());
}
