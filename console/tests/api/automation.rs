//! Administration by programs: the calls of the operators' guide, as it prints them.

use schema_store::rows::account::Origin;
use schema_store::rows::console::NewSecurityKey;
use schema_store::rows::moderation::{CaseState, NewReport};
use schema_store::rows::role::AccountRole;
use schema_store::rows::service::NewServiceToken;
use schema_store::{Accounts, ConsoleAccess, Moderation, NewToken, Services};
use schema_wire::UserId;
use serde_json::{Value, json};

use crate::support::{Answer, Api, email};

/// A token of this role, made by an administrator.
fn token(api: &Api, name: &str, role: AccountRole) -> String {
    let staff = format!("{name}@staff.example");
    let ada = api.run(api.store.create_admin(staff, name.into(), "none".into(), AccountRole::Admin)).unwrap();
    let (secret, token) = NewToken::generate(u64::MAX >> 12);
    let by = Origin { actor: Some(ada), ..Origin::system() };
    api.run(api.store.create_service_token(NewServiceToken { token, name: name.into(), role }, by)).unwrap();
    secret
}

/// As a command line sends it: JSON that says it is a form.
fn post(api: &Api, path: &str, token: &str, body: &Value) -> Answer {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    api.send("POST", path, Some(token), Some(body.to_string()), &form)
}

#[test]
fn the_calls_of_the_guide_work_as_printed() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let (alice, subject) = (UserId::parse(&alice.user).unwrap(), UserId::parse(&bob.user).unwrap());
    let admin = token(&api, "ada", AccountRole::Admin);
    let found =
        api.send("GET", &format!("/admin/users/search?q={}", email("bob")), Some(&admin), None, &[]).ok();
    assert_eq!((&found["users"][0]["id"], found["users"].as_array().unwrap().len()), (&json!(bob.user), 1));
    let link = post(&api, "/admin/users/reset-password", &admin, &json!({"email": email("bob")})).ok();
    let link = link["link"].as_str().unwrap();
    assert!(link.contains("/reset-password?token="), "{link}");
    let warned = json!({"user_id": bob.user, "reason": "Violation of ToS section 3.2"});
    assert_eq!(post(&api, "/admin/users/warn", &admin, &warned).ok()["state"], "PENDING");
    let report = NewReport {
        reporter: alice,
        subject,
        message: None,
        reason: "SPAM".into(),
        comment: String::new(),
        evidence: None,
        opening: None,
    };
    let by = Origin { actor: Some(alice), ..Origin::system() };
    let report = UserId(api.run(api.store.file_report(report, by)).unwrap().0);
    let path = format!("/admin/reports/{report}/resolve");
    let decided = json!({
        "action": "TEMPORARY_SUSPENSION",
        "duration_days": 7,
        "reason": "Spam messages violating ToS",
        "notify_user": true
    });
    let made = post(&api, &path, &admin, &decided).ok();
    assert!(made["due_at"].as_u64().is_some() && made["state"] == "PENDING", "{made}");
    let case = api.run(api.store.case(subject)).unwrap();
    assert_eq!(case.row.state, CaseState::Decided);
    assert!(case.decisions[0].notice.as_deref().unwrap().starts_with("Spam messages violating ToS"));
    post(&api, &path, &admin, &decided).refused(409, "OVERTAKEN");
    let wrong = json!({"action": "JAIL", "reason": "x"});
    post(&api, &path, &admin, &wrong).refused(422, "INVALID");
    let nothing = format!("/admin/reports/{}/resolve", UserId([1; 16]));
    post(&api, &nothing, &admin, &decided).refused(404, "NOT_FOUND");
    let trail = api.run(api.store.audit_page(None, 50)).unwrap();
    let made = trail.iter().find(|row| row.event == "DECISION_MADE").unwrap();
    assert_eq!(made.user_agent.as_deref(), Some("service token ada"), "the trail says which program it was");
}

#[test]
fn a_token_does_what_its_role_may() {
    let api = Api::start();
    let bob = api.user("bob");
    let (auditor, moderator) =
        (token(&api, "otto", AccountRole::Auditor), token(&api, "mia", AccountRole::Moderator));
    let sre = token(&api, "sue", AccountRole::Sre);
    let warned = json!({"user_id": bob.user, "reason": "stop"});
    post(&api, "/admin/users/warn", &auditor, &warned).refused(403, "ROLE_MISSING");
    post(&api, "/admin/users/reset-password", &moderator, &json!({"email": email("bob")}))
        .refused(403, "ROLE_MISSING");
    api.send("GET", "/admin/users/search?q=bob", Some(&sre), None, &[]).refused(403, "ROLE_MISSING");
    api.send("GET", "/admin/users/search?q=bob", Some(&auditor), None, &[]).ok();
    post(&api, "/admin/users/warn", &moderator, &warned).ok();
    api.send("GET", "/admin/users/search?q=bob", Some(&"0".repeat(64)), None, &[])
        .refused(401, "TOKEN_INVALID");
}

#[test]
fn the_calls_for_programs_are_where_they_were_asked_to_be_and_nowhere_else() {
    for (set, shared, own) in
        [(None, 401, None), (Some("127.0.0.1:0"), 404, Some(401)), (Some("none"), 404, None)]
    {
        let set: Vec<_> = set.map(|to| ("ADMIN_API_ADDRESS", to)).into_iter().collect();
        let mut api = Api::with(&set);
        let path = "/admin/users/search?q=bob";
        assert_eq!(api.get(path, None).status, shared, "{set:?}");
        assert_eq!(api.admin.is_some(), own.is_some(), "{set:?}");
        if let (Some(at), Some(status)) = (api.admin, own) {
            api.url = format!("http://{at}");
            assert_eq!(api.get(path, None).status, status, "{set:?}");
            assert_eq!(api.get("/api/v1/me", None).status, 404, "it has nothing but them");
            let admin = token(&api, "ada", AccountRole::Admin);
            api.send("GET", path, Some(&admin), None, &[]).ok();
        }
    }
}

#[test]
fn a_token_acts_on_staff_with_its_own_role_only() {
    let api = Api::start();
    let staff = |name: &str, role| {
        let email = format!("{name}@staff.example");
        api.run(api.store.create_admin(email, name.into(), "none".into(), role)).unwrap()
    };
    let (eve, tom) = (staff("eve", AccountRole::Admin), staff("tom", AccountRole::Moderator));
    let (moderator, admin) =
        (token(&api, "mia", AccountRole::Moderator), token(&api, "ada", AccountRole::Admin));
    let reporter = UserId::parse(&api.user("alice").user).unwrap();
    for subject in [eve, tom] {
        let report = NewReport {
            reporter,
            subject,
            message: None,
            reason: "SPAM".into(),
            comment: String::new(),
            evidence: None,
            opening: None,
        };
        let report = UserId(api.run(api.store.file_report(report, Origin::system())).unwrap().0);
        let warned = json!({"user_id": subject.to_string(), "reason": "stop"});
        let resolved = json!({"action": "PERMANENT_BAN", "reason": "stop"});
        let resolve = format!("/admin/reports/{report}/resolve");
        post(&api, "/admin/users/warn", &moderator, &warned).refused(403, "NOT_ALLOWED");
        post(&api, &resolve, &moderator, &resolved).refused(403, "NOT_ALLOWED");
        post(&api, &resolve, &admin, &resolved).ok();
    }
}

#[test]
fn a_link_that_lets_staff_in_is_shown_to_nobody_else() {
    let api = Api::start();
    let admin = token(&api, "ada", AccountRole::Admin);
    let make = api.store.create_admin(email("mia"), "mia".into(), "none".into(), AccountRole::Moderator);
    let mia = api.run(make).unwrap();
    let reset = || post(&api, "/admin/users/reset-password", &admin, &json!({"email": email("mia")}));
    reset().refused(403, "NOT_ALLOWED");
    let key = NewSecurityKey {
        name: "blue".into(),
        credential: vec![1; 32],
        public_key: vec![9; 77],
        sign_count: 0,
        backup_eligible: false,
    };
    api.run(api.store.add_security_key(mia, key, Origin::system())).unwrap();
    assert!(reset().ok()["link"].is_string(), "the key is asked for as well");
}
