//! First contacts and invitations: what each side is shown, and what is refused.

use schema_store::Moderation;
use schema_store::rows::moderation::CaseFilter;
use serde_json::{Value, json};

use crate::support::{Answer, Api, Session};

fn begin(api: &Api, who: &Session, peer: &Session) -> Value {
    api.post("/api/v1/conversations", Some(who), &json!({"kind": "direct", "peer": peer.user})).ok()
}

fn answer(api: &Api, who: &Session, conversation: &Value, body: &Value) -> Answer {
    api.put(&format!("/api/v1/conversations/{}/request", conversation.as_str().unwrap()), who, body)
}

fn requests(api: &Api, who: &Session) -> Vec<Value> {
    let list = api.get("/api/v1/conversations", Some(who)).ok();
    list["conversations"].as_array().unwrap().iter().map(|c| c["request"].clone()).collect()
}

#[test]
fn a_first_contact_is_accepted_by_its_other_side() {
    let api = Api::start();
    let (alice, bob, eve) = (api.user("alice"), api.user("bob"), api.user("eve"));
    let made = begin(&api, &alice, &bob);
    assert_eq!(made["request"], "sent");
    assert_eq!(requests(&api, &bob), ["received"]);
    let accept = json!({"answer": "accept"});
    answer(&api, &alice, &made["id"], &accept).refused(403, "NOT_ALLOWED");
    answer(&api, &eve, &made["id"], &accept).refused(404, "NOT_FOUND");
    answer(&api, &bob, &made["id"], &json!({"answer": "perhaps"})).refused(400, "MALFORMED");
    let report = json!({"answer": "accept", "report": {"reason": "SPAM"}});
    answer(&api, &bob, &made["id"], &report).refused(422, "INVALID");
    answer(&api, &bob, &made["id"], &accept).ok();
    answer(&api, &bob, &made["id"], &accept).ok();
    answer(&api, &bob, &made["id"], &json!({"answer": "delete"})).refused(409, "OVERTAKEN");
    answer(&api, &bob, &made["id"], &json!({"answer": "block"})).refused(409, "OVERTAKEN");
    assert_eq!((requests(&api, &alice), requests(&api, &bob)), (vec![Value::Null], vec![Value::Null]));
}

#[test]
fn blocking_a_first_contact_can_report_it() {
    let api = Api::start();
    let (eve, bob) = (api.user("eve"), api.user("bob"));
    let made = begin(&api, &eve, &bob);
    let with =
        |reason: &str| json!({"answer": "block", "report": {"reason": reason, "comment": "a stranger"}});
    answer(&api, &bob, &made["id"], &with("DISLIKE")).refused(422, "INVALID");
    assert_eq!(api.get("/api/v1/me/blocks", Some(&bob)).ok()["users"], json!([]), "nothing half done");
    answer(&api, &bob, &made["id"], &with("SPAM")).ok();
    answer(&api, &bob, &made["id"], &with("SPAM")).ok();
    assert_eq!(api.get("/api/v1/me/blocks", Some(&bob)).ok()["users"], json!([eve.user]));
    assert!(requests(&api, &bob).is_empty());
    let queue = api.run(api.store.cases(CaseFilter::Open, None, 10)).unwrap();
    assert_eq!((queue.len(), queue[0].reports), (1, 1), "sent twice, filed once");
    answer(&api, &eve, &made["id"], &json!({"answer": "block"})).refused(403, "NOT_ALLOWED");
}

#[test]
fn a_group_waits_for_whose_setting_asks_first() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let set = |value: &str| api.put("/api/v1/me/settings/add_to_groups", &bob, &json!({"value": value}));
    set("friends").refused(422, "INVALID");
    set("nobody").ok();
    let body = json!({"kind": "group", "name": "Hiking"});
    let group =
        api.post("/api/v1/conversations", Some(&alice), &body).ok()["id"].as_str().unwrap().to_owned();
    let members = format!("/api/v1/conversations/{group}/members");
    let add = || api.post(&members, Some(&alice), &json!({"users": [bob.user]})).ok();
    assert_eq!(add(), json!({"added": [], "invited": [bob.user]}));
    let seen = api.get(&format!("/api/v1/conversations/{group}"), Some(&alice)).ok();
    assert_eq!(seen["detail"]["invited"], json!([bob.user]));
    let waiting = api.get("/api/v1/me/invitations", Some(&bob)).ok();
    let first = &waiting["invitations"][0];
    assert_eq!(
        (&first["conversation"], &first["name"], &first["by"]["name"], &first["member_count"]),
        (&json!(group), &json!("Hiking"), &json!("alice"), &json!(1))
    );
    let own = format!("/api/v1/me/invitations/{group}");
    api.put(&own, &alice, &json!({})).refused(404, "NOT_FOUND");
    api.delete(&own, &bob, None).ok();
    api.put(&own, &bob, &json!({})).refused(404, "NOT_FOUND");
    add();
    api.delete(&format!("{members}/{}", bob.user), &alice, None).ok();
    assert_eq!(api.get("/api/v1/me/invitations", Some(&bob)).ok()["invitations"], json!([]), "taken back");
    add();
    api.put(&own, &bob, &json!({})).ok();
    let seen = api.get(&format!("/api/v1/conversations/{group}"), Some(&bob)).ok();
    assert_eq!((&seen["member_count"], &seen["detail"]["invited"]), (&json!(2), &json!([])));
}
