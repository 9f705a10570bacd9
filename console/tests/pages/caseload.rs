//! A report that came in is seen: beside the queue's name, on the card, among the signals.

use schema_store::rows::account::Origin;
use schema_store::rows::moderation::{NewFlag, NewReport};
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, Moderation};
use schema_wire::UserId;

use crate::support::Desk;

fn report(desk: &Desk, reporter: UserId, subject: UserId) {
    let new = NewReport {
        reporter,
        subject,
        message: None,
        reason: "SPAM".into(),
        comment: String::new(),
        evidence: None,
        opening: None,
    };
    desk.run(desk.store.file_report(new, Origin::system())).unwrap();
}

#[test]
fn open_cases_stand_beside_the_name_of_the_queue() {
    let mut desk = Desk::start();
    let [moderator, engineer] =
        [AccountRole::Moderator, AccountRole::Sre].map(|role| desk.fresh_session(role));
    let [one, two, three] = ["one", "two", "three"].map(|name| desk.person(name, AccountRole::User));
    let shows = |desk: &Desk, path: &str, cookie: &str| {
        let text = desk.get(path, Some(cookie)).text;
        (text.contains("data-open-cases"), text)
    };
    assert!(!shows(&desk, "/moderation", &moderator).0, "nothing waits");
    report(&desk, one, two);
    report(&desk, one, three);
    let (is_there, text) = shows(&desk, "/moderation", &moderator);
    assert!(is_there && text.contains("(2 open cases)"), "{text}");
    assert!(shows(&desk, "/users", &moderator).0, "on every page");
    let (is_there, text) = shows(&desk, "/overview", &engineer);
    assert!(!is_there && !text.contains("open cases)"), "only for who sees the queue");
    desk.language = "fr";
    assert!(shows(&desk, "/moderation", &moderator).1.contains("(2 dossiers ouverts)"));
}

#[test]
fn a_block_by_itself_stands_on_the_card_in_the_visitors_language() {
    let mut desk = Desk::start();
    let moderator = desk.fresh_session(AccountRole::Moderator);
    let bob = desk.person("bob", AccountRole::User);
    let until = crate::support::BEGIN_MS + 3_600_000;
    let reason = "101 messages in one minute".to_owned();
    desk.run(desk.store.suspend_active(bob, until, reason.clone(), Origin::system())).unwrap();
    let flag = NewFlag { subject: bob, rule: "DUPLICATE".into(), detail: reason, quiet_ms: 0 };
    desk.run(desk.store.raise_flag(flag)).unwrap();
    let card = desk.get(&format!("/moderation/{bob}"), Some(&moderator)).text;
    assert!(card.contains("Done without a decision") && card.contains("by itself"), "{card}");
    let queue = desk.get("/moderation", Some(&moderator)).text;
    assert!(queue.contains("send the same to many"), "the signal is named: {queue}");
    desk.language = "fr";
    for path in [format!("/moderation/{bob}"), "/moderation".to_owned()] {
        let page = desk.get(&path, Some(&moderator)).text;
        assert!(page.contains("101 messages en une minute"), "{page}");
        assert!(!page.contains("in one minute"), "no English: {page}");
    }
}
