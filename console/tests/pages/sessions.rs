//! What a session is worth: a new one at each step of signing in, until it is idle, old, ended, or of another role; and
//! how long whoever guesses has to wait.

use std::time::Duration;

use schema_store::ConsoleAccess;
use schema_store::rows::account::Origin;
use schema_store::rows::console::RoleChange;
use schema_store::rows::role::AccountRole;

use crate::support::{Desk, PASSWORD};

const MINUTE: Duration = Duration::from_secs(60);

fn signed_in(desk: &Desk, name: &str) -> String {
    let answer = desk.sign_in(name, PASSWORD);
    assert_eq!((answer.status, answer.location.as_deref()), (303, Some("/")), "{}", answer.text);
    answer.session.unwrap()
}

fn is_in(desk: &Desk, cookie: &str) -> bool {
    desk.get("/account", Some(cookie)).status == 200
}

#[test]
fn a_session_is_new_each_time_and_ends_on_the_server() {
    let desk = Desk::start();
    desk.person("mia", AccountRole::Moderator);
    let (one, other) = (signed_in(&desk, "mia"), signed_in(&desk, "mia"));
    assert_ne!(one, other);
    assert!(is_in(&desk, &one) && is_in(&desk, &other));
    assert_eq!(desk.post("/sign-out", Some(&one), "").status, 303);
    assert!(!is_in(&desk, &one), "the old cookie opens nothing");
    assert!(is_in(&desk, &other));
    let third = signed_in(&desk, "mia");
    assert_eq!(desk.post("/account/sessions/end-others", Some(&third), "").status, 303);
    assert!(!is_in(&desk, &other) && is_in(&desk, &third));
}

#[test]
fn a_session_ends_when_it_is_idle_and_when_it_is_old() {
    let desk = Desk::start();
    desk.person("mia", AccountRole::Moderator);
    let idle = signed_in(&desk, "mia");
    desk.forward(30 * MINUTE);
    assert!(!is_in(&desk, &idle), "half an hour idle");
    let used = signed_in(&desk, "mia");
    let mut hours = 0;
    while is_in(&desk, &used) {
        assert!(hours < 24, "it ends at last");
        hours += 1;
        for _ in 0..3 {
            desk.forward(20 * MINUTE);
            desk.get("/account", Some(&used));
        }
    }
    assert_eq!(hours, 12, "used all the time");
}

#[test]
fn another_role_takes_another_session() {
    let desk = Desk::start();
    let mia = desk.person("mia", AccountRole::Moderator);
    let cookie = signed_in(&desk, "mia");
    let change = RoleChange { user: mia, from: AccountRole::Moderator, to: AccountRole::Auditor };
    desk.run(desk.store.change_role(change, Origin::system())).unwrap();
    assert!(!is_in(&desk, &cookie));
    let again = signed_in(&desk, "mia");
    assert_eq!(desk.get("/audit", Some(&again)).status, 200, "with the new role");
    assert_ne!(again, cookie);
}

#[test]
fn guesses_wait_twice_as_long_each_time() {
    let desk = Desk::start();
    desk.person("mia", AccountRole::Moderator);
    for name in ["mia", "nobody"] {
        let guess = || desk.sign_in(name, "wrong wrong wrong");
        for _ in 0..4 {
            assert_eq!(guess().status, 422, "{name}");
        }
        assert_eq!(guess().status, 429, "{name}: whether there is such an account or not");
        assert_eq!(desk.sign_in(name, PASSWORD).status, 429, "{name}: the right one waits too");
        desk.forward(Duration::from_secs(31));
        assert_eq!(guess().status, 429, "{name}");
        desk.forward(Duration::from_secs(31));
        assert_eq!(guess().status, 429, "{name}: a minute this time");
        desk.forward(Duration::from_secs(30));
        if name == "mia" {
            signed_in(&desk, "mia");
            assert_eq!(guess().status, 422, "forgotten");
        }
    }
}
