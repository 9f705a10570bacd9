//! Who is a member when: cut at once, own intervals only.

use schema_store::accounts::Accounts;
use schema_wire::Refused;
use schema_wire::v1::{server_frame::Body, *};
use std::time::{Duration, Instant};
use wire_tests::session::publish;
use wire_tests::{After, Carrier, Session, World, scenarios};

scenarios!(
    a_removed_member_is_cut_within_a_second,
    a_rejoined_member_sees_own_intervals_only,
    a_muted_member_is_told_when_to_try_again,
    a_blocked_person_is_refused,
);

async fn a_removed_member_is_cut_within_a_second(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let mut removed = Session::open(&world, carrier, bob).await;
    removed.subscribe(group, After::Now).await;
    author.publish(group, "for both").await;
    assert_eq!(removed.deliveries(1).await, [(1, "for both".to_owned())]);
    world.store.remove_member(ada.user, group, bob.user).await.expect("an owner may");
    let since = Instant::now();
    match removed.next_of_log().await {
        Body::Unsubscribed(u) => assert_eq!(u.code, Refused::NotMember.code()),
        other => panic!("instead of Unsubscribed: {other:?}"),
    }
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    author.publish(group, "for one").await;
    assert_eq!(removed.refused(publish(group, "?")).await.0, Refused::NotMember);
    // Nothing came meanwhile: coming back, the next thing in the log is of the new stay.
    world.store.add_members(ada.user, group, vec![bob.user]).await.expect("an owner may");
    wire_tests::eventually("the new stay", async || {
        let again =
            Subscribe { conversation: group.to_bytes(), after: After::Now.position(), ..Default::default() };
        matches!(removed.ask(again).await, Body::Subscribed(_)).then_some(())
    })
    .await;
    author.publish(group, "for both again").await;
    assert_eq!(removed.deliveries(1).await, [(3, "for both again".to_owned())]);
}

async fn a_rejoined_member_sees_own_intervals_only(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    author.publish(group, "1 before").await;
    world.store.add_members(ada.user, group, vec![bob.user]).await.expect("an owner may");
    author.publish(group, "2 first stay").await;
    world.store.remove_member(ada.user, group, bob.user).await.expect("an owner may");
    author.publish(group, "3 away").await;
    author.publish(group, "4 away").await;
    world.store.add_members(ada.user, group, vec![bob.user]).await.expect("an owner may");
    author.publish(group, "5 second stay").await;
    let mut reader = Session::open(&world, carrier, bob).await;
    let subscribed = reader.subscribe(group, After::Start).await;
    assert_eq!((subscribed.first, subscribed.head), (2, 5));
    let mut seen = Vec::new();
    while seen.last() != Some(&(5, true)) {
        match reader.next_of_log().await {
            Body::Delivery(d) => seen.push((d.offset, true)),
            Body::Gone(gone) => {
                assert_eq!(gone.reason.as_known(), Some(GoneReason::NotMember));
                seen.extend((gone.from..=gone.to).map(|offset| (offset, false)));
            }
            other => panic!("{other:?}"),
        }
    }
    seen.retain(|(offset, _)| *offset > 1);
    assert_eq!(seen, [(2, true), (3, false), (4, false), (5, true)]);
    let recover = Recover { conversation: group.to_bytes(), from: 1, ..Default::default() };
    let Body::HistoryPage(page) = reader.ask(recover).await else { panic!("instead of a page") };
    let read = page.items.into_iter().filter_map(|item| match item.item? {
        history_item::Item::Delivery(d) => Some(d.offset),
        history_item::Item::Gone(_) => None,
    });
    assert!(read.eq([2, 5]));
}

async fn a_muted_member_is_told_when_to_try_again(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut muted = Session::open(&world, carrier, bob).await;
    muted.publish(group, "before").await;
    let until = wire_tests::people::now_ms() + 60_000;
    world.store.mute_member(ada.user, group, bob.user, Some(until)).await.expect("an owner may");
    let (code, refusal) = muted.refused(publish(group, "?")).await;
    assert_eq!(code, Refused::Muted);
    assert!((1..=60_000).contains(&refusal.retry_after_ms), "{refusal:?}");
    world.store.mute_member(ada.user, group, bob.user, None).await.expect("an owner may");
    wire_tests::eventually("the mute to end", async || {
        matches!(muted.ask(publish(group, "after")).await, Body::PublishAck(_)).then_some(())
    })
    .await;
}

async fn a_blocked_person_is_refused(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let (direct, _) = world.store.create_direct(ada.user, bob.user).await.expect("strangers may");
    let mut session = Session::open(&world, carrier, bob).await;
    session.publish(direct, "before").await;
    world.store.set_block(ada.user, bob.user, true).await.expect("anybody may");
    assert_eq!(session.refused(publish(direct, "?")).await.0, Refused::Blocked);
}
