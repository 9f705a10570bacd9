//! Appeals: by the link of the letter, which needs no signing in, and by whoever is signed in.

use std::time::Duration;

use schema_store::moderation::UNDO_MS;
use schema_store::rows::account::Origin;
use schema_store::rows::moderation::{DecisionId, Measure, NewDecision};
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, Moderation};
use schema_wire::UserId;
use serde_json::json;

use crate::support::{Answer, Api, token_in};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn moderator(api: &Api, name: &str) -> UserId {
    let email = format!("{name}@staff.example");
    api.run(api.store.create_admin(email, name.into(), "none".into(), AccountRole::Moderator)).unwrap()
}

fn by(user: UserId) -> Origin {
    Origin { actor: Some(user), ..Origin::system() }
}

/// Decides, and lets the time to undo pass.
fn decide(api: &Api, subject: UserId, moderator: UserId, measure: Measure) -> DecisionId {
    let new = NewDecision {
        subject,
        moderator,
        acts_as: None,
        measures: vec![measure],
        days: 7,
        with_address: false,
        reason: "spam".into(),
        notice: Some("Please <stop>.".into()),
    };
    let made = api.run(api.store.decide(new, by(moderator))).unwrap();
    api.advance(Duration::from_millis(UNDO_MS));
    made.id
}

fn fill(api: &Api, token: &str, text: &str) -> Answer {
    api.send("POST", "/appeal", None, Some(format!("token={token}&text={text}")), &[FORM])
}

#[test]
fn whoever_is_suspended_answers_by_the_link_of_the_letter() {
    let api = Api::start();
    let (mia, tom, bob) = (moderator(&api, "mia"), moderator(&api, "tom"), api.account("bob"));
    let decision = decide(&api, bob, mia, Measure::Suspend);
    let token = token_in(&api.letter(1, "bob"));
    let path = format!("/appeal?token={token}");
    let french = api.send("GET", &path, None, None, &[("accept-language", "fr")]);
    assert_eq!(french.status, 200);
    for part in ["lang=\"fr\"", "Please &lt;stop&gt;.", "Pourquoi n’êtes-vous pas d’accord"] {
        assert!(french.text.contains(part), "{part}: {}", french.text);
    }
    let other = if token.ends_with('0') { "1" } else { "0" };
    let wrong = api.get(&format!("/appeal?token={}{other}", &token[..token.len() - 1]), None);
    assert!(wrong.status == 400 && wrong.text.contains("leads nowhere"), "{} {}", wrong.status, wrong.text);
    for bad in ["", "%07", &"x".repeat(2049)] {
        let answer = fill(&api, &token, bad);
        assert!(answer.status == 422 && answer.text.contains("aria-invalid"), "{}", answer.status);
    }
    let kept = fill(&api, &token, "half+a%07+sentence").text;
    assert!(kept.contains("half a\u{7} sentence</textarea>"), "what was typed is kept");
    for _ in 0..2 {
        let sent = fill(&api, &token, "It+was+a+%22joke%22.");
        assert!(sent.status == 200 && sent.text.contains("It was sent"), "{} {}", sent.status, sent.text);
        assert!(sent.text.contains("It was a &quot;joke&quot;."), "{}", sent.text);
    }
    assert_eq!(api.run(api.store.case(bob)).unwrap().row.appeals, 1, "sent twice, filed once");
    api.run(api.store.answer_appeal(decision, false, "It was none.".into(), by(tom))).unwrap();
    let told = api.letter(2, "bob");
    for part in ["the decision stands.", "est maintenue.", "It was none."] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("token="), "{told}");
    let read = api.get(&path, None).text;
    assert!(read.contains("the decision stands") && read.contains("It was none."), "{read}");
}

#[test]
fn whoever_is_signed_in_reads_decisions_and_appeals() {
    let api = Api::start();
    let (mia, alice, bob) = (moderator(&api, "mia"), api.user("alice"), api.user("bob"));
    decide(&api, UserId::parse(&bob.user).unwrap(), mia, Measure::Warn);
    api.letter(1, "bob");
    let decisions = || api.get("/api/v1/me/decisions", Some(&bob)).ok();
    let told = decisions();
    let one = &told["decisions"][0];
    assert_eq!((&one["measures"], &one["state"]), (&json!(["WARN"]), &json!("DONE")));
    assert_eq!((&one["notice"], &one["appeal"]), (&json!("Please <stop>."), &json!(null)));
    assert!(!told.to_string().contains(&mia.to_string()), "nobody learns who decided");
    let path = format!("/api/v1/me/decisions/{}/appeal", one["id"].as_str().unwrap());
    let appeal = |who, text: &str| api.post(&path, Some(who), &json!({"text": text}));
    appeal(&alice, "not mine").refused(404, "NOT_FOUND");
    for bad in [" ", "a\u{202e}b", &"x".repeat(2049)] {
        appeal(&bob, bad).refused(422, "INVALID");
    }
    appeal(&bob, "first line\nsecond line").ok();
    appeal(&bob, "again").refused(409, "OVERTAKEN");
    let told = decisions();
    let kept = &told["decisions"][0]["appeal"];
    assert_eq!((&kept["state"], &kept["text"]), (&json!("OPEN"), &json!("first line\nsecond line")));
    assert!(api.get("/api/v1/me/decisions", Some(&alice)).ok()["decisions"].as_array().unwrap().is_empty());
}
