//! The log of a conversation: dense offsets, retries, deletion, expiry, pages.

use std::collections::BTreeSet;

use schema_store::rows::conversation::ConversationChange;
use schema_store::{Accounts, Store};
use schema_wire::publication::kind;
use schema_wire::record::{Append, Appended, StoreReply, StoreRequest};
use schema_wire::{ConversationId, Offset, Refused};

use super::{Bed, message, offset, refused, sketch};

pub async fn offsets_are_dense_under_concurrent_appends<S: Store + Accounts>(bed: Bed<S>) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 25;
    let (alice, bob, conversation) = bed.pair().await;
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let store = bed.store.clone();
        let from = if writer % 2 == 0 { alice } else { bob };
        tasks.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            for n in 0..EACH {
                let batch = vec![message(from, conversation, writer * 1000 + n)];
                seen.push(offset(store.append(batch).await.unwrap()[0]));
            }
            assert!(seen.windows(2).all(|w| w[0] < w[1]), "one writer's appends stay in order");
            seen
        }));
    }
    let mut all = BTreeSet::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    assert_eq!(all, (1..=WRITERS * EACH).collect(), "every offset once");
}

pub async fn a_retry_gets_the_first_offset<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    let first = bed.publish(message(alice, conversation, 1)).await;
    let Appended::Stored { at, generation, .. } = first else { panic!("{first:?}") };
    bed.clock.forward(5_000);
    assert_eq!(offset(bed.publish(message(bob, conversation, 1)).await), 2, "keys belong to their sender");
    let again = bed.publish(Append { body: "other".into(), ..message(alice, conversation, 1) }).await;
    assert_eq!(again, Appended::Duplicate { generation, offset: Offset(1), at });
    let batch = vec![message(alice, conversation, 7), message(alice, conversation, 7)];
    let outcomes = bed.store.append(batch).await.unwrap();
    assert!(matches!(outcomes[1], Appended::Duplicate { offset: Offset(3), .. }), "also within one batch");
    let carol = bed.person("carol").await;
    let (elsewhere, _) = bed.store.create_direct(alice.user, carol.user).await.unwrap();
    assert_eq!(refused(bed.publish(message(alice, elsewhere, 1)).await), Refused::PublishKeyReused);
}

pub async fn one_refusal_does_not_spoil_the_batch<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, _, conversation) = bed.pair().await;
    let carol = bed.person("carol").await;
    let batch = vec![
        message(alice, conversation, 1),
        message(carol, conversation, 2),
        Append { expected_epoch: Some(9), ..message(alice, conversation, 3) },
        message(alice, ConversationId([9; 16]), 4),
        message(alice, conversation, 5),
    ];
    let outcomes = bed.store.append(batch).await.unwrap();
    assert_eq!((offset(outcomes[0]), offset(outcomes[4])), (1, 2));
    assert_eq!(refused(outcomes[1]), Refused::NotMember);
    assert_eq!(refused(outcomes[2]), Refused::EpochConflict);
    assert_eq!(refused(outcomes[3]), Refused::NotMember, "unknown looks like foreign");
    assert!(
        matches!(bed.publish(message(carol, conversation, 2)).await, Appended::Refused { .. }),
        "no key kept"
    );
}

pub async fn times_never_go_back<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, _, conversation) = bed.pair().await;
    bed.clock.forward(10_000);
    let at = |o| match o {
        Appended::Stored { at, .. } => at,
        other => panic!("{other:?}"),
    };
    let first = at(bed.publish(message(alice, conversation, 1)).await);
    bed.clock.0.fetch_sub(60_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(at(bed.publish(message(alice, conversation, 2)).await), first);
}

pub async fn delete_leaves_a_gap_that_says_so<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    for n in 1..=3 {
        bed.publish(message(alice, conversation, n)).await;
    }
    let delete = |from, n, target| Append {
        kind: kind::DELETE,
        relates_to: Some(Offset(target)),
        ..message(from, conversation, n)
    };
    assert_eq!(refused(bed.publish(delete(bob, 10, 2)).await), Refused::NotAllowed, "only the author");
    assert_eq!(refused(bed.publish(delete(alice, 11, 99)).await), Refused::NoSuchMessage);
    assert_eq!(offset(bed.publish(delete(alice, 12, 2)).await), 4);
    assert_eq!(refused(bed.publish(delete(alice, 13, 2)).await), Refused::NoSuchMessage, "already gone");
    assert_eq!(refused(bed.publish(delete(alice, 14, 4)).await), Refused::NoSuchMessage, "a delete stays");
    assert!(matches!(bed.publish(delete(alice, 12, 2)).await, Appended::Duplicate { offset: Offset(4), .. }));
    assert_eq!(sketch(&bed.page(bob.user, conversation, 1, false).await), "1 deleted(2) 3 4 -> 5");
    assert_eq!(sketch(&bed.page(bob.user, conversation, 0, true).await), "4 3 deleted(2) 1 -> 0");
    assert_eq!(sketch(&bed.page(bob.user, conversation, 2, true).await), "deleted(2) 1 -> 0");
}

pub async fn what_expires_is_gone<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    bed.publish(Append { expires_in: Some(5), ..message(alice, conversation, 1) }).await;
    bed.publish(Append { kind: kind::RING, ..message(alice, conversation, 2) }).await;
    bed.publish(message(alice, conversation, 3)).await;
    let ttl = ConversationChange { ttl: Some(Some(100)), ..Default::default() };
    bed.store.change_conversation(alice.user, conversation, ttl).await.unwrap();
    bed.publish(message(alice, conversation, 4)).await;
    let see = async |expected: &str| {
        assert_eq!(sketch(&bed.page(bob.user, conversation, 1, false).await), expected);
    };
    see("1 2 3 4 -> 5").await;
    bed.clock.forward(5_000);
    see("expired(1) 2 3 4 -> 5").await;
    bed.clock.forward(55_000);
    see("expired(1-2) 3 4 -> 5").await;
    bed.clock.forward(40_000);
    see("expired(1-2) 3 expired(4) -> 5").await;
}

pub async fn pages_are_dense_both_ways<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    for n in 1..=450 {
        bed.publish(message(alice, conversation, n)).await;
    }
    let (mut from, mut seen) = (1, 0);
    while from <= 450 {
        let page = bed.page(bob.user, conversation, from, false).await;
        assert_eq!(page.head, Offset(450));
        seen += page.entries.len();
        assert!(page.next.0 > from);
        from = page.next.0;
    }
    assert_eq!((seen, from), (450, 451));
    let page = bed.page(bob.user, conversation, from, false).await;
    assert_eq!(sketch(&page), "-> 451", "nothing yet");
    let (mut from, mut seen) = (450, 0);
    while from > 0 {
        let page = bed.page(bob.user, conversation, from, true).await;
        seen += page.entries.len();
        from = page.next.0;
    }
    assert_eq!(seen, 450);
    assert_eq!(sketch(&bed.page(bob.user, conversation, u64::MAX, false).await), format!("-> {}", u64::MAX));
}

pub async fn big_pages_end_early<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, _, conversation) = bed.pair().await;
    for n in 1..=40 {
        bed.publish(Append { body: vec![0; 64 * 1024].into(), ..message(alice, conversation, n) }).await;
    }
    let page = bed.page(alice.user, conversation, 1, false).await;
    assert_eq!((page.entries.len(), page.next), (16, Offset(17)), "one MiB of bodies");
    let page = bed.page(alice.user, conversation, 40, true).await;
    assert_eq!((page.entries.len(), page.next), (16, Offset(24)));
}

pub async fn a_home_shard_reads_without_membership<S: Store + Accounts>(bed: Bed<S>) {
    let (alice, _, conversation) = bed.pair().await;
    bed.publish(message(alice, conversation, 1)).await;
    let read = StoreRequest::Read { conversation, from: Offset(1), limit: 10 };
    let StoreReply::Read(page) = bed.store.ask(read).await else { panic!("another reply") };
    assert_eq!(sketch(&page), "1 -> 2");
    let conversations = vec![conversation, ConversationId([1; 16])];
    let reply = bed.store.ask(StoreRequest::Heads { conversations }).await;
    let StoreReply::Heads { heads, .. } = reply else { panic!("another reply") };
    assert_eq!(heads, [Offset(1), Offset(0)]);
}

pub async fn nothing_from_blocked_suspended_or_muted<S: Store + Accounts>(bed: Bed<S>) {
    use schema_store::rows::account::{Origin, StatusChange};
    let (alice, bob, conversation) = bed.pair().await;
    let say = async |n| bed.publish(message(alice, conversation, n)).await;
    bed.store.set_block(bob.user, alice.user, true).await.unwrap();
    assert_eq!(refused(say(1).await), Refused::Blocked);
    bed.store.set_block(bob.user, alice.user, false).await.unwrap();
    assert_eq!(offset(say(1).await), 1);
    let until = Some(bed.clock.now() + 1_000);
    let set = async |change| {
        bed.store.set_status(alice.user, change, "spam".to_owned(), Origin::system()).await.unwrap();
    };
    set(StatusChange::Suspend { until }).await;
    assert_eq!(refused(say(2).await), Refused::Suspended);
    bed.clock.forward(1_000);
    assert_eq!(offset(say(2).await), 2, "a suspension ends by itself");
    set(StatusChange::Ban).await;
    assert_eq!(refused(say(3).await), Refused::Banned);
    set(StatusChange::Reactivate).await;
    assert_eq!(offset(say(3).await), 3);
}
