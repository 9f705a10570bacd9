//! User streams, cursors, the change log, attaching.

use std::net::IpAddr;

use schema_store::rows::account::{Origin, StatusChange};
use schema_store::{Accounts, ChangePosition, Store};
use schema_wire::record::{Attachment, Change, StoreReply, StoreRequest, UserStatus};
use schema_wire::v1::user_event::Event;
use schema_wire::{DeviceId, Network, Offset, Position, UserId};

use super::{Bed, Person, Sweeps, changes_since, events, message, now_position};

async fn attach<S: Store + Accounts>(bed: &Bed<S>, p: Person, address: Option<IpAddr>) -> Attachment {
    let request = StoreRequest::Attach { user: p.user, device: p.device, address };
    match bed.store.ask(request).await {
        StoreReply::Attach(attachment) => attachment,
        other => panic!("{other:?}"),
    }
}

pub async fn cursors_only_move_forward<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    for n in 1..=3 {
        bed.publish(message(bob, conversation, n)).await;
    }
    let carol = bed.person("carol").await;
    let to = async |p: Person, offset| {
        let (user, device, offset) = (p.user, p.device, Offset(offset));
        match bed.store.ask(StoreRequest::MoveCursor { user, device, conversation, offset }).await {
            StoreReply::MoveCursor { moved, members_version } => (moved, members_version),
            other => panic!("{other:?}"),
        }
    };
    let head = events(&bed, alice.user, Position::default()).await.head;
    let version = Some(bed.standing(alice.user, conversation, None).await.unwrap().members_version);
    assert_eq!(to(alice, 2).await, (true, version));
    assert_eq!(to(alice, 2).await, (false, version));
    assert_eq!(to(alice, 1).await, (false, version), "never back");
    assert_eq!(to(alice, 4).await, (false, version), "not beyond the head");
    assert_eq!(to(carol, 1).await, (false, None));
    let page = events(&bed, alice.user, Position { offset: head, ..Position::default() }).await;
    assert_eq!(page.events.len(), 1, "only the move is told");
    assert!(matches!(page.events[0].event.as_ref().unwrap(), Event::CursorMoved(e) if e.offset == 2));
    assert_eq!(bed.standing(alice.user, conversation, None).await.unwrap().cursor, Offset(2));
}

pub async fn a_stream_is_paged<S: Store + Accounts>(bed: Bed<S>) {
    let alice = bed.person("alice").await;
    for n in 0..300 {
        bed.store.set_setting(alice.user, "theme".to_owned(), n.to_string()).await.unwrap();
    }
    let (mut after, mut seen) = (Position::default(), 0);
    loop {
        let page = events(&bed, alice.user, after).await;
        let Some(last) = page.events.last() else { break };
        assert_eq!(page.rewound, None);
        seen += page.events.len();
        after = Position { generation: page.generation, offset: Offset(last.offset) };
    }
    assert_eq!(seen as u64, attach(&bed, alice, None).await.user_head.0);
    let beyond = Position { offset: Offset(seen as u64 + 5), ..after };
    assert_eq!(events(&bed, alice.user, beyond).await.rewound, Some(Offset(seen as u64)));
}

pub async fn changes_come_in_order_and_once<S: Store + Accounts>(bed: Bed<S>) {
    let alice = bed.person("alice").await;
    let (none, mut at) = bed.store.changes(ChangePosition::default(), 100).await.unwrap();
    assert!(none.is_empty(), "from now on");
    let until = Some(bed.clock.now() + 60_000);
    for change in [StatusChange::Suspend { until }, StatusChange::Reactivate, StatusChange::Ban] {
        bed.store.set_status(alice.user, change, String::new(), Origin::system()).await.unwrap();
    }
    let address: IpAddr = "203.0.113.9".parse().unwrap();
    let network = address.into();
    bed.store.set_address_ban(network, true, "spam".to_owned(), Origin::system()).await.unwrap();
    let status = |status| Change::UserStatus { user: alice.user, status };
    let expected = [
        status(UserStatus::Suspended { until }),
        status(UserStatus::Active),
        status(UserStatus::Banned),
        Change::AddressBanned { network },
    ];
    let mut seen = Vec::new();
    loop {
        let (page, next) = bed.store.changes(at, 3).await.unwrap();
        at = next;
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 3);
        seen.extend(page);
    }
    assert_eq!(seen, expected);
}

pub async fn who_reads_the_changes_too_late_is_told_so<S: Store + Accounts + Sweeps>(bed: Bed<S>) {
    const MINUTE_MS: u64 = 60_000;
    let alice = bed.person("alice").await;
    let status = async |change| {
        bed.store.set_status(alice.user, change, String::new(), Origin::system()).await.unwrap();
    };
    let at = now_position(&bed).await;
    status(StatusChange::Suspend { until: None }).await;
    bed.clock.forward(30 * MINUTE_MS);
    let told = Change::UserStatus { user: alice.user, status: UserStatus::Suspended { until: None } };
    assert_eq!(changes_since(&bed, at.clone()).await, [told], "it is still there");
    // A reader that had begun on it has read a part.
    status(StatusChange::Reactivate).await;
    let begun = bed.store.changes(at.clone(), 1).await.unwrap().1;
    status(StatusChange::Suspend { until: None }).await;
    bed.clock.forward(61 * MINUTE_MS);
    bed.store.sweep_all(bed.clock.now()).await;
    for late in [at, begun] {
        let (seen, next) = bed.store.changes(late, 100).await.unwrap();
        assert_eq!(seen, [Change::Missed], "it is gone");
        status(StatusChange::Ban).await;
        let banned = Change::UserStatus { user: alice.user, status: UserStatus::Banned };
        let (seen, next) = bed.store.changes(next, 100).await.unwrap();
        assert_eq!(seen, [banned], "from there on nothing is missing");
        assert!(changes_since(&bed, next).await.is_empty());
        status(StatusChange::Reactivate).await;
    }
}

pub async fn attaching_knows_what_matters<S: Store + Accounts>(bed: Bed<S>) {
    let alice = bed.person("alice").await;
    let ok = attach(&bed, alice, None).await;
    assert_eq!((ok.status, ok.device_active, ok.address_banned), (UserStatus::Active, true, false));
    let unknown = attach(&bed, Person { device: DeviceId([1; 16]), ..alice }, None).await;
    assert!(!unknown.device_active);
    let nobody = attach(&bed, Person { user: UserId([1; 16]), ..alice }, None).await;
    assert_eq!((nobody.status, nobody.device_active), (UserStatus::Deleted, false));
    let bob = bed.person("bob").await;
    assert!(
        !attach(&bed, Person { device: bob.device, ..alice }, None).await.device_active,
        "somebody else's"
    );
    let banned: IpAddr = "203.0.113.9".parse().unwrap();
    bed.store.set_address_ban(banned.into(), true, String::new(), Origin::system()).await.unwrap();
    let mapped: IpAddr = "::ffff:203.0.113.9".parse().unwrap();
    assert!(attach(&bed, alice, Some(mapped)).await.address_banned, "also when mapped into IPv6");
    bed.store.set_address_ban(banned.into(), false, String::new(), Origin::system()).await.unwrap();
    assert!(!attach(&bed, alice, Some(banned)).await.address_banned);
    let block = Network::parse("203.0.0.0/16").unwrap();
    bed.store.set_address_ban(block, true, "a provider".into(), Origin::system()).await.unwrap();
    assert!(attach(&bed, alice, Some(mapped)).await.address_banned, "in a banned block");
    let outside = Some("203.1.113.9".parse().unwrap());
    assert!(!attach(&bed, alice, outside).await.address_banned);
    assert_eq!(bed.store.banned().await.unwrap(), [block]);
    bed.store.set_address_ban(block, false, String::new(), Origin::system()).await.unwrap();
    assert!(bed.store.banned().await.unwrap().is_empty());
    bed.clock.forward(5_000);
    bed.store.revoke_sessions(alice.user, None, Origin::system()).await.unwrap();
    let out = attach(&bed, alice, None).await;
    assert_eq!((out.device_active, out.tokens_not_before), (false, bed.clock.now() / 1000));
}

pub async fn acquaintances_share_a_conversation<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, _) = bed.pair().await;
    let carol = bed.person("carol").await;
    let request = StoreRequest::Acquaintances { user: alice.user, others: vec![carol.user, bob.user] };
    assert_eq!(bed.store.ask(request).await, StoreReply::Acquaintances(vec![bob.user]));
}

pub async fn live_sessions_hear_of_members_and_devices<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob) = (bed.person("alice").await, bed.person("bob").await);
    let at = now_position(&bed).await;
    let (conversation, _) = bed.store.create_direct(alice.user, bob.user).await.unwrap();
    bed.store.revoke_device(bob.user, bob.device, Origin::system()).await.unwrap();
    let seen = changes_since(&bed, at).await;
    assert!(seen.contains(&Change::Members { conversation, version: 1 }));
    assert!(seen.contains(&Change::DeviceRevoked { user: bob.user, device: bob.device }));
    let head = attach(&bed, alice, None).await.user_head;
    assert!(seen.contains(&Change::UserEvents { user: alice.user, head }));
}

pub async fn it_says_that_it_is_ready<S: Store + Accounts>(bed: Bed<S>) {
    assert_eq!(bed.store.check().await, Ok(()));
}
