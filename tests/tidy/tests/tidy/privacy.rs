//! What logs may say: nothing about a person above DEBUG, no secret at all.

use crate::source::{report, rust};

const PERSONAL: &[&str] =
    &["email", "address", "peer", "user_agent", "user_id", "user =", "%user", "?user", "client_ip", "ip ="];
const SECRET: &[&str] = &["password", "secret", "token", "authorization"];

#[test]
fn logs_name_nobody() {
    let mut found = Vec::new();
    for source in rust().iter().filter(|s| !s.is_test()) {
        for (at, statement) in statements(source.product()) {
            let arguments = without_literals(&statement);
            let quiet = ["debug!", "trace!"].iter().any(|m| statement.starts_with(m));
            let personal = PERSONAL.iter().filter(|p| !quiet && arguments.contains(**p));
            let secret = SECRET.iter().filter(|s| arguments.contains(**s));
            found.extend(personal.chain(secret).map(|word| format!("{}:{at} logs {word}", source.path)));
        }
    }
    report("log statements with personal data or secrets", found);
}

#[test]
fn the_scan_sees_statements() {
    let seen = statements("fn f() {\n    tracing::warn!(\n        email,\n        \"x\"\n    );\n}");
    assert_eq!(seen.len(), 1);
    assert!(without_literals(&seen[0].1).contains("email"));
    assert!(!without_literals("warn!(code, \"a password was wrong\")").contains("password"));
}

/// Log macros with their line and whole text up to the closing parenthesis.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for name in ["info!", "warn!", "error!", "debug!", "trace!"] {
        for (start, _) in text.match_indices(&format!("{name}(")) {
            let before = text[..start].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let mut depth = 0;
            let end = text[start..].find(|c| {
                depth += i32::from(c == '(') - i32::from(c == ')');
                c == ')' && depth == 0
            });
            let line = text[..start].lines().count();
            found.push((line, text[start..start + end.unwrap_or(0)].to_owned()));
        }
    }
    found
}

fn without_literals(statement: &str) -> String {
    statement.split('"').step_by(2).collect()
}
