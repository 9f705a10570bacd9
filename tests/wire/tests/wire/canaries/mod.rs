//! Fifty canaries are sent through everything that a person or a program can send something to; then logs of every level,
//! figures, headers and sealed backups are searched for them, in every form in which programs write text.

mod browser;
mod desk;
mod flock;
mod journey;
mod relay;
mod searcher;

use std::path::Path;

use journey::Journey;
use searcher::Searcher;
use wire_tests::{Carrier, Settings, World, http};

/// Lines that the log has of such a journey at the very least, so that something is searched.
const LOG_LINES_MIN: usize = 500;
const CARRIERS: [Carrier; 3] = [Carrier::Quic, Carrier::WebSocket, Carrier::Json];

fn everything_is_logged() -> Settings {
    let settings = Settings::default().env("LOG_LEVEL", "trace").env("REGISTRATION", "open");
    // A backup is made while all of it is in the database.
    settings.env("RATE_LIMIT_MAX", 100_000).env("RATE_LIMIT_AUTH_MAX", 100_000).env("BACKUP_INTERVAL", 10)
}

#[test]
fn nothing_about_anybody_is_in_logs_figures_or_headers() {
    wire_tests::run(async {
        let world = World::start_with(everything_is_logged()).await;
        let journey = Journey::new(&world);
        travel(&journey).await;
        assert_eq!(journey.flock.left(), Vec::<&(flock::Kind, String)>::new(), "canaries that nobody sent");
        let marks = journey.flock.marks();
        let own = Searcher::of(&marks);
        let all = Searcher::of(&[marks, journey.secrets.borrow().clone()].concat());
        assert_absent("a header", &own, &journey.heads.borrow());
        for path in ["/metrics", "/hdr", "/health", "/ready"] {
            assert_absent(path, &all, &http::get(world.server.internal(), path).await.body);
        }
        let log = world.server.log();
        assert!(
            log.lines().count() > LOG_LINES_MIN && log.contains("TRACE") && log.contains("answered"),
            "{log}"
        );
        assert_absent("the log", &all, &log);
        assert_absent("a backup", &own, &texts(&world.server.data().join("backups")));
        // Where they have to be, they are found.
        let letters = texts(&world.server.data().join("mail")).replace("=\r\n", "");
        assert!(own.found(&letters).len() > 2, "the searcher finds nothing in letters");
        assert!(
            own.found(&texts(&world.server.data())).len() > 20,
            "the searcher finds nothing in the database"
        );
    });
}

async fn travel(journey: &Journey<'_>) {
    let (one, other) = (journey.join(0).await, journey.join(1).await);
    let moderator = journey.sit_down().await;
    journey.settle_in(&one).await;
    journey.settle_in(&other).await;
    let group = journey.gather(&one, &other).await;
    for carrier in CARRIERS {
        journey.talk(carrier, group, &one, &other).await;
        journey.knock(carrier).await;
    }
    journey.report(&one, &other).await;
    journey.decide(&moderator, &other).await;
    journey.shout().await;
    journey.stumble(&one).await;
    journey.until_out(&other).await;
    journey.appeal(&other).await;
    let (administrator, service) = journey.administrator().await;
    journey.administer(&service, &one).await;
    journey.rule(&administrator, &one).await;
    journey.leave(one).await;
}

#[track_caller]
fn assert_absent(what: &str, searcher: &Searcher, text: &str) {
    let found = searcher.found(text);
    let lines: Vec<&str> = text.lines().filter(|line| !searcher.found(line).is_empty()).take(5).collect();
    assert!(found.is_empty(), "{what} has {found:?}: {lines:#?}");
}

/// All files of a folder, as text.
fn texts(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut all = String::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            all.push_str(&texts(&path));
        } else {
            let bytes = std::fs::read(&path).expect("readable");
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    all
}
