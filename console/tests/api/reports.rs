//! Reporting: what is taken, and what is refused with the field's name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schema_store::Moderation;
use schema_store::rows::moderation::{CaseFilter, Proof};
use schema_wire::UserId;
use serde_json::json;

use crate::support::Api;

#[test]
fn a_report_opens_a_case_once() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let body =
        json!({"user": bob.user, "reason": "SPAM", "comment": "again", "disclosed": STANDARD.encode("buy!")});
    let first = api.post("/api/v1/reports", Some(&alice), &body);
    assert_eq!(first.status, 201, "{}", first.text);
    let again = api.post("/api/v1/reports", Some(&alice), &body).ok();
    assert_eq!(first.json()["id"], again["id"], "sent twice, filed once");
    let queue = api.run(api.store.cases(CaseFilter::Open, None, 10)).unwrap();
    assert_eq!((queue.len(), queue[0].reports), (1, 1));
    let case = api.run(api.store.case(UserId::parse(&bob.user).unwrap())).unwrap();
    let report = &case.reports[0];
    assert_eq!((report.evidence.as_deref(), report.proof), (Some(b"buy!".as_slice()), Proof::Claimed));
    assert_eq!((report.comment.as_str(), report.reporter_name.as_str()), ("again", "alice"));
}

#[test]
fn what_is_wrong_is_named() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    let conversation = "01920000-0000-7000-8000-000000000000";
    let long = STANDARD.encode(vec![b'x'; 64 * 1024 + 1]);
    let bad = [
        json!({"user": "bob", "reason": "SPAM"}),
        json!({"user": alice.user, "reason": "SPAM"}),
        json!({"user": bob.user, "reason": "DISLIKE"}),
        json!({"user": bob.user, "reason": "SPAM", "comment": "x".repeat(2049)}),
        json!({"user": bob.user, "reason": "SPAM", "offset": 1}),
        json!({"user": bob.user, "reason": "SPAM", "disclosed": "%%%"}),
        json!({"user": bob.user, "reason": "SPAM", "opening": STANDARD.encode("short")}),
    ];
    for body in bad {
        api.post("/api/v1/reports", Some(&alice), &body).refused(422, "INVALID");
    }
    let large = json!({"user": bob.user, "reason": "SPAM", "disclosed": long});
    api.post("/api/v1/reports", Some(&alice), &large).refused(422, "INVALID");
    let foreign = json!({"user": bob.user, "reason": "SPAM", "conversation": conversation, "offset": 1});
    api.post("/api/v1/reports", Some(&alice), &foreign).refused(404, "NOT_FOUND");
    api.post("/api/v1/reports", None, &json!({})).refused(401, "TOKEN_MISSING");
    assert!(api.run(api.store.cases(CaseFilter::Open, None, 10)).unwrap().is_empty());
}
