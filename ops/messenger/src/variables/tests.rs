//! The tables agree with each other, with the document, and with the environment files of the seeds.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::document::{api_rows, document, example, relay_rows, rows};
use super::{check, refuse_unknown};

fn ops(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn compare(path: &str, wanted: &str) {
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(ops(path), wanted).unwrap();
    }
    let written = std::fs::read_to_string(ops(path)).unwrap_or_default();
    assert!(
        written == wanted,
        "ops/{path} is old: UPDATE_DOCUMENTS=1 cargo nextest run -p messenger document"
    );
}

#[test]
fn the_documents_are_what_the_tables_say() {
    compare("CONFIGURATION.md", &document());
    compare("docker/.env.example", &example());
}

#[test]
fn the_example_holds_no_secret() {
    for line in example().lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.trim_start_matches("# ").split_once('=').unwrap_or((line, ""));
        let is_secret = ["SECRET", "PASSWORD", "_KEY"].iter().any(|part| name.ends_with(part));
        assert!(!is_secret || value.is_empty(), "{line}");
    }
}

#[test]
fn compose_has_no_default_password_and_stays_on_this_machine() {
    let compose = std::fs::read_to_string(ops("docker/compose.yaml")).unwrap();
    let lines: Vec<&str> = compose.lines().map(str::trim).collect();
    for line in &lines {
        let is_published = line.starts_with("- \"") && line.contains(':');
        assert!(!is_published || line.starts_with("- \"127.0.0.1:"), "{line}");
        if let Some((_, value)) = line.split_once("_PASSWORD: ") {
            assert!(value.starts_with("${") && value.contains(":?"), "{line}");
        }
    }
    for part in ["image: postgres:16-alpine", "image: redis:7-alpine"] {
        assert!(lines.contains(&part), "{part}");
    }
    assert_eq!(lines.iter().filter(|line| **line == "healthcheck:").count(), 2);
    let example = std::fs::read_to_string(ops("docker/.env.example")).unwrap();
    for name in ["POSTGRES_PASSWORD", "REDIS_PASSWORD"] {
        assert!(
            compose.contains(&format!("${{{name}:?")) && example.contains(&format!("\n{name}=\n")),
            "{name}"
        );
    }
}

#[test]
fn what_relay_and_api_both_read_means_the_same() {
    let relay = relay_rows();
    let mut shared = 0;
    for mut row in api_rows() {
        let Some(other) = relay.iter().find(|other| other.name == row.name) else { continue };
        row.readers.clone_from(&other.readers);
        assert_eq!(row, *other);
        shared += 1;
    }
    assert!(shared >= 12, "{shared}");
}

#[test]
fn every_row_says_form_and_meaning_in_one_line() {
    for row in rows() {
        assert!(!row.form.is_empty() && row.meaning.ends_with('.'), "{row:?}");
        assert!(!format!("{row:?}").contains("\\n"), "{row:?}");
    }
}

#[test]
fn the_own_variables_are_checked() {
    let with = |name: &'static str, value: &'static str, demo| {
        check(|asked| (asked == name).then(|| value.to_owned()), demo)
    };
    for (name, value, demo) in [
        ("APP_ENV", "prod", false),
        ("APP_ENV", "production", true),
        ("MEDIA_ENCRYPTION_ALGORITHM", "AES-128-CBC", false),
        ("ENCRYPTION_KEY", "your-256-bit-secret-key", false),
        ("S3_ACCESS_KEY", "YOUR_ACCESS_KEY", false),
        ("S3_SECRET_KEY", "YOUR_SECRET_KEY", false),
    ] {
        let refused = with(name, value, demo).unwrap_err();
        assert!(refused.message.starts_with(name), "{}", refused.message);
    }
    assert_eq!(with("APP_ENV", "production", false).unwrap(), Vec::<String>::new());
    assert_eq!(with("S3_BUCKET", "media", false).unwrap().len(), 1);
}

#[test]
fn foreign_and_misspelt_names_are_refused_with_the_line_to_fix() {
    for (name, part) in [
        ("API_RATE_LIMIT", "RATE_LIMIT_MAX"),
        ("MAX_UPLOAD_SIZE", "MAX_FILE_SIZE"),
        ("NEXT_PUBLIC_WS_URL", "front end"),
        ("RATE_LIMIT_MAXX", "did you mean RATE_LIMIT_MAX?"),
        ("JWT_ISUER", "did you mean JWT_ISSUER?"),
    ] {
        let refused = refuse_unknown(&[name.to_owned()]).unwrap_err();
        assert!(refused.message.contains(name) && refused.message.contains(part), "{}", refused.message);
    }
    let fine = ["PATH", "LOG_LEVEL", "S3_BUCKET", "MESSENGER_EMAIL", "JWT_SECRET_FILE", "CORS_ORIGINS"];
    refuse_unknown(&fine.map(str::to_owned)).unwrap();
}
