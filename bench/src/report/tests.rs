//! Rows as a run would leave them, and what each reader makes of them.

use std::path::PathBuf;

use super::compare::{self, Judgement, Recorded, Records};
use super::row::{Better, Figure, Row, Run};
use super::{history, json, table};

fn row(shape: &str) -> Row {
    Row {
        shape: shape.into(),
        transport: "websocket".into(),
        n: 1000,
        payload: 128,
        cpu_us_per_delivery: 7.891_234,
        floor: "sealed".into(),
        floor_cpu_us: 7.4,
        ratio: 1.066,
        dps: 50_000.0,
        floor_dps: 50_000.0,
        p50_us: 57.0,
        p99_us: 303.0,
        max_us: 11_234.0,
        rss_kib_per_conn: f64::NAN,
        spread: 1.04,
        runs: 5,
        goal: "CPU at most 1.10 x the floor's".into(),
        met: Some(true),
        hdr: "aaaa".into(),
        floor_hdr: "bbbb".into(),
        ..Row::default()
    }
}

fn run() -> Run {
    let mut slow = row("rooms");
    (slow.met, slow.noisy, slow.p50_us) = (Some(false), true, 0.0);
    Run { commit: "0123abc".into(), rows: vec![row("unbatched"), slow], ..Run::default() }
}

#[test]
fn columns_are_aligned() {
    let text = table::text_table(&run());
    let lines: Vec<&str> = text.lines().take(4).collect();
    let starts = |line: &str, word: &str| line.find(word).map(|at| line[..at].chars().count());
    let ends = |line: &str, word: &str| starts(line, word).map(|at| at + word.len());
    assert_eq!(ends(lines[0], "max us"), ends(lines[2], "11,234"), "{text}");
    assert_eq!(starts(lines[0], "goal"), starts(lines[2], "met:"), "{text}");
    assert_eq!(starts(lines[0], "goal"), starts(lines[3], "MISSED:"), "{text}");
    assert_eq!(ends(lines[0], "p50 us"), ends(lines[3], "n/a"), "{text}");
    assert!(lines[1].chars().all(|symbol| symbol == '-' || symbol == ' '));
}

#[test]
fn table_leaves_out_empty_columns_and_speaks_of_noise() {
    let text = table::text_table(&run());
    assert!(!text.contains("KiB/conn"), "{text}");
    assert!(text.contains("1 of 2 goals met; the machine was too noisy for rooms."), "{text}");
    assert!(table::text_table(&Run::default()).contains("0 of 0 goals met"));
}

#[test]
fn changes_compare_with_the_last_run_that_has_the_shape() {
    let mut before = run();
    before.rows[0].ratio = 1.5;
    let other = Run { rows: vec![row("idle")], ..Run::default() };
    let text = table::changes(&Run { rows: vec![row("unbatched"), row("new")], ..run() }, &[before, other]);
    assert_eq!(text, "Ratios since the last recorded run:\n  unbatched: 1.50× -> 1.07×\n");
    assert_eq!(table::changes(&run(), &[]), "");
}

#[test]
fn markdown_rows_have_as_many_cells_as_the_heading() {
    let mut run = run();
    run.rows[0].goal = "a|b".into();
    let text = table::markdown(&run);
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    assert_eq!(text.lines().count(), 4);
    assert!(text.lines().all(|line| cells(line) == cells(text.lines().next().unwrap_or_default())), "{text}");
}

#[test]
fn json_lines_have_the_promised_fields() {
    let text = json::lines(&run(), false);
    assert_eq!(text.lines().count(), 2);
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line is a document");
        for field in
            "shape transport n payload cpu_us_per_delivery floor_cpu_us ratio dps p50_us p99_us p999_us \
                      max_us rss_kib_per_conn"
                .split_whitespace()
        {
            assert!(value.get(field).is_some(), "{field} in {line}");
        }
        assert!(value.get("hdr").is_none());
        assert!(value["rss_kib_per_conn"].is_null());
        assert_eq!(value["cpu_us_per_delivery"], 7.8912);
    }
    assert!(json::lines(&run(), true).contains(r#""floor_hdr":"bbbb""#));
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("bench-report-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

#[test]
fn history_keeps_older_lines_readable() {
    let path = scratch("history");
    assert!(history::read(&path).expect("no file is no history").is_empty());
    let older =
        r#"{"commit":"old","rows":[{"shape":"unbatched","ratio":1.5,"gone":true},{"shape":"first"}]}"#;
    std::fs::write(&path, format!("{older}\n\n")).expect("the folder is writable");
    history::append(&path, &run()).expect("the file grows");
    let runs = history::read(&path).expect("both lines are runs");
    std::fs::remove_file(&path).expect("the file is ours");
    assert_eq!(runs.len(), 2);
    let read = &runs[1].rows[0];
    let wanted =
        Row { cpu_us_per_delivery: 7.8912, rss_kib_per_conn: 0.0, ..json::without_hdr(&row("unbatched")) };
    assert_eq!(*read, wanted);
    let last = history::last(&runs);
    assert_eq!(last.keys().copied().collect::<Vec<_>>(), ["first", "rooms", "unbatched"]);
    assert_eq!(last["unbatched"].ratio, 1.066);
}

#[test]
fn history_names_the_line_that_is_no_run() {
    let path = scratch("broken");
    std::fs::write(&path, "{}\nnonsense\n").expect("the folder is writable");
    let error = history::read(&path).expect_err("nonsense is no run");
    std::fs::remove_file(&path).expect("the file is ours");
    assert!(error.to_string().contains("line 2"), "{error}");
}

fn judged(better: Better, ratio: f64, tolerance: f64, reached: f64) -> Judgement {
    let record = Recorded { ratio, tolerance, figure: Figure::Ratio, better, note: String::new() };
    let mut measured = row("unbatched");
    measured.ratio = reached;
    let run = Run { rows: vec![measured], ..Run::default() };
    compare::check(&run, &Records::from([("unbatched".into(), record)]))[0].judgement
}

#[test]
fn both_sides_of_every_threshold() {
    for ratio in [0.01, 0.9, 1.0, 1.1, 4500.0] {
        for tolerance in [0.01, 0.1, 0.25, 1.0] {
            for better in [Better::Lower, Better::Higher] {
                let at = |factor: f64| match better {
                    Better::Lower => ratio * factor,
                    Better::Higher => ratio / factor,
                };
                let judge = |factor| judged(better, ratio, tolerance, at(factor));
                let edge = 1.0 + tolerance;
                assert_eq!(judge(edge * 1.000_001), Judgement::Worse);
                assert_eq!(judge(edge * 0.999_999), Judgement::Same);
                assert_eq!(judge(1.0), Judgement::Same);
                assert_eq!(judge(1.000_001 / edge), Judgement::Same);
                assert_eq!(judge(0.999_999 / edge), Judgement::Better);
            }
        }
    }
}

#[test]
fn check_names_what_it_can_not_compare() {
    let record =
        |figure| Recorded { ratio: 1.0, tolerance: 0.2, figure, better: Better::Lower, note: String::new() };
    let records = Records::from([
        ("unbatched".into(), record(Figure::RssKib)),
        ("quic".into(), record(Figure::CpuRatio)),
    ]);
    let verdicts = compare::check(&run(), &records);
    let judgements: Vec<Judgement> = verdicts.iter().map(|verdict| verdict.judgement).collect();
    assert_eq!(judgements, [Judgement::Unmeasured, Judgement::Unknown, Judgement::NotRun]);
    assert!(verdicts[0].fails() && !verdicts[1].fails() && !verdicts[2].fails());
    assert!(verdicts[0].to_string().contains("FAILED"));
    assert_eq!(verdicts[1].to_string(), "rooms: nothing is recorded of it");
    assert!(verdicts[2].to_string().contains("did not run"));
}

#[test]
fn figures_are_relay_over_floor() {
    let mut row = row("unbatched");
    (row.dps, row.floor_dps, row.p99_us, row.floor_p99_us) = (9.0, 10.0, 30.0, 20.0);
    assert_eq!(Figure::DpsRatio.of(&row), Some(0.9));
    assert_eq!(Figure::P99Ratio.of(&row), Some(1.5));
    assert_eq!(Figure::P50Ratio.of(&row), None);
    assert_eq!(Figure::RssKib.of(&row), None);
}

#[test]
fn records_are_read_with_their_defaults() {
    let path = scratch("recorded");
    std::fs::write(&path, r#"{"rooms":{"ratio":1.2,"tolerance":0.25,"note":"five runs spread 1.2"}}"#)
        .expect("the folder is writable");
    let records = compare::read(&path).expect("it is a record");
    assert_eq!((records["rooms"].figure, records["rooms"].better), (Figure::CpuRatio, Better::Lower));
    std::fs::write(&path, r#"{"rooms":{"ratio":0,"tolerance":0.25}}"#).expect("the folder is writable");
    let error = compare::read(&path).expect_err("nothing compares with 0");
    std::fs::remove_file(&path).expect("the file is ours");
    assert!(error.to_string().contains("rooms"), "{error}");
}

/// The first tag that does not close, or closes what was not open.
fn unbalanced(page: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let body = page.strip_prefix("<!doctype html>").expect("a page says what it is");
    for tag in body.split('<').skip(1).map(|rest| rest.split('>').next().unwrap_or(rest)) {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or(tag);
        if !tag.starts_with('/') {
            open.extend((!tag.ends_with('/')).then_some(name));
        } else if open.pop() != Some(name) {
            return Some(format!("</{name}> closes nothing"));
        }
    }
    open.first().map(|name| format!("<{name}> stays open"))
}

#[test]
fn page_is_whole_and_keeps_to_itself() {
    let run = super::sample::run(16);
    let page = super::html::page(&run, &super::sample::history()).expect("the sample has sound histograms");
    assert_eq!(unbalanced(&page), None);
    for row in &run.rows {
        assert!(page.contains(&format!("<h3>{}</h3>", row.shape)), "{}", row.shape);
    }
    for foreign in ["http:", "https:", "<script", "<link", "src=", "url(", "@import", "NaN", "inf"] {
        assert!(!page.to_lowercase().contains(&foreign.to_lowercase()), "{foreign}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("<details").count());
    assert!(page.contains("missed") && page.contains("met"));
}

#[test]
fn page_escapes_and_bears_empty_runs() {
    let mut run = Run { commit: "<b>&\"".into(), ..Run::default() };
    assert_eq!(unbalanced(&super::html::page(&run, &[]).expect("an empty run is a page")), None);
    run.rows.push(Row { shape: "a<b".into(), goal: "x > y".into(), ..Row::default() });
    let page = super::html::page(&run, &[]).expect("a row without numbers is a page");
    assert_eq!(unbalanced(&page), None);
    assert!(page.contains("a&lt;b") && page.contains("not judged"));
    run.rows[0].hdr = "nonsense".into();
    assert!(super::html::page(&run, &[]).is_err());
}
