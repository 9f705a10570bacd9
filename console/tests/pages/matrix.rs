//! Every role at every route: what the table does not name is refused, and the document says what the table says.

use axum::http::Method;
use console::access::csrf;
use console::frame::route::{Duty, STAFF, Who};
use console::pages::duties;
use schema_store::SqliteStore;
use schema_store::rows::console::Stage;
use schema_store::rows::role::AccountRole;

use crate::support::{Answer, Desk};

const ANYBODY: &str = "00000000-0000-7000-8000-000000000000";

/// A path with something in place of each parameter: nothing that exists.
fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { ANYBODY.to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn ask(desk: &Desk, duty: &Duty, cookie: Option<&str>) -> Answer {
    let path = filled(duty.path);
    if duty.method == Method::GET { desk.get(&path, cookie) } else { desk.post(&path, cookie, "") }
}

fn is_sent_to_sign_in(answer: &Answer) -> bool {
    answer.status == 401 || (answer.status == 303 && answer.location.as_deref() == Some("/sign-in"))
}

#[test]
fn every_role_meets_every_route() {
    let desk = Desk::start();
    for role in STAFF {
        for duty in duties::<SqliteStore>().iter().filter(|duty| !duty.path.starts_with("/sign-")) {
            // One session per request: some of them end it.
            let cookie = desk.fresh_session(*role);
            let answer = ask(&desk, duty, Some(&cookie));
            let name = format!("{} {} {}", role.name(), duty.method, duty.path);
            if duty.who.admits(*role) {
                assert!(answer.status != 403 && !is_sent_to_sign_in(&answer), "{name}: {}", answer.status);
                assert!(answer.status < 500, "{name}: {} {}", answer.status, answer.text);
            } else {
                assert_eq!(answer.status, 403, "{name}");
            }
        }
    }
}

#[test]
fn nobody_and_the_half_way_get_nowhere() {
    let desk = Desk::start();
    let half = desk.session(AccountRole::Admin, Stage::SecondFactor);
    let enrol = desk.session(AccountRole::Admin, Stage::Enrol);
    for duty in duties::<SqliteStore>().iter().filter(|duty| duty.who != Who::Anybody) {
        let name = format!("{} {}", duty.method, duty.path);
        // Without a cookie a form belongs to nobody; it is refused before anything else is looked at.
        let answer = ask(&desk, duty, None);
        assert!(is_sent_to_sign_in(&answer) || answer.status == 403, "{name}: {}", answer.status);
        for (cookie, stage) in [(&half, Stage::SecondFactor), (&enrol, Stage::Enrol)] {
            let answer = ask(&desk, duty, Some(cookie));
            let may = duty.who == Who::Halfway(stage);
            assert_eq!(is_sent_to_sign_in(&answer), !may, "{name} at {stage:?}: {}", answer.status);
        }
    }
    assert_eq!(desk.get("/nothing-here", None).status, 404);
}

/// The session of somebody whom a route lets in, if it takes one.
fn admitted(desk: &Desk, duty: &Duty) -> Option<String> {
    match duty.who {
        Who::Anybody => None,
        Who::Halfway(stage) => Some(desk.session(AccountRole::Admin, stage)),
        Who::Roles(roles) => Some(desk.fresh_session(roles[0])),
    }
}

#[test]
fn forms_from_elsewhere_are_refused_everywhere() {
    let desk = Desk::start();
    let here = desk.origin.as_str();
    let own = [("origin", here), ("sec-fetch-site", "same-origin")];
    let forms: Vec<_> =
        duties::<SqliteStore>().into_iter().filter(|duty| duty.method != Method::GET).collect();
    assert!(forms.len() > 40, "there are forms: {}", forms.len());
    for duty in forms {
        let path = filled(duty.path);
        let cookie = admitted(&desk, &duty);
        let right = csrf::token(cookie.as_deref().unwrap_or("a-browser-that-was-never-here"));
        let wrong = csrf::token("somebody else's cookie");
        let send = |token: Option<&str>, headers: &[(&str, &str)]| {
            desk.post_from(&path, cookie.as_deref(), token, headers)
        };
        for (what, token, headers) in [
            ("no token", None, &own[..]),
            ("an empty token", Some(""), &own[..]),
            ("somebody else's token", Some(wrong.as_str()), &own[..]),
            ("another site", Some(right.as_str()), &[("origin", here), ("sec-fetch-site", "cross-site")][..]),
            ("another port", Some(right.as_str()), &[("origin", here), ("sec-fetch-site", "same-site")][..]),
            ("typed in", Some(right.as_str()), &[("sec-fetch-site", "none")][..]),
            ("another origin", Some(right.as_str()), &[("origin", "http://elsewhere.example")][..]),
            ("no origin", Some(right.as_str()), &[("origin", "null"), ("sec-fetch-site", "same-origin")][..]),
            ("nothing said", Some(right.as_str()), &[][..]),
        ] {
            assert_eq!(send(token, headers), 403, "{} {path}: {what}", duty.method);
        }
        if let (Some(cookie), Who::Roles(_)) = (cookie, duty.who) {
            assert_eq!(desk.get("/account", Some(&cookie)).status, 200, "{path}: nothing happened");
        }
    }
}

#[test]
fn sign_ins_are_counted_on_all_nodes_together_and_refused_while_nobody_counts() {
    let mut redis = servers::Redis::start();
    let url = redis.url();
    let start = || Desk::with(&[("REDIS_URL", &url), ("RATE_LIMIT_AUTH_MAX", "4")]);
    let (one, other) = (start(), start());
    let guess =
        |desk: &Desk| desk.post("/sign-in", None, "email=nobody%40staff.example&password=wrong").status;
    for desk in [&one, &other, &one, &other] {
        assert!(![429, 503].contains(&guess(desk)));
    }
    // At the turn of a window the one before counts with a little less than its whole.
    let is_limited = |desk: &Desk| (0..3).any(|_| guess(desk) == 429);
    assert!(is_limited(&one) && is_limited(&other));
    redis.kill();
    assert_eq!(guess(&one), 503);
    assert_eq!(one.get("/sign-in", None).status, 200, "what guesses at nothing goes on");
}

/// The table as the architecture document prints it. `UPDATE_DOCUMENTS=1` writes it.
#[test]
fn the_document_prints_the_table() {
    let mut printed =
        String::from("| route | action | auditor | moderator | SRE | admin |\n|---|---|---|---|---|---|\n");
    for duty in duties::<SqliteStore>() {
        let cells: Vec<&str> = match duty.who {
            Who::Anybody => vec!["anybody"; 4],
            Who::Halfway(_) => vec!["half-way"; 4],
            Who::Roles(_) => {
                STAFF.iter().map(|role| if duty.who.admits(*role) { "yes" } else { "–" }).collect()
            }
        };
        printed +=
            &format!("| {} `{}` | {} | {} |\n", duty.method, duty.path, duty.action, cells.join(" | "));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once("<!-- table -->\n").unwrap();
    let (kept, after) = rest.split_once("<!-- end -->").unwrap();
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(path, format!("{before}<!-- table -->\n{printed}<!-- end -->{after}")).unwrap();
    } else {
        assert_eq!(kept, printed, "run with UPDATE_DOCUMENTS=1");
    }
}
