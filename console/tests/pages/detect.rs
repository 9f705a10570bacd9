//! What is noticed without a report becomes a case by itself, and is blocked when it is far out of bounds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::device::NewSession;
use schema_store::rows::moderation::CaseFilter;
use schema_store::{Accounts, Moderation, NewToken, Operations, Store};
use schema_wire::record::{Append, UserStatus};
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};

use crate::support::Desk;

/// Longer than the pause between two looks, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn person(desk: &Desk, name: &str) -> (UserId, DeviceId) {
    let new = Registration {
        email: format!("{name}@example.org"),
        name: name.to_owned(),
        password_hash: "none".to_owned(),
        invite: None,
        activation: Activation::Immediate,
    };
    let user = desk.run(desk.store.register(new, Origin::system())).unwrap();
    let (_, refresh) = NewToken::generate(u64::MAX >> 12);
    let new = NewSession { user, device: None, device_name: "phone".to_owned(), refresh, rehash: None };
    (user, desk.run(desk.store.open_session(new, Origin::system())).unwrap().device)
}

fn publish(desk: &Desk, (sender, device): (UserId, DeviceId), conversation: ConversationId, count: u8) {
    let batch = (0..count).map(|n| Append {
        conversation,
        publish_key: PublishKey([n; 16]),
        sender,
        device,
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::from(vec![n; 8]),
        commitment: None,
    });
    desk.run(desk.store.append(batch.collect())).unwrap();
}

#[test]
fn a_flood_is_flagged_and_blocked() {
    let desk = Desk::start();
    let set = desk.store.change_setting("messages-tolerated", Some("60".into()), Origin::system());
    desk.run(set).unwrap();
    let (quick, flood) = (person(&desk, "quick"), person(&desk, "flood"));
    let (conversation, _) = desk.run(desk.store.create_direct(quick.0, flood.0)).unwrap();
    desk.run(desk.store.create_direct(flood.0, quick.0)).unwrap();
    publish(&desk, quick, conversation, 55);
    publish(&desk, flood, conversation, 70);
    let status = |user| desk.run(desk.store.profile(user)).unwrap().status;
    let began = Instant::now();
    while status(flood.0) == UserStatus::Active
        || desk.run(desk.store.cases(CaseFilter::Open, None, 9)).unwrap().len() < 2
    {
        assert!(began.elapsed() < SOON, "nobody noticed");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(matches!(status(flood.0), UserStatus::Suspended { until: Some(_) }), "for an hour, not for good");
    assert_eq!(status(quick.0), UserStatus::Active, "flagged only");
    let case = desk.run(desk.store.case(quick.0)).unwrap();
    let rules: Vec<&str> = case.flags.iter().map(|flag| flag.rule.as_str()).collect();
    assert!(rules.contains(&"RATE") && rules.contains(&"NEW_ACCOUNT"), "{rules:?}");
    assert!(case.flags.iter().any(|flag| flag.detail == "55 messages in one minute"), "{:?}", case.flags);
}
