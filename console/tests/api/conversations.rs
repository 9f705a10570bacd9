//! Conversations, members and pages of history.

use serde_json::{Value, json};

use crate::me::{direct, publish};
use crate::support::{Api, Session};

fn group(api: &Api, owner: &Session, members: &[&Session]) -> String {
    let ids: Vec<&str> = members.iter().map(|member| member.user.as_str()).collect();
    let body = json!({"kind": "group", "name": "Hiking", "members": ids});
    let answer = api.post("/api/v1/conversations", Some(owner), &body);
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.ok()["id"].as_str().unwrap().to_owned()
}

fn path(conversation: &str, rest: &str) -> String {
    format!("/api/v1/conversations/{conversation}{rest}")
}

#[test]
fn a_direct_conversation_exists_once() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let body = |peer: &Session| json!({"kind": "direct", "peer": peer.user});
    let first = api.post("/api/v1/conversations", Some(&alice), &body(&bob));
    assert_eq!(first.status, 201);
    let second = api.post("/api/v1/conversations", Some(&bob), &body(&alice));
    assert_eq!(second.status, 200);
    let (first, second) = (first.ok(), second.ok());
    assert_eq!(first["id"], second["id"]);
    assert_eq!((&first["kind"], &first["peer"]["name"]), (&json!("direct"), &json!("bob")));
    api.post("/api/v1/conversations", Some(&alice), &body(&alice)).refused(422, "INVALID");
    let nobody = json!({"kind": "direct", "peer": "00000000-0000-7000-8000-000000000000"});
    api.post("/api/v1/conversations", Some(&alice), &nobody).refused(404, "NOT_FOUND");
}

#[test]
fn a_group_is_run_by_its_owner_and_admins() {
    let api = Api::start();
    let (alice, bob, carol) = (api.user("alice"), api.user("bob"), api.user("carol"));
    let id = group(&api, &alice, &[&bob]);
    let read = api.get(&path(&id, ""), Some(&bob)).ok();
    assert_eq!(
        (&read["name"], &read["role"], &read["member_count"]),
        (&json!("Hiking"), &json!("member"), &json!(2))
    );
    assert_eq!(read["detail"]["history"], "since_join");
    api.get(&path(&id, ""), Some(&carol)).refused(404, "NOT_FOUND");
    api.patch(&path(&id, ""), &bob, &json!({"name": "x"})).refused(403, "NOT_ALLOWED");
    let add = json!({"users": [carol.user]});
    api.post(&path(&id, "/members"), Some(&bob), &add).refused(403, "NOT_ALLOWED");
    let role = |who: &Session, role: &str| {
        api.put(&path(&id, &format!("/members/{}/role", who.user)), &alice, &json!({"role": role}))
    };
    role(&bob, "admin").ok();
    assert_eq!(
        api.patch(&path(&id, ""), &bob, &json!({"name": "Climbing", "ttl": 3600})).ok()["name"],
        "Climbing"
    );
    let changed = api.patch(&path(&id, ""), &bob, &json!({"ttl": null, "epoch": 1})).ok();
    assert_eq!((&changed["detail"]["ttl"], &changed["detail"]["epoch"]), (&Value::Null, &json!(1)));
    assert_eq!(
        api.post(&path(&id, "/members"), Some(&bob), &add).ok()["added"][0]["user"],
        json!(carol.user)
    );
    let members = api.get(&path(&id, "/members"), Some(&carol)).ok();
    assert_eq!(members["members"].as_array().unwrap().len(), 3);
    api.put(
        &path(&id, &format!("/members/{}/mute", carol.user)),
        &bob,
        &json!({"until": 1_900_000_000_000_u64}),
    )
    .ok();
    api.delete(&path(&id, &format!("/members/{}", alice.user)), &bob, None).refused(403, "NOT_ALLOWED");
    api.delete(&path(&id, &format!("/members/{}", carol.user)), &bob, None).ok();
    api.get(&path(&id, ""), Some(&carol)).refused(404, "NOT_FOUND");
}

#[test]
fn the_last_owner_hands_over_before_leaving() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let id = group(&api, &alice, &[&bob]);
    api.post(&path(&id, "/leave"), Some(&alice), &json!({})).refused(409, "LAST_OWNER");
    api.put(&path(&id, &format!("/members/{}/role", bob.user)), &alice, &json!({"role": "owner"})).ok();
    api.post(&path(&id, "/leave"), Some(&alice), &json!({})).ok();
    assert_eq!(api.get("/api/v1/conversations", Some(&alice)).ok()["conversations"], json!([]));
}

#[test]
fn the_list_pages_by_recency() {
    let api = Api::start();
    let alice = api.user("alice");
    let ids: Vec<String> = (0..5)
        .map(|_| {
            api.advance(std::time::Duration::from_secs(1));
            group(&api, &alice, &[])
        })
        .collect();
    let mut seen = Vec::new();
    let mut place = String::new();
    loop {
        let page = api.get(&format!("/api/v1/conversations?limit=2{place}"), Some(&alice)).ok();
        seen.extend(
            page["conversations"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => place = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids.into_iter().rev().collect::<Vec<_>>());
    api.get("/api/v1/conversations?before=nonsense", Some(&alice)).refused(422, "INVALID");
    api.get("/api/v1/conversations?colour=red", Some(&alice)).refused(400, "MALFORMED");
}

#[test]
fn history_pages_are_dense_in_both_directions_and_for_members_only() {
    let api = Api::start();
    let (alice, bob, carol) = (api.user("alice"), api.user("bob"), api.user("carol"));
    let id = direct(&api, &alice, &bob);
    for n in 1..=7 {
        assert_eq!(publish(&api, &alice, &id, &format!("message {n}")), n);
    }
    let page = |query: &str, who: &Session| api.get(&path(&id, &format!("/messages{query}")), Some(who));
    let offsets = |page: &Value| -> Vec<u64> {
        let entries = page["entries"].as_array().unwrap().iter();
        entries.map(|entry| entry["message"]["offset"].as_u64().unwrap()).collect()
    };
    let first = page("?limit=3", &bob).ok();
    assert_eq!((offsets(&first), &first["next"], &first["head"]), (vec![1, 2, 3], &json!(4), &json!(7)));
    assert_eq!(first["entries"][0]["message"]["body"], "bWVzc2FnZSAx");
    assert_eq!(offsets(&page("?from=4", &bob).ok()), [4, 5, 6, 7]);
    let newest = page("?backwards=true&limit=3", &bob).ok();
    assert_eq!((offsets(&newest), &newest["next"]), (vec![7, 6, 5], &json!(4)));
    page("", &carol).refused(404, "NOT_FOUND");
    page("?from=-1", &bob).refused(400, "MALFORMED");
    page("?from=18446744073709551615", &bob).refused(422, "INVALID");
    let list = api.get("/api/v1/conversations", Some(&bob)).ok();
    assert_eq!(
        (&list["conversations"][0]["unread"], &list["conversations"][0]["last"]["offset"]),
        (&json!(7), &json!(7))
    );
}

#[test]
fn unusable_conversations_name_the_field() {
    let api = Api::start();
    let alice = api.user("alice");
    let begin = |body: Value| api.post("/api/v1/conversations", Some(&alice), &body);
    begin(json!({"kind": "group", "name": ""})).refused(422, "INVALID");
    begin(json!({"kind": "group", "name": "x", "ttl": 0})).refused(422, "INVALID");
    begin(json!({"kind": "group", "name": "x", "members": ["nobody"]})).refused(422, "INVALID");
    begin(json!({"kind": "channel", "name": "x"})).refused(400, "MALFORMED");
    begin(json!({"kind": "group", "name": "x", "colour": "red"})).refused(400, "MALFORMED");
    let many = vec!["00000000-0000-7000-8000-000000000000"; 10_000];
    begin(json!({"kind": "group", "name": "x", "members": many})).refused(422, "INVALID");
}
