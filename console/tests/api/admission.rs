//! Invitations and approvals, from the administrator's first click to the new user's first login.

use schema_store::rows::account::Origin;
use schema_store::rows::console::RoleChange;
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, ConsoleAccess};
use schema_wire::UserId;
use serde_json::json;

use crate::support::{Answer, Api, PASSWORD, Session, email, shared_key};

fn administrator(api: &Api) -> Session {
    let session = api.user("root");
    let user = UserId::parse(&session.user).unwrap();
    let change = RoleChange { user, from: AccountRole::User, to: AccountRole::Admin };
    api.run(api.store.change_role(change, Origin::system())).unwrap();
    session
}

fn register(api: &Api, name: &str, invite: Option<&str>) -> Answer {
    let body = json!({"email": email(name), "name": name, "password": PASSWORD, "invite": invite});
    api.post("/api/v1/auth/register", None, &body)
}

#[test]
fn an_invitation_is_made_listed_used_and_revoked() {
    let api = Api::with(&[("REGISTRATION", "invite")]);
    let root = administrator(&api);
    let invite = |body| api.post("/api/v1/invites", Some(&root), &body);
    let first = invite(json!({"email": email("alice")})).ok();
    let second = invite(json!({"valid_for": 60})).ok();
    let secret = first["invite"].as_str();
    register(&api, "mallory", secret).refused(403, "INVITE_INVALID");
    register(&api, "alice", secret).ok();
    api.log_in("alice");
    let listed = api.get("/api/v1/invites", Some(&root)).ok();
    assert_eq!(listed["invites"].as_array().unwrap().len(), 2);
    assert!(!listed.to_string().contains(secret.unwrap()), "the secret is shown once");
    api.delete(&format!("/api/v1/invites/{}", second["id"].as_str().unwrap()), &root, None).ok();
    register(&api, "bob", second["invite"].as_str()).refused(403, "INVITE_INVALID");
    let late = invite(json!({"valid_for": 60})).ok();
    api.advance(std::time::Duration::from_secs(61));
    register(&api, "bob", late["invite"].as_str()).refused(403, "INVITE_INVALID");
    invite(json!({"valid_for": 0})).refused(422, "INVALID");
    invite(json!({"email": "nobody"})).refused(422, "INVALID");
}

#[test]
fn a_waiting_account_is_approved() {
    let api = Api::with(&[("REGISTRATION", "approval")]);
    let root = administrator(&api);
    register(&api, "alice", None).ok();
    let waiting = api.get("/api/v1/registrations", Some(&root)).ok();
    let row = &waiting["registrations"][0];
    assert_eq!(row["email"], email("alice"));
    let path = format!("/api/v1/registrations/{}/approve", row["user"].as_str().unwrap());
    api.post(&path, Some(&root), &json!({})).ok();
    api.log_in("alice");
    assert_eq!(api.get("/api/v1/registrations", Some(&root)).ok(), json!({"registrations": []}));
    let path = path.replace("/approve", "/refuse");
    api.post(&path, Some(&root), &json!({})).refused(409, "OVERTAKEN");
    api.log_in("alice");
}

#[test]
fn a_waiting_account_is_refused_and_may_come_again() {
    let api = Api::with(&[("REGISTRATION", "approval")]);
    let root = administrator(&api);
    register(&api, "alice", None).ok();
    let waiting = api.get("/api/v1/registrations", Some(&root)).ok();
    let path = format!("/api/v1/registrations/{}/", waiting["registrations"][0]["user"].as_str().unwrap());
    let refuse = || api.post(&format!("{path}refuse"), Some(&root), &json!({}));
    refuse().ok();
    refuse().refused(404, "NOT_FOUND");
    api.post(&format!("{path}approve"), Some(&root), &json!({})).refused(404, "NOT_FOUND");
    register(&api, "alice", None).ok();
    let again = api.get("/api/v1/registrations", Some(&root)).ok();
    assert_eq!(again["registrations"][0]["email"], email("alice"));
}

#[test]
fn which_key_signs_is_in_the_audit_trail_once() {
    let mut api = Api::start();
    let kid = serde_json::from_str::<serde_json::Value>(&api.jwks).unwrap()["keys"][0]["kid"].clone();
    let entries = |api: &Api| {
        let trail = api.run(api.store.audit_page(None, 100)).unwrap();
        trail
            .into_iter()
            .filter(|row| row.event == "SIGNING_KEY_IN_USE")
            .map(|row| row.detail)
            .collect::<Vec<_>>()
    };
    let first = entries(&api);
    assert_eq!(first, [format!("access tokens are signed with key {}", kid.as_str().unwrap())]);
    api.stop();
    let mut config = console::ConsoleConfig::embedded(&api.data);
    config.address = ([127, 0, 0, 1], 0).into();
    config.signing.source = console::access::signing::SigningSource::File(shared_key());
    let again = |config| api.run(console::serve(config, api.store.clone(), async {})).unwrap();
    again(config.clone());
    assert_eq!(entries(&api), first, "the same key says nothing new");
    config.signing.source = console::access::signing::SigningSource::Folder(api.data.join("keys"));
    again(config);
    assert_eq!(entries(&api).len(), 2);
}
