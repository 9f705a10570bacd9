//! A conversation's log: publishing, offsets, delivery, retries, subscribing at a position, pages, what is gone.

use bytes::Bytes;
use schema_wire::publication::kind;
use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{ConversationId, Refused};
use wire_tests::session::publish;
use wire_tests::{After, Carrier, Session, World, scenarios};

scenarios!(
    an_acked_message_reaches_every_device_but_the_publishing_one,
    offsets_are_dense_and_the_same_for_everybody,
    a_retry_gets_the_first_offset_also_after_a_kill,
    subscriptions_begin_where_they_are_told,
    hello_resumes_conversations,
    pages_are_dense_in_both_directions,
    deleting_for_everyone_follows_the_rules,
    expired_messages_are_gone,
    a_ring_is_kept_for_a_minute,
    strangers_can_not_tell_what_exists,
    bodies_over_the_limit_are_refused,
    an_epoch_that_moved_on_refuses,
    far_behind_is_told_to_page,
);

async fn an_acked_message_reaches_every_device_but_the_publishing_one(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let (ada_phone, bob_phone) = (world.device(ada.user).await, world.device(bob.user).await);
    let group = world.group(ada, &[bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    author.subscribe(group, After::Start).await;
    let mut readers = Vec::new();
    for (login, over) in [(ada_phone, Carrier::Quic), (bob, Carrier::WebSocket), (bob_phone, Carrier::Json)] {
        let mut reader = Session::open(&world, over, login).await;
        reader.subscribe(group, After::Start).await;
        readers.push(reader);
    }
    let sent =
        Publish { kind: 16, relates_to: Some(1), notify: Notify::Urgent.into(), ..publish(group, "hello") };
    let ack = author.publish_as(sent.clone()).await;
    assert_eq!((ack.offset, ack.generation, ack.duplicate), (1, 1, false));
    assert_eq!((&ack.conversation, &ack.publish_key), (&group.to_bytes(), &sent.publish_key));
    for reader in &mut readers {
        let d = reader.delivery().await;
        assert_eq!((d.offset, d.generation, d.kind, d.relates_to, d.at), (1, 1, 16, Some(1), ack.at));
        assert_eq!((&d.sender, &d.device), (&ada.user.to_bytes(), &ada.device.to_bytes()));
        assert_eq!((&d.body, &d.publish_key), (&sent.body, &sent.publish_key));
        assert_eq!((d.expires_at, d.stamp), (None, None));
    }
    // The author's own message is not delivered to it: the next thing is the answer.
    readers[1].publish(group, "answer").await;
    assert_eq!(author.deliveries(1).await, [(2, "answer".to_owned())]);
}

async fn offsets_are_dense_and_the_same_for_everybody(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob, eve) = (world.person("ada").await, world.person("bob").await, world.person("eve").await);
    let group = world.group(ada, &[bob, eve]).await;
    let mut writers = [Session::open(&world, carrier, ada).await, Session::open(&world, carrier, bob).await];
    let mut reader = Session::open(&world, carrier, eve).await;
    reader.subscribe(group, After::Now).await;
    let mut requests = Vec::new();
    for round in 0..20 {
        for (who, writer) in writers.iter_mut().enumerate() {
            requests.push((
                who,
                writer.send(publish(group, &format!("{who}:{round}"))).await,
                format!("{who}:{round}"),
            ));
        }
    }
    let mut expected = Vec::new();
    for (who, request, text) in requests {
        match writers[who].answer(request).await {
            Body::PublishAck(ack) => expected.push((ack.offset, text)),
            other => panic!("instead of an ack: {other:?}"),
        }
    }
    for who in ["0", "1"] {
        let own: Vec<u64> = expected.iter().filter(|(_, t)| t.starts_with(who)).map(|(o, _)| *o).collect();
        assert!(own.is_sorted(), "stored in the order they were sent: {own:?}");
    }
    expected.sort();
    assert!(expected.iter().map(|(offset, _)| *offset).eq(1..=40));
    assert_eq!(reader.deliveries(40).await, expected);
    let mut late = Session::resume(&world, carrier, world.device(eve.user).await, None, &[(group, 0)]).await;
    assert_eq!(late.deliveries(40).await, expected);
}

async fn a_retry_gets_the_first_offset_also_after_a_kill(carrier: Carrier) {
    let mut world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let (group, other) = (world.group(ada, &[bob]).await, world.group(ada, &[]).await);
    let first = publish(group, "once");
    let mut author = Session::open(&world, carrier, ada).await;
    let ack = author.publish_as(first.clone()).await;
    author.publish(group, "later").await;
    let again = author.publish_as(first.clone()).await;
    assert_eq!((again.offset, again.at, again.duplicate), (ack.offset, ack.at, true));
    let elsewhere = Publish { conversation: other.to_bytes(), ..first.clone() };
    assert_eq!(author.refused(elsewhere).await.0, Refused::PublishKeyReused);
    world.server.kill_and_restart();
    drop(author);
    let mut author = Session::open(&world, carrier, ada).await;
    let again = author.publish_as(first).await;
    assert_eq!((again.offset, again.at, again.duplicate), (ack.offset, ack.at, true));
    assert_eq!(author.publish(group, "after").await.offset, 3);
    let mut reader = Session::resume(&world, carrier, bob, None, &[(group, 0)]).await;
    let texts: Vec<String> = reader.deliveries(3).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["once", "later", "after"]);
}

async fn subscriptions_begin_where_they_are_told(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    for number in 1..=5 {
        author.publish(group, &number.to_string()).await;
    }
    let mut reader = Session::open(&world, carrier, bob).await;
    for after in [After::Start, After::Offset(3), After::Offset(7), After::Now] {
        let subscribed = reader.subscribe(group, after).await;
        let newest = author.publish(group, "newest").await.offset;
        assert_eq!((subscribed.head, subscribed.first, subscribed.generation), (newest - 1, 1, 1));
        let begin = match after {
            After::Start => 1,
            After::Offset(offset) => offset + 1,
            After::Now => newest,
        };
        for offset in begin..=newest {
            assert_eq!(reader.delivery().await.offset, offset, "{after:?}");
        }
        let unsubscribe = Unsubscribe { conversation: group.to_bytes(), ..Default::default() };
        assert!(matches!(reader.ask(unsubscribe).await, Body::Unsubscribed(u) if u.code == 0));
        // Were this delivered in spite of that, the next subscription's first delivery would not fit.
        author.publish(group, "unseen").await;
    }
}

async fn hello_resumes_conversations(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let groups = [world.group(ada, &[bob]).await, world.group(ada, &[bob]).await];
    let stranger = world.group(ada, &[]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let mut reader = Session::open(&world, carrier, bob).await;
    for group in groups {
        reader.subscribe(group, After::Start).await;
        author.publish(group, "before").await;
    }
    reader.deliveries(2).await;
    drop(reader);
    for group in groups {
        author.publish(group, "meanwhile").await;
    }
    let resume = [(groups[0], 1), (stranger, 0), (groups[1], 1)];
    let mut reader = Session::resume(&world, carrier, bob, None, &resume).await;
    // Answers come in order, over QUIC each on its own stream; the stranger's one is refused.
    let mut answers = Vec::new();
    let mut delivered = Vec::new();
    while answers.len() < 3 || delivered.len() < 2 {
        match reader.next().await {
            Body::Subscribed(s) => answers.push((s.conversation, s.head)),
            Body::Refusal(r) => {
                assert_eq!(r.code, Refused::NotMember.code());
                answers.push((r.conversation, 0));
            }
            Body::Delivery(d) => delivered.push((d.conversation, d.offset)),
            Body::UserEvent(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let mut answered = [(groups[0].to_bytes(), 2), (stranger.to_bytes(), 0), (groups[1].to_bytes(), 2)];
    if carrier == Carrier::Quic {
        answers.sort();
        answered.sort();
    }
    assert_eq!(answers, answered);
    delivered.sort();
    let mut expected = groups.map(|g| (g.to_bytes(), 2));
    expected.sort();
    assert_eq!(delivered, expected);
}

async fn pages_are_dense_in_both_directions(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let group = world.group(ada, &[]).await;
    let mut session = Session::open(&world, carrier, ada).await;
    for number in 1..=7 {
        session.publish(group, &number.to_string()).await;
    }
    assert_eq!(page(&mut session, group, 1, 3, false).await, (vec![1, 2, 3], 4));
    assert_eq!(page(&mut session, group, 4, 3, false).await, (vec![4, 5, 6], 7));
    assert_eq!(page(&mut session, group, 7, 3, false).await, (vec![7], 0));
    assert_eq!(page(&mut session, group, 7, 3, true).await, (vec![7, 6, 5], 4));
    assert_eq!(page(&mut session, group, 4, 200, true).await, (vec![4, 3, 2, 1], 0));
    assert_eq!(page(&mut session, group, 1, 0, false).await, ((1..=7).collect(), 0));
    assert_eq!(page(&mut session, group, 8, 3, false).await, (vec![], 0));
}

/// Offsets of a page without holes, and where the next begins.
async fn page(
    session: &mut Session,
    group: ConversationId,
    from: u64,
    limit: u32,
    backwards: bool,
) -> (Vec<u64>, u64) {
    let recover = Recover { conversation: group.to_bytes(), from, limit, backwards, ..Default::default() };
    let Body::HistoryPage(page) = session.ask(recover).await else { panic!("instead of a page") };
    assert_eq!((page.head, &page.conversation), (7, &group.to_bytes()));
    let offset = |item: HistoryItem| match item.item {
        Some(history_item::Item::Delivery(d)) => d.offset,
        other => panic!("instead of a message: {other:?}"),
    };
    (page.items.into_iter().map(offset).collect(), page.next)
}

async fn deleting_for_everyone_follows_the_rules(carrier: Carrier) {
    let world = World::start().await;
    let (owner, ada, bob) =
        (world.person("owner").await, world.person("ada").await, world.person("bob").await);
    let group = world.group(owner, &[ada, bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let mut other = Session::open(&world, carrier, bob).await;
    let mut moderator = Session::open(&world, carrier, owner).await;
    other.subscribe(group, After::Start).await;
    for text in ["one", "two", "three"] {
        author.publish(group, text).await;
    }
    let delete = |offset| Publish {
        kind: kind::DELETE,
        relates_to: Some(offset),
        body: Bytes::new(),
        ..publish(group, "")
    };
    assert_eq!(other.refused(delete(1)).await.0, Refused::NotAllowed);
    assert_eq!(author.refused(delete(9)).await.0, Refused::NoSuchMessage);
    assert_eq!(author.publish_as(delete(1)).await.offset, 4);
    assert_eq!(author.refused(delete(1)).await.0, Refused::NoSuchMessage);
    assert_eq!(moderator.publish_as(delete(2)).await.offset, 5);
    // Who follows learns of it in order.
    assert_eq!(other.deliveries(3).await.len(), 3);
    for (offset, about) in [(4, 1), (5, 2)] {
        let d = other.delivery().await;
        assert_eq!((d.offset, d.kind, d.relates_to), (offset, kind::DELETE, Some(about)));
    }
    // Who comes later meets what is gone.
    let mut late = Session::open(&world, carrier, world.device(bob.user).await).await;
    late.subscribe(group, After::Start).await;
    assert_gone(late.next_of_log().await, 1, 2, GoneReason::Deleted);
    assert_eq!(late.deliveries(1).await, [(3, "three".to_owned())]);
}

fn assert_gone(body: Body, from: u64, to: u64, reason: GoneReason) {
    match body {
        Body::Gone(gone) => {
            assert_eq!((gone.from, gone.to, gone.reason.as_known()), (from, to, Some(reason)))
        }
        other => panic!("instead of Gone: {other:?}"),
    }
}

async fn expired_messages_are_gone(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let mut reader = Session::open(&world, carrier, bob).await;
    reader.subscribe(group, After::Start).await;
    let ack = author.publish_as(Publish { expires_in: Some(1), ..publish(group, "brief") }).await;
    author.publish(group, "lasting").await;
    let d = reader.delivery().await;
    assert_eq!(d.expires_at, Some(ack.at + 1000));
    let recover = || Recover { conversation: group.to_bytes(), from: 1, limit: 1, ..Default::default() };
    let gone = wire_tests::eventually("the message to expire", async || {
        let Body::HistoryPage(page) = author.ask(recover()).await else { panic!("instead of a page") };
        match page.items.into_iter().next()?.item? {
            history_item::Item::Gone(gone) => Some(gone),
            history_item::Item::Delivery(_) => None,
        }
    })
    .await;
    assert_gone(gone.into(), 1, 1, GoneReason::Expired);
    let mut late = Session::resume(&world, carrier, world.device(bob.user).await, None, &[(group, 0)]).await;
    assert_gone(late.next_of_log().await, 1, 1, GoneReason::Expired);
    assert_eq!(late.deliveries(1).await, [(2, "lasting".to_owned())]);
}

async fn a_ring_is_kept_for_a_minute(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut caller = Session::open(&world, carrier, ada).await;
    let ring = Ring {
        conversation: group.to_bytes(),
        publish_key: wire_tests::session::key(),
        body: Bytes::from_static(b"offer"),
        ..Default::default()
    };
    let Body::PublishAck(ack) = caller.ask(ring).await else { panic!("instead of an ack") };
    let mut sleeper = Session::resume(&world, carrier, bob, None, &[(group, 0)]).await;
    let d = sleeper.delivery().await;
    assert_eq!((d.kind, &d.body[..], d.expires_at), (kind::RING, &b"offer"[..], Some(ack.at + 60_000)));
}

async fn strangers_can_not_tell_what_exists(carrier: Carrier) {
    let world = World::start().await;
    let (ada, eve) = (world.person("ada").await, world.person("eve").await);
    let group = world.group(ada, &[]).await;
    let mut stranger = Session::open(&world, carrier, eve).await;
    let mut told = Vec::new();
    for id in [group, ConversationId([7; 16])] {
        let conversation = id.to_bytes();
        let subscribe = Subscribe { conversation: conversation.clone(), ..Default::default() };
        let recover = Recover { conversation: conversation.clone(), from: 1, ..Default::default() };
        let cursor = Cursor { conversation: conversation.clone(), offset: 1, ..Default::default() };
        let mut answers = vec![
            stranger.refused(publish(id, "?")).await,
            stranger.refused(subscribe).await,
            stranger.refused(recover).await,
            stranger.refused(cursor).await,
        ];
        assert!(answers.iter().all(|(code, _)| *code == Refused::NotMember), "{answers:?}");
        answers.iter_mut().for_each(|(_, r)| (r.conversation, r.publish_key) = Default::default());
        told.push(answers);
    }
    assert_eq!(told[0], told[1], "a conversation of others looks like none");
}

async fn bodies_over_the_limit_are_refused(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let group = world.group(ada, &[bob]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let largest = Publish { body: Bytes::from(vec![b'x'; 65_536]), ..publish(group, "") };
    assert_eq!(author.publish_as(largest).await.offset, 1);
    let larger = Publish { body: Bytes::from(vec![b'x'; 65_537]), ..publish(group, "") };
    assert_eq!(author.refused(larger).await.0, Refused::TooLarge);
    let mut reader = Session::resume(&world, carrier, bob, None, &[(group, 0)]).await;
    assert_eq!(reader.delivery().await.body.len(), 65_536);
}

async fn an_epoch_that_moved_on_refuses(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let group = world.group(ada, &[]).await;
    let mut author = Session::open(&world, carrier, ada).await;
    let at = |epoch| Publish { expected_epoch: Some(epoch), ..publish(group, "?") };
    assert_eq!(author.publish_as(at(0)).await.offset, 1);
    assert_eq!(author.refused(at(1)).await.0, Refused::EpochConflict);
}

async fn far_behind_is_told_to_page(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let group = world.group(ada, &[]).await;
    let mut session = Session::open(&world, carrier, ada).await;
    session.publish(group, "first").await;
    // A long log without publishing it all: only the counter matters to this answer.
    world.sql("UPDATE conversations SET next_offset = 10003 WHERE id = ?1", [group.0.to_vec()]);
    let mut late = Session::open(&world, carrier, world.device(ada.user).await).await;
    let from_start =
        Subscribe { conversation: group.to_bytes(), after: After::Start.position(), ..Default::default() };
    let (code, refusal) = late.refused(from_start).await;
    assert_eq!((code, refusal.head), (Refused::TooFarBehind, 10_002));
}
