//! What people and their browsers send by mistake, twice, too late or out of malice: a clear page, and nothing half done.

use std::sync::atomic::Ordering;

use axum::http::Method;
use console::frame::route::Who;
use console::pages::duties;
use schema_store::moderation::CLAIM_MS;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::console::Stage;
use schema_store::rows::moderation::{CaseState, NewReport};
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, Moderation, SqliteStore};
use schema_wire::UserId;

use crate::support::{Answer, BEGIN_MS, Desk};

const DECISION: &str = "measure=WARN&days=7&reason=rules&notify=yes";
const HOUR_MS: u64 = 3_600_000;

fn person(desk: &Desk, name: &str) -> UserId {
    let new = Registration {
        email: format!("{name}@home.example"),
        name: name.to_owned(),
        password_hash: "none".to_owned(),
        invite: None,
        activation: Activation::Immediate,
    };
    desk.run(desk.store.register(new, Origin::system())).unwrap()
}

/// Somebody whom somebody else reported.
pub fn reported(desk: &Desk) -> UserId {
    let (subject, reporter) = (person(desk, "subject"), person(desk, "reporter"));
    let report = NewReport {
        reporter,
        subject,
        message: None,
        reason: "SPAM".into(),
        comment: String::new(),
        evidence: None,
        opening: None,
    };
    desk.run(desk.store.file_report(report, Origin::system())).unwrap();
    subject
}

fn decisions(desk: &Desk, subject: UserId) -> usize {
    desk.run(desk.store.case(subject)).unwrap().decisions.len()
}

/// Where somebody is led who was too late.
#[track_caller]
fn assert_overtaken(desk: &Desk, answer: &Answer, cookie: &str, case: &str) {
    assert_eq!((answer.status, answer.location.as_deref()), (303, Some(case)), "{}", answer.text);
    assert_eq!(answer.said.as_deref(), Some("overtaken"));
    assert_eq!(desk.get(case, Some(cookie)).status, 200);
}

#[test]
fn whatever_stands_in_an_address_is_a_page() {
    let desk = Desk::start();
    let subject = reported(&desk);
    let cookie = desk.fresh_session(AccountRole::Admin);
    let (long, many) = ("x".repeat(20_000), "a=b&".repeat(500));
    let long_text = format!("q={long}");
    let queries = [
        "before=-1",
        "before=99999999999999999999999",
        "after=18446744073709551615.00000000-0000-7000-8000-000000000000",
        "after=..",
        "state=%F0%9F%A6%80",
        "q=%25_%5C",
        "q=%E2%80%AE%0A%07",
        "range=1y&step=none",
        "undo=1",
        "user=%00",
        "event=%00",
        "q=%00",
        "q=%ff%fe",
        "event=a%0Ab",
        "a=1&a=2&before=3&before=4",
        "=",
        "&&&&",
        "%",
        long_text.as_str(),
        many.as_str(),
    ];
    for duty in duties::<SqliteStore>() {
        if duty.method != Method::GET || matches!(duty.who, Who::Halfway(_)) {
            continue;
        }
        let path = duty.path.replace("{user}", &subject.to_string());
        for query in queries {
            let answer = desk.get(&format!("{path}?{query}"), Some(&cookie));
            let shown: String = query.chars().take(60).collect();
            assert!(answer.status < 500, "{path}?{shown}: {}", answer.status);
            assert!(
                answer.status != 400 || answer.text.contains("could not be read"),
                "{path}?{shown}: {}",
                answer.text
            );
        }
    }
    for path in ["/users/%00", "/users/%ff", "/users/1", "/moderation/..%2f..", &format!("/users/{long}")] {
        let answer = desk.get(path, Some(&cookie));
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
}

#[test]
fn whatever_stands_in_a_form_does_nothing_by_halves() {
    let desk = Desk::start();
    let subject = reported(&desk);
    // A wrong password where one is asked for once more is told.
    let trail = |desk: &Desk| {
        let newest = desk.run(desk.store.audit_page(None, 20)).unwrap();
        newest.into_iter().find(|row| row.event != "LOGIN_FAILED").map(|row| row.id)
    };
    let (long, many) = (format!("reason={}", "y".repeat(40_000)), "a=b&".repeat(300));
    let forms = [
        long.as_str(),
        "reason=%00",
        "reason=%E2%80%AEx&email=%00&name=a%0Ab&value=%00&note=%00&answer=%00&text=%00",
        "measure=NONE&days=-1&reason=",
        "measure=SUSPEND&days=99999999999999&reason=x",
        "network=0.0.0.0%2F0&reason=x",
        "network=::ffff:1.2.3.4%2F200",
        "confirm=&password=&code=",
        "name=%07&role=ADMIN",
        "name=x&role=GOD",
        "kind=ALL&text=x",
        many.as_str(),
    ];
    for duty in duties::<SqliteStore>().iter().filter(|duty| duty.method == Method::POST) {
        if matches!(duty.who, Who::Anybody | Who::Halfway(_)) || duty.path.contains("{session}") {
            continue;
        }
        // What is one button, or asks for a reason alone, takes whatever else is sent along.
        let path = duty.path.replace("{user}", &subject.to_string());
        let plain = [
            "/claim",
            "/release",
            "end-others",
            "/reset-mail",
            "/reset-link",
            "/export",
            "/erasure",
            "/invite",
            "/backups/run",
            "/backups/drill",
        ];
        if plain.iter().any(|end| path.ends_with(end)) {
            continue;
        }
        let path = path.split('/').map(|part| if part.starts_with('{') { "none" } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        for form in forms {
            let cookie = desk.fresh_session(AccountRole::Admin);
            let before = trail(&desk);
            let answer = desk.post(&path, Some(&cookie), form);
            let shown: String = form.chars().take(60).collect();
            assert!((300..500).contains(&answer.status), "{path} {shown}: {} {}", answer.status, answer.text);
            assert_eq!(trail(&desk), before, "{path} {shown}: something was done");
        }
    }
    assert_eq!(decisions(&desk, subject), 0);
}

#[test]
fn a_form_sent_twice_counts_once() {
    let desk = Desk::start();
    let subject = reported(&desk);
    let cookie = desk.fresh_session(AccountRole::Moderator);
    let (case, decide) = (format!("/moderation/{subject}"), format!("/moderation/{subject}/decide"));
    // Both at the same time, as an impatient finger sends them.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let sent: Vec<_> =
            (0..2).map(|_| scope.spawn(|| desk.post(&decide, Some(&cookie), DECISION))).collect();
        sent.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let (made, late): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|one| one.location.as_deref().is_some_and(|to| to.contains("?undo=")));
    assert_eq!((made.len(), late.len(), decisions(&desk, subject)), (1, 1, 1));
    assert_overtaken(&desk, late[0], &cookie, &case);
    let undo = format!(
        "/moderation/decisions/{}/undo",
        made[0].location.as_ref().unwrap().split("undo=").nth(1).unwrap()
    );
    assert_eq!(desk.post(&undo, Some(&cookie), "").said.as_deref(), Some("undone"));
    assert_eq!(desk.post(&undo, Some(&cookie), "").said.as_deref(), Some("overtaken"));
}

#[test]
fn a_claim_that_ran_out_is_worth_nothing() {
    let desk = Desk::start();
    let subject = reported(&desk);
    let (slow, quick) =
        (desk.fresh_session(AccountRole::Moderator), desk.fresh_session(AccountRole::Moderator));
    let case = format!("/moderation/{subject}");
    let (claim, decide) = (format!("{case}/claim"), format!("{case}/decide"));
    assert_eq!(desk.post(&claim, Some(&slow), "").said.as_deref(), Some("claimed"));
    assert_overtaken(&desk, &desk.post(&claim, Some(&quick), ""), &quick, &case);
    assert_overtaken(&desk, &desk.post(&decide, Some(&quick), DECISION), &quick, &case);
    desk.clock.fetch_add(CLAIM_MS + 1, Ordering::Relaxed);
    let made = desk.post(&decide, Some(&quick), DECISION);
    assert!(made.location.is_some_and(|to| to.contains("?undo=")), "the case is free again");
    assert_overtaken(&desk, &desk.post(&decide, Some(&slow), DECISION), &slow, &case);
    assert_eq!(decisions(&desk, subject), 1);
}

#[test]
fn a_clock_that_is_set_back_breaks_no_page_and_nothing_takes_effect_early() {
    let desk = Desk::start();
    let subject = reported(&desk);
    let cookie = desk.fresh_session(AccountRole::Admin);
    let decide = format!("/moderation/{subject}/decide");
    assert_eq!(desk.post(&decide, Some(&cookie), DECISION).status, 303);
    for at in [BEGIN_MS - HOUR_MS, BEGIN_MS - 400 * 24 * HOUR_MS, BEGIN_MS] {
        desk.clock.store(at, Ordering::Relaxed);
        for duty in duties::<SqliteStore>() {
            // Nobody here has a security key to be removed.
            let has_none = matches!(duty.who, Who::Halfway(_)) || duty.path.contains("{key}");
            if duty.method != Method::GET || has_none {
                continue;
            }
            let path = duty.path.replace("{user}", &subject.to_string());
            let answer = desk.get(&path, Some(&cookie));
            assert!(answer.status == 200 || answer.status == 303, "{path} at {at}: {}", answer.status);
        }
        assert_eq!(desk.run(desk.store.case(subject)).unwrap().row.state, CaseState::Decided);
    }
}

#[test]
fn a_session_is_over_in_time_and_says_so() {
    let desk = Desk::start();
    let subject = reported(&desk);
    let cookie = desk.session(AccountRole::Moderator, Stage::Full);
    desk.clock.fetch_add(HOUR_MS, Ordering::Relaxed);
    let late = desk.post(&format!("/moderation/{subject}/decide"), Some(&cookie), DECISION);
    assert!(late.status == 401 && late.text.contains("session is over"), "{} {}", late.status, late.text);
    assert_eq!(decisions(&desk, subject), 0, "nothing was done");
}

#[test]
fn an_export_of_the_trail_about_nobody_is_not_one_of_everything() {
    let desk = Desk::start();
    let cookie = desk.fresh_session(AccountRole::Auditor);
    let everything = desk.get("/audit.csv", Some(&cookie));
    assert_eq!((everything.status, everything.text.starts_with("id,at,event")), (200, true));
    let answer = desk.get("/audit.csv?user=nobody", Some(&cookie));
    assert_eq!((answer.status, answer.text.contains("id=\"user-error\"")), (422, true), "{}", answer.text);
}
