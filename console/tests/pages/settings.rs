//! Settings and what they do: limits that hold without a restart, letters that go to another server, the environment that
//! goes first.

use std::time::{Duration, Instant};

use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::console::Stage;
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, Operations};

use crate::owed::mail_server;
use crate::support::{Desk, PASSWORD, encoded};

/// As long as a change may take to hold at another console.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// Whose environment leaves the limits open.
fn open() -> Desk {
    Desk::with(&[("RATE_LIMIT_MAX", ""), ("RATE_LIMIT_AUTH_MAX", "")])
}

#[test]
fn a_limit_holds_at_once_here_and_soon_elsewhere() {
    let desk = open();
    let cookie = desk.fresh_session(AccountRole::Admin);
    let set = |name: &str, value: &str| {
        desk.post(&format!("/settings/{name}"), Some(&cookie), &format!("value={value}"))
    };
    assert_eq!(set("limit-requests", "29").status, 422, "the console itself needs some");
    assert_eq!(set("limit-requests", "40").status, 303);
    let refused_after = || (0..200).find(|_| desk.get("/sign-in", None).status == 429);
    assert_eq!(refused_after(), Some(38), "two of forty were for setting it");
    // Another console writes to the same store.
    desk.run(desk.store.change_setting("limit-requests", Some("60".into()), Origin::system())).unwrap();
    let began = Instant::now();
    while desk.get("/sign-in", None).status == 429 {
        assert!(began.elapsed() < TAKEN_WITHIN, "it was not taken");
        std::thread::sleep(Duration::from_millis(100));
    }
    desk.forward(Duration::from_secs(180));
    assert_eq!(refused_after(), Some(60));
    desk.forward(Duration::from_secs(180));
    assert_eq!(desk.post("/settings/limit-requests", Some(&cookie), "default=yes").status, 303);
    assert_eq!(refused_after(), Some(99), "the default again");
}

#[test]
fn what_the_environment_says_is_shown_and_not_changed() {
    let desk = Desk::with(&[("RATE_LIMIT_MAX", "77000"), ("SMTP_HOST", "mail.example.org")]);
    let cookie = desk.fresh_session(AccountRole::Admin);
    let page = desk.get("/settings", Some(&cookie)).text;
    assert!(page.contains("Set by the environment") && page.contains("RATE_LIMIT_MAX"), "{page}");
    assert!(page.contains("77000"), "as it holds");
    for name in ["limit-requests", "limit-messages"] {
        let answer = desk.post(&format!("/settings/{name}"), Some(&cookie), "value=50");
        assert_eq!(answer.status, 422, "{name}");
    }
    assert_eq!(
        desk.post("/settings/limit-window", Some(&cookie), "value=50").status,
        303,
        "this one is open"
    );
    assert!(desk.get("/settings/mail", Some(&cookie)).text.contains("SMTP_HOST"));
    assert_eq!(desk.post("/settings/mail", Some(&cookie), "mail-host=").status, 403);
    let set = desk.run(desk.store.settings_set()).unwrap();
    assert_eq!(set.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["limit-window"]);
}

#[test]
fn letters_go_to_the_server_that_was_set() {
    let desk = Desk::start();
    let ada = desk.person("ada", AccountRole::Admin);
    let cookie = desk.session_of(ada, Stage::Full);
    let mia = desk.person("mia", AccountRole::Moderator);
    let (port, letters) = mail_server(&[]);
    let set = |password: &str, more: &str| {
        let server =
            format!("mail-host=127.0.0.1&mail-port={port}&mail-tls=none&mail-from=desk%40here.example");
        let fields = format!("{server}&{more}&password={}", encoded(password));
        desk.post("/settings/mail", Some(&cookie), &fields)
    };
    assert_eq!(set("wrong", "").status, 422, "links that open accounts go that way: the password once more");
    assert!(desk.run(desk.store.settings_set()).unwrap().is_empty());
    assert_eq!(set(PASSWORD, "").status, 303);
    let trial = desk.post("/settings/mail/trial", Some(&cookie), "");
    assert_eq!((trial.status, trial.location.as_deref()), (303, Some("/settings/mail")), "{}", trial.text);
    let letter = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(letter.contains("RCPT TO:<ada@staff.example>"), "{letter}");
    assert!(letter.contains("MAIL FROM:<desk@here.example>"), "{letter}");
    assert_eq!(desk.post(&format!("/users/{mia}/reset-mail"), Some(&cookie), "").status, 303);
    let letter = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(letter.contains("RCPT TO:<mia@staff.example>") && letter.contains("reset-password"), "{letter}");
    // With a password, which nobody sees again.
    assert_eq!(set(PASSWORD, "mail-user=desk&mail-password=hunter2").status, 303);
    let page = desk.get("/settings/mail", Some(&cookie)).text;
    assert!(page.contains("One is kept") && !page.contains("hunter2"), "{page}");
    let trail = desk.run(desk.store.audit_page(None, 50)).unwrap();
    let told: Vec<_> =
        trail.iter().filter(|row| row.event == "SETTING_CHANGED").map(|row| &row.detail).collect();
    assert!(told.iter().any(|told| *told == "mail-password: (default) -> (set)"), "{told:?}");
    assert!(told.iter().any(|told| *told == "mail-host: (default) -> 127.0.0.1"), "{told:?}");
    let kept = desk.run(desk.store.settings_set()).unwrap();
    assert!(kept.iter().all(|one| !one.value.contains("hunter2")), "sealed in the store as well");
    // A server that is not there: the page says so, and what was set stays.
    drop(letters);
    let nowhere = "mail-host=127.0.0.1&mail-port=1&mail-tls=none&mail-from=desk%40here.example";
    let fields = format!("{nowhere}&password={}", encoded(PASSWORD));
    assert_eq!(desk.post("/settings/mail", Some(&cookie), &fields).status, 303);
    let trial = desk.post("/settings/mail/trial", Some(&cookie), "");
    assert!(trial.status == 422 && trial.text.contains("did not take the letter"), "{}", trial.text);
}

#[test]
fn who_may_register_is_set_here_unless_the_environment_says_it() {
    let desk = Desk::start();
    let cookie = desk.fresh_session(AccountRole::Admin);
    let set = |desk: &Desk, cookie: &str, value: &str| {
        desk.post("/settings/registration", Some(cookie), &format!("value={value}")).status
    };
    assert!(desk.get("/registration", Some(&cookie)).text.contains("Nobody can register"));
    assert_eq!(set(&desk, &cookie, "everybody"), 422, "that is none of the words");
    assert_eq!(set(&desk, &cookie, "approval"), 303);
    assert!(desk.get("/registration", Some(&cookie)).text.contains("waits to be approved"));
    let trail = desk.run(desk.store.audit_page(None, 20)).unwrap();
    let told = |detail: &str| trail.iter().any(|row| row.event == "SETTING_CHANGED" && row.detail == detail);
    assert!(told("registration: (default) -> approval"), "before and after: {trail:?}");
    let sre = desk.fresh_session(AccountRole::Sre);
    assert_eq!(set(&desk, &sre, "open"), 403, "this is for administrators");
    let fixed = Desk::with(&[("REGISTRATION", "invite")]);
    let cookie = fixed.fresh_session(AccountRole::Admin);
    assert_eq!(set(&fixed, &cookie, "open"), 422);
    assert!(fixed.get("/registration", Some(&cookie)).text.contains("has an invitation can register"));
    assert!(fixed.get("/settings", Some(&cookie)).text.contains("Set by the environment"), "which is said");
}

#[test]
fn a_waiting_account_is_refused() {
    let desk = Desk::start();
    let cookie = desk.fresh_session(AccountRole::Admin);
    let new = Registration {
        email: "late@example.org".into(),
        name: "late".into(),
        password_hash: "none".into(),
        invite: None,
        activation: Activation::Approval,
    };
    let user = desk.run(desk.store.register(new, Origin::system())).unwrap();
    assert!(desk.get("/registration", Some(&cookie)).text.contains("late@example.org"));
    let refuse = |by: &str| desk.post(&format!("/registration/pending/{user}/refuse"), Some(by), "");
    assert_eq!(refuse(&desk.fresh_session(AccountRole::Moderator)).status, 403);
    assert_eq!(refuse(&cookie).said.as_deref(), Some("registration-refused"));
    assert!(!desk.get("/registration", Some(&cookie)).text.contains("late@example.org"));
    let trail = desk.run(desk.store.audit_page(None, 20)).unwrap();
    let row = trail.iter().find(|row| row.event == "REGISTRATION_REFUSED").unwrap();
    assert!(row.actor.is_some(), "the trail says who");
    assert_eq!(refuse(&cookie).status, 404, "there is nobody any more");
}
