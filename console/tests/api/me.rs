//! One's own account: profile, password, settings, blocks, export, deletion.

use schema_store::{Accounts, Store};
use schema_wire::record::{Append, Appended};
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};
use serde_json::{Value, json};

use crate::support::{Api, PASSWORD, Session, email};

/// Stores one message as the relay would.
pub fn publish(api: &Api, from: &Session, conversation: &str, body: &str) -> u64 {
    let mut key = [0u8; 16];
    getrandom::fill(&mut key).unwrap();
    let append = Append {
        conversation: ConversationId::parse(conversation).unwrap(),
        publish_key: PublishKey(key),
        sender: UserId::parse(&from.user).unwrap(),
        device: DeviceId::parse(&from.device).unwrap(),
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: body.as_bytes().to_vec().into(),
        commitment: None,
    };
    match api.run(api.store.append(vec![append])).unwrap()[0] {
        Appended::Stored { offset, .. } => offset.0,
        other => panic!("not stored: {other:?}"),
    }
}

/// A direct conversation of the two, which both asked for.
pub fn direct(api: &Api, one: &Session, other: &Session) -> String {
    let body = json!({"kind": "direct", "peer": other.user});
    let id = api.post("/api/v1/conversations", Some(one), &body).ok()["id"].as_str().unwrap().to_owned();
    let body = json!({"kind": "direct", "peer": one.user});
    assert_eq!(api.post("/api/v1/conversations", Some(other), &body).ok()["id"], id);
    id
}

#[test]
fn a_profile_is_read_and_changed() {
    let api = Api::start();
    let alice = api.user("alice");
    let me = api.get("/api/v1/me", Some(&alice)).ok();
    assert_eq!((&me["id"], &me["name"], &me["role"]), (&json!(alice.user), &json!("alice"), &json!("USER")));
    let changed = api.patch("/api/v1/me", &alice, &json!({"name": " Alice L. ", "about": "hiking"})).ok();
    assert_eq!((&changed["name"], &changed["about"]), (&json!("Alice L."), &json!("hiking")));
    let kept = api.patch("/api/v1/me", &alice, &json!({"about": ""})).ok();
    assert_eq!((&kept["name"], &kept["about"]), (&json!("Alice L."), &json!("")));
    api.patch("/api/v1/me", &alice, &json!({"name": ""})).refused(422, "INVALID");
    api.patch("/api/v1/me", &alice, &json!({"about": "x".repeat(513)})).refused(422, "INVALID");
    api.patch("/api/v1/me", &alice, &json!({"role": "ADMIN"})).refused(400, "MALFORMED");
}

#[test]
fn a_new_password_logs_the_other_devices_out() {
    let api = Api::start();
    let (alice, other) = (api.user("alice"), api.log_in("alice"));
    let change = |old: &str, new: &str| {
        api.put("/api/v1/me/password", &alice, &json!({"current_password": old, "new_password": new}))
    };
    change("wrong password", "a brand new one").refused(403, "PASSWORD_WRONG");
    change(PASSWORD, "weak").refused(422, "WEAK_PASSWORD");
    change(PASSWORD, &email("alice")).refused(422, "WEAK_PASSWORD");
    change(PASSWORD, "a brand new one").ok();
    api.get("/api/v1/me", Some(&alice)).ok();
    api.get("/api/v1/me", Some(&other)).refused(401, "TOKEN_INVALID");
    let body = json!({"email": email("alice"), "password": "a brand new one", "device": "x"});
    api.post("/api/v1/auth/login", None, &body).ok();
}

#[test]
fn settings_are_set_and_removed() {
    let api = Api::start();
    let alice = api.user("alice");
    api.put("/api/v1/me/settings/typing", &alice, &json!({"value": "off"})).ok();
    api.put("/api/v1/me/settings/theme", &alice, &json!({"value": "dark"})).ok();
    assert_eq!(
        api.get("/api/v1/me/settings", Some(&alice)).ok()["settings"],
        json!({"theme": "dark", "typing": "off"})
    );
    api.delete("/api/v1/me/settings/theme", &alice, None).ok();
    assert_eq!(api.get("/api/v1/me/settings", Some(&alice)).ok()["settings"], json!({"typing": "off"}));
    api.put("/api/v1/me/settings/theme", &alice, &json!({"value": ""})).refused(422, "INVALID");
    api.put("/api/v1/me/settings/theme", &alice, &json!({"value": "x".repeat(4097)})).refused(422, "INVALID");
}

#[test]
fn people_are_found_blocked_and_unblocked() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let find = |name: &str| api.post("/api/v1/users/find", Some(&alice), &json!({"email": email(name)}));
    assert_eq!(find("bob").ok(), json!({"id": bob.user, "name": "bob"}));
    find("nobody").refused(404, "NOT_FOUND");
    api.put(&format!("/api/v1/me/blocks/{}", bob.user), &alice, &json!({})).ok();
    assert_eq!(api.get("/api/v1/me/blocks", Some(&alice)).ok(), json!({"users": [bob.user]}));
    let body = json!({"kind": "direct", "peer": alice.user});
    api.post("/api/v1/conversations", Some(&bob), &body).refused(403, "BLOCKED");
    api.put(&format!("/api/v1/me/blocks/{}", alice.user), &alice, &json!({})).refused(422, "INVALID");
    api.delete(&format!("/api/v1/me/blocks/{}", bob.user), &alice, None).ok();
    assert_eq!(api.get("/api/v1/me/blocks", Some(&alice)).ok(), json!({"users": []}));
    direct(&api, &bob, &alice);
}

fn section<'a>(export: &'a Value, name: &str) -> Vec<&'a Value> {
    let sections = export["sections"].as_array().unwrap().iter();
    sections.filter(|s| s["name"] == name).flat_map(|s| s["records"].as_array().unwrap()).collect()
}

#[test]
fn an_export_holds_everything_and_nothing_of_others() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let conversation = direct(&api, &alice, &bob);
    for n in 0..450 {
        publish(&api, &alice, &conversation, &format!("ciphertext {n}"));
    }
    publish(&api, &bob, &conversation, "bobs ciphertext");
    api.put("/api/v1/me/settings/theme", &alice, &json!({"value": "dark"})).ok();
    api.put(&format!("/api/v1/me/blocks/{}", bob.user), &alice, &json!({})).ok();
    let answer = api.post("/api/v1/me/data-export", Some(&alice), &json!({}));
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"data-export.json\"");
    let text = answer.text.clone();
    let export = answer.ok();
    assert_eq!(export["complete"], true);
    for name in ["profile", "devices", "conversations", "messages", "blocks", "settings", "audit"] {
        assert!(!section(&export, name).is_empty(), "{name} is missing: {}", &text[..text.len().min(3000)]);
    }
    assert_eq!(section(&export, "messages").len(), 450, "across several pages, own ones only");
    assert!(text.contains(&email("alice")) && !text.contains(&email("bob")));
    let secret = "Ym9icyBjaXBoZXJ0ZXh0"; // "bobs ciphertext"
    assert!(!text.contains(secret));
    assert!(!text.contains("$argon2id$"), "no password hash");
}

#[test]
fn deletion_leaves_tombstones_and_no_way_back() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let conversation = direct(&api, &alice, &bob);
    publish(&api, &alice, &conversation, "from alice");
    publish(&api, &bob, &conversation, "from bob");
    api.delete("/api/v1/me", &alice, Some(&json!({"password": "wrong password"})))
        .refused(403, "PASSWORD_WRONG");
    let erased = api.delete("/api/v1/me", &alice, Some(&json!({"password": PASSWORD}))).ok();
    assert_eq!(erased["messages"], 1);
    assert_eq!(api.get("/api/v1/me", Some(&alice)).status, 401);
    assert_eq!(api.post("/api/v1/auth/refresh", None, &json!({"refresh_token": alice.refresh})).status, 401);
    let body = json!({"email": email("alice"), "password": PASSWORD, "device": "x"});
    api.post("/api/v1/auth/login", None, &body).refused(401, "LOGIN_FAILED");
    api.post("/api/v1/users/find", Some(&bob), &json!({"email": email("alice")})).refused(404, "NOT_FOUND");
    let page = api.get(&format!("/api/v1/conversations/{conversation}/messages"), Some(&bob)).ok();
    assert_eq!(page["entries"][0]["gone"], json!({"from": 1, "to": 1, "reason": "erased"}), "{page}");
    assert_eq!(page["entries"][1]["message"]["sender"], json!(bob.user));
    assert_eq!(page["head"], 2);
}

#[test]
fn the_last_administrator_makes_another_one_before_deleting_the_account() {
    use schema_store::rows::role::AccountRole::Admin;
    let api = Api::start();
    let make = |name: &str| {
        let hash = console::access::password::hash_password(PASSWORD).unwrap();
        api.run(api.store.create_admin(email(name), name.to_owned(), hash, Admin)).unwrap();
        api.log_in(name)
    };
    let ada = make("ada");
    let delete = |who| api.delete("/api/v1/me", who, Some(&json!({"password": PASSWORD})));
    delete(&ada).refused(409, "LAST_ADMINISTRATOR");
    assert_eq!(api.get("/api/v1/me", Some(&ada)).ok()["name"], "ada", "everything is as before");
    make("eve");
    delete(&ada).ok();
}

#[test]
fn suspended_and_banned_accounts_are_told_so() {
    use schema_store::rows::account::{Origin, StatusChange};
    let api = Api::start();
    let alice = api.user("alice");
    let user = UserId::parse(&alice.user).unwrap();
    let set = |change| api.run(api.store.set_status(user, change, "test".into(), Origin::system())).unwrap();
    let body = json!({"email": email("alice"), "password": PASSWORD, "device": "x"});
    set(StatusChange::Suspend { until: None });
    api.get("/api/v1/me", Some(&alice)).refused(403, "ACCOUNT_SUSPENDED");
    api.post("/api/v1/auth/login", None, &body).refused(403, "ACCOUNT_SUSPENDED");
    set(StatusChange::Ban);
    api.post("/api/v1/auth/login", None, &body).refused(403, "ACCOUNT_BANNED");
    set(StatusChange::Reactivate);
    api.post("/api/v1/auth/login", None, &body).ok();
}
