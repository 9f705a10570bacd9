//! `messenger health` and the script beside it, on a whole installation of which one part after the other goes.

use std::process::Command;

use servers::{Redis, S3, account};

use crate::bed::{Bed, fine};
use crate::node::Node;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/backup/health-check.sh");
/// Everything that is looked at, in its order.
const NAMES: [&str; 7] = ["database", "redis", "backups", "relay", "console", "certificates", "dns"];

/// The script, with what the node knows.
fn script(bed: &Bed, node: &Node, arguments: &[&str]) -> Command {
    let mut command = bed.prepared(account::command("sh", bed.folder.path()), &[SCRIPT]);
    command.args(arguments).envs(node.variables()).env("MESSENGER", env!("CARGO_BIN_EXE_messenger"));
    command
}

/// Looks, and expects these states of these parts, everything else well, and that exit code.
#[track_caller]
fn expect(mut command: Command, code: i32, others: &[(&str, &str)]) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: serde_json::Value = serde_json::from_str(&said).expect("one JSON object");
    assert_eq!(output.status.code(), Some(code), "{said}");
    let checks = found["checks"].as_array().unwrap();
    assert_eq!(checks.iter().map(|check| check["name"].as_str().unwrap()).collect::<Vec<_>>(), NAMES);
    for check in checks {
        let expected =
            others.iter().find(|(name, _)| check["name"] == *name).map_or("ok", |(_, state)| state);
        assert_eq!(check["state"], expected, "{check}");
        assert!(!check["detail"].as_str().unwrap().contains('\n'), "{check}");
    }
    let worst = others.iter().map(|(_, state)| *state).find(|state| *state == "failed");
    let worst = worst.or(others.first().map(|(_, state)| *state)).unwrap_or("ok");
    assert_eq!(found["state"], worst, "{said}");
}

#[test]
fn health_says_how_everything_is_and_ends_with_the_worst() {
    let (s3, mut redis) = (S3::start(), Redis::start());
    let mut bed = Bed::in_bucket(&s3);
    let mut node = Node::up(&bed, &redis, &[]);
    let look = |bed: &Bed, node: &Node| script(bed, node, &["--json"]);
    expect(look(&bed, &node), 17, &[("backups", "warning")]);
    bed.back_up();
    expect(look(&bed, &node), 0, &[]);
    let lines = fine(&script(&bed, &node, &[]).output().unwrap());
    let parts: Vec<(&str, &str)> = lines
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    assert_eq!(parts, NAMES.map(|name| ("ok", name)), "one line each");
    assert!(!lines.contains(crate::bed::KEY) && !lines.contains(servers::s3::SECRET_KEY), "{lines}");
    let with = |name: &str, value: &str| {
        let mut command = look(&bed, &node);
        command.env(name, value);
        command
    };
    expect(with("PUBLIC_URL", "https://nowhere.invalid"), 18, &[("dns", "failed")]);
    expect(with("S3_ENDPOINT", "http://127.0.0.1:1"), 18, &[("backups", "failed")]);
    expect(with("S3_SECRET_KEY", "another"), 18, &[("backups", "failed")]);
    for (days, code, state) in [(-2..-1, 18, "failed"), (-1..5, 17, "warning"), (2..90, 18, "failed")] {
        let mut with = look(&bed, &node);
        with.envs(certificate(&bed, days));
        expect(with, code, &[("certificates", state)]);
    }
    // Something takes connections there, and is no relay; and the API alone is not the console.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap().to_string();
    expect(with("RELAY_LISTEN", &at), 18, &[("relay", "failed")]);
    expect(with("CONSOLE_ADDRESS", "127.0.0.1:1"), 18, &[("console", "failed")]);
    expect(with("CONSOLE_ADDRESS", "none"), 0, &[]);
    figures_are_known(&bed, &node);
    redis.kill();
    expect(look(&bed, &node), 18, &[("redis", "failed")]);
    node.kill();
    expect(look(&bed, &node), 18, &[("redis", "failed"), ("relay", "failed"), ("console", "failed")]);
    bed.server.as_mut().unwrap().kill();
    let all = [("database", "failed"), ("redis", "failed"), ("relay", "failed"), ("console", "failed")];
    expect(look(&bed, &node), 18, &all);
}

/// What Prometheus is told of backups, the log and drills, none of it by this process.
fn figures_are_known(bed: &Bed, node: &Node) {
    let streaming = bed.stream();
    fine(&bed.run(&["backup", "drill"]));
    let url = format!("{}/metrics", node.text("internal"));
    let is_known = |text: &str, name: &str, least: f64| {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .is_some_and(|value| value >= least && value.is_finite())
    };
    let began = std::time::Instant::now();
    loop {
        let output = Command::new("curl").args(["--silent", "--fail", &url]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let missing = [
            ("backup_last_success_timestamp_seconds", 1.0),
            ("backup_age_seconds", 0.0),
            ("backup_last_duration_seconds", 0.001),
            ("backup_last_bytes", 1.0),
            ("backup_log_lag_bytes", 0.0),
            ("restore_drill_last_success_timestamp_seconds", 1.0),
            ("restore_drill_last_duration_seconds", 0.001),
        ]
        .into_iter()
        .find(|(name, least)| !is_known(&text, name, *least));
        let Some(missing) = missing else { break };
        assert!(began.elapsed() < crate::bed::PATIENCE, "{missing:?} is not known: {text}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert!(streaming.stop().success(), "{}", bed.log());
}

/// A certificate that is valid within these days from today on, and the variables that name it.
fn certificate(bed: &Bed, days: std::ops::Range<i64>) -> [(&'static str, std::path::PathBuf); 2] {
    let day = |from_today: i64| {
        let date = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let date = date + jiff::Span::new().days(from_today);
        rcgen::date_time_ymd(date.year().into(), date.month() as u8, date.day() as u8)
    };
    let mut made = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (made.not_before, made.not_after) = (day(days.start), day(days.end));
    let own = rcgen::KeyPair::generate().unwrap();
    let made = made.self_signed(&own).unwrap();
    let write = |name: &str, text: String| {
        let path = bed.path(name);
        std::fs::write(&path, text).unwrap();
        account::hand_over(&path, 0o600);
        path
    };
    [
        ("RELAY_TLS_CERT_FILE", write("other.pem", made.pem())),
        ("RELAY_TLS_KEY_FILE", write("other.key", own.serialize_pem())),
    ]
}
