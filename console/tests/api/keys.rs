//! Key bundles: opaque bytes, each one-time package handed out once.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schema_store::Accounts;
use serde_json::{Value, json};

use crate::me::direct;
use crate::support::Api;

fn bundle(packages: usize) -> Value {
    let packages: Vec<String> = (0..packages).map(|n| STANDARD.encode(format!("package {n}"))).collect();
    json!({"identity": STANDARD.encode("identity"), "packages": packages})
}

#[test]
fn each_package_is_handed_out_once_under_concurrent_claims() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    direct(&api, &alice, &bob);
    let left = api.put("/api/v1/keys", &alice, &bundle(40)).ok();
    assert_eq!(left, json!({"packages": 40, "has_identity": true, "has_last_resort": false}));
    let path = format!("/api/v1/users/{}/devices/{}/claim", alice.user, alice.device);
    let claimed: Vec<Option<String>> = std::thread::scope(|scope| {
        let claim = || {
            let own: Vec<Value> = (0..12).map(|_| api.post(&path, Some(&bob), &json!({})).ok()).collect();
            own
        };
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(claim)).collect();
        let all = workers.into_iter().flat_map(|worker| worker.join().unwrap());
        all.map(|body| body["package"].as_str().map(str::to_owned)).collect()
    });
    let given: Vec<&String> = claimed.iter().flatten().collect();
    let distinct: HashSet<&String> = given.iter().copied().collect();
    assert_eq!(
        (given.len(), distinct.len(), claimed.len()),
        (40, 40, 48),
        "48 asked, 40 got one, none twice"
    );
    assert_eq!(api.get("/api/v1/keys", Some(&alice)).ok()["packages"], 0);
}

#[test]
fn the_last_resort_package_remains() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    direct(&api, &alice, &bob);
    let body = json!({"identity": STANDARD.encode("identity"), "last_resort": STANDARD.encode("last")});
    api.put("/api/v1/keys", &alice, &body).ok();
    let path = format!("/api/v1/users/{}/devices/{}/claim", alice.user, alice.device);
    for _ in 0..2 {
        let claimed = api.post(&path, Some(&bob), &json!({})).ok();
        assert_eq!(
            (&claimed["package"], &claimed["last_resort"]),
            (&json!(STANDARD.encode("last")), &json!(true))
        );
    }
}

#[test]
fn identity_keys_are_for_those_who_share_a_conversation() {
    let api = Api::start();
    let (alice, bob, carol) = (api.user("alice"), api.user("bob"), api.user("carol"));
    direct(&api, &alice, &bob);
    api.put("/api/v1/keys", &alice, &bundle(1)).ok();
    let path = format!("/api/v1/users/{}/keys", alice.user);
    let seen = api.get(&path, Some(&bob)).ok();
    assert_eq!(seen["devices"][0]["device"], json!(alice.device));
    assert_eq!(seen["devices"][0]["identity"], json!(STANDARD.encode("identity")));
    api.get(&path, Some(&carol)).refused(404, "NOT_FOUND");
    let claim = format!("/api/v1/users/{}/devices/{}/claim", alice.user, alice.device);
    api.post(&claim, Some(&carol), &json!({})).refused(404, "NOT_FOUND");
}

#[test]
fn a_new_identity_key_is_written_to_the_audit_trail() {
    let api = Api::start();
    let alice = api.user("alice");
    api.put("/api/v1/keys", &alice, &bundle(3)).ok();
    let replaced = json!({"identity": STANDARD.encode("another identity")});
    assert_eq!(api.put("/api/v1/keys", &alice, &replaced).ok()["packages"], 0, "older packages are void");
    let trail = api.run(api.store.audit_page(None, 100)).unwrap();
    assert!(trail.iter().any(|row| row.event == "KEY_CHANGE"), "{trail:?}");
}

#[test]
fn unusable_keys_name_the_field() {
    let api = Api::start();
    let alice = api.user("alice");
    for body in [
        json!({"identity": "not base64!"}),
        json!({"identity": ""}),
        json!({"identity": STANDARD.encode(vec![0; 16 * 1024 + 1])}),
        bundle(201),
    ] {
        api.put("/api/v1/keys", &alice, &body).refused(422, "INVALID");
    }
}
