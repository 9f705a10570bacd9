//! Registering in each mode, and what links in letters do.

use std::time::Duration;

use schema_store::Accounts;
use schema_store::rows::account::{NewInvite, Origin};
use schema_store::rows::role::AccountRole;
use schema_store::token::NewToken;
use serde_json::json;

use crate::support::{Answer, Api, BEGIN_MS, PASSWORD, email, token_in};

const HOUR: Duration = Duration::from_secs(3600);

fn register(api: &Api, name: &str, invite: Option<&str>) -> Answer {
    let body = json!({"email": email(name), "name": name, "password": PASSWORD, "invite": invite});
    api.post("/api/v1/auth/register", None, &body)
}

fn log_in(api: &Api, name: &str, password: &str) -> Answer {
    api.post("/api/v1/auth/login", None, &json!({"email": email(name), "password": password, "device": "x"}))
}

#[test]
fn registration_is_closed_by_default() {
    register(&Api::start(), "alice", None).refused(403, "REGISTRATION_CLOSED");
}

#[test]
fn an_invitation_lets_one_person_in() {
    let api = Api::with(&[("REGISTRATION", "invite")]);
    let (secret, token) = NewToken::generate(BEGIN_MS + 1000);
    let invite = NewInvite { token, email: None, role: AccountRole::User };
    api.run(api.store.create_invite(invite, Origin::system())).unwrap();
    register(&api, "alice", None).refused(403, "INVITE_INVALID");
    register(&api, "alice", Some("wrong")).refused(403, "INVITE_INVALID");
    assert_eq!(register(&api, "alice", Some(&secret)).ok()["next"], "active");
    log_in(&api, "alice", PASSWORD).ok();
    register(&api, "bob", Some(&secret)).refused(403, "INVITE_INVALID");
}

#[test]
fn open_registration_waits_for_the_letter() {
    let api = Api::with(&[("REGISTRATION", "open"), ("PUBLIC_URL", "https://chat.example.org")]);
    assert_eq!(register(&api, "alice", None).ok()["next"], "verify_mail");
    log_in(&api, "alice", PASSWORD).refused(403, "ACCOUNT_PENDING");
    let letter = api.letter(1, "alice");
    assert!(letter.contains("https://chat.example.org/verify-mail?token="), "{letter}");
    let confirm = |token: &str| api.post("/api/v1/auth/verify-mail", None, &json!({"token": token}));
    confirm("wrong").refused(400, "LINK_INVALID");
    confirm(&token_in(&letter)).ok();
    log_in(&api, "alice", PASSWORD).ok();
    confirm(&token_in(&letter)).refused(400, "LINK_INVALID");
    // Registering again neither changes the password nor says so, except by letter.
    let body = json!({"email": email("alice"), "name": "x", "password": "another password"});
    api.post("/api/v1/auth/register", None, &body).ok();
    assert!(api.letter(2, "alice").contains("account already"));
    log_in(&api, "alice", PASSWORD).ok();
}

#[test]
fn a_lost_verification_letter_is_replaced() {
    let api = Api::with(&[("REGISTRATION", "open")]);
    register(&api, "alice", None).ok();
    let first = token_in(&api.letter(1, "alice"));
    register(&api, "alice", None).ok();
    let second = token_in(&api.letter(2, "alice"));
    let confirm = |token: &str| api.post("/api/v1/auth/verify-mail", None, &json!({"token": token}));
    confirm(&first).refused(400, "LINK_INVALID");
    confirm(&second).ok();
}

#[test]
fn the_demo_may_register_without_letters() {
    let api = Api::with_demo(&[("REGISTRATION", "open"), ("REGISTRATION_VERIFY", "none")], true);
    assert_eq!(register(&api, "alice", None).ok()["next"], "active");
    log_in(&api, "alice", PASSWORD).ok();
    register(&api, "alice", None).refused(409, "EMAIL_TAKEN");
}

#[test]
fn unusable_registrations_name_the_field() {
    let api = Api::with(&[("REGISTRATION", "approval")]);
    let try_with = |email: &str, name: &str, password: &str| {
        api.post("/api/v1/auth/register", None, &json!({"email": email, "name": name, "password": password}))
    };
    try_with("no address", "a", PASSWORD).refused(422, "INVALID");
    try_with("a@b.example", "", PASSWORD).refused(422, "INVALID");
    try_with("a@b.example", "a", "short").refused(422, "WEAK_PASSWORD");
    try_with("long.enough@b.example", "a", "long.enough@b.example").refused(422, "WEAK_PASSWORD");
    assert_eq!(try_with("a@b.example", "a", PASSWORD).ok()["next"], "approval");
}

#[test]
fn a_reset_link_works_once_within_an_hour() {
    let api = Api::start();
    let alice = api.user("alice");
    let ask = || api.post("/api/v1/auth/password-reset", None, &json!({"email": email("alice")})).ok();
    let set = |token: &str, password: &str| {
        let body = json!({"token": token, "password": password});
        api.post("/api/v1/auth/password-reset/confirm", None, &body)
    };
    ask();
    let first = token_in(&api.letter(1, "alice"));
    api.advance(HOUR + Duration::from_millis(1));
    set(&first, "a brand new one").refused(400, "LINK_INVALID");
    ask();
    let second = token_in(&api.letter(2, "alice"));
    api.advance(HOUR - Duration::from_secs(1));
    set(&second, "weak").refused(422, "WEAK_PASSWORD");
    set(&second, "a brand new one").ok();
    set(&second, "yet another new one").refused(400, "LINK_INVALID");
    log_in(&api, "alice", PASSWORD).refused(401, "LOGIN_FAILED");
    log_in(&api, "alice", "a brand new one").ok();
    let body = json!({"refresh_token": alice.refresh});
    assert_eq!(api.post("/api/v1/auth/refresh", None, &body).status, 401, "every device was logged out");
}

#[test]
fn a_newer_reset_link_replaces_the_older() {
    let api = Api::start();
    api.account("alice");
    for _ in 0..2 {
        api.post("/api/v1/auth/password-reset", None, &json!({"email": email("alice")})).ok();
    }
    api.letter(2, "alice");
    let first = std::fs::read_to_string(api.data.join("mail/000001.eml")).unwrap();
    let first = token_in(&first.replace("=\r\n", "").replace("=3D", "="));
    let body = json!({"token": first, "password": "a brand new one"});
    api.post("/api/v1/auth/password-reset/confirm", None, &body).refused(400, "LINK_INVALID");
}

#[test]
fn pages_behind_links_change_nothing_until_the_button() {
    let api = Api::start();
    api.account("alice");
    api.post("/api/v1/auth/password-reset", None, &json!({"email": email("alice")})).ok();
    let token = token_in(&api.letter(1, "alice"));
    for _ in 0..3 {
        let page = api.get(&format!("/reset-password?token={token}"), None);
        assert_eq!(page.status, 200);
        assert!(
            page.text.contains("<form")
                && page.headers["content-security-policy"].to_str().unwrap().contains("form-action 'self'")
        );
    }
    let hostile = api.get("/verify-mail?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", None);
    assert!(!hostile.text.contains("<script>"), "{}", hostile.text);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let send = |body: String| api.send("POST", "/reset-password", None, Some(body), &form);
    let weak = send(format!("token={token}&password=weak"));
    assert_eq!(weak.status, 422);
    // The link is still in the page: nothing has to be begun again.
    assert!(weak.text.contains(&token) && weak.text.contains("aria-invalid"), "{}", weak.text);
    let headers = [form[0], ("accept-language", "fr-FR")];
    let body = Some(format!("token={token}&password=weak"));
    let weak = api.send("POST", "/reset-password", None, body, &headers);
    assert!(weak.text.contains("Choisissez 10 à 256"), "{}", weak.text);
    let twice = ["/reset-password", "/verify-mail", "/appeal"].map(|path| format!("{path}?token=1&token=2"));
    for bad in twice.iter().map(String::as_str).chain(["/appeal?token=1"]) {
        let page = api.get(bad, None);
        assert!(page.status == 400 && page.text.contains("leads nowhere"), "{bad}: {page:?}");
    }
    assert_eq!(send(format!("token={token}&password=a+brand+new+one")).status, 200);
    assert_eq!(send(format!("token={token}&password=a+brand+new+two")).status, 400);
    log_in(&api, "alice", "a brand new one").ok();
}
