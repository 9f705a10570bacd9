//! What a program sees of a session over each transport: connect, publish, subscribe, order, reconnect, goodbye.
#![allow(clippy::unwrap_used)]

mod peer;

use peer::{Peer, ack, delivery, next, subscribed, within};
use relay_client::{
    After, ConversationId, Disconnect, Encoding, Error, Event, Offset, PublishRequest, Refused, Transport, v1,
};

const C: [u8; 16] = [7; 16];
const CONVERSATION: ConversationId = ConversationId(C);

async fn offsets(events: &mut relay_client::Events, count: usize) -> Vec<u64> {
    let mut seen = Vec::new();
    while seen.len() < count {
        match next(events).await {
            Event::Delivery(d) => seen.push(d.position.offset.0),
            other => panic!("not a delivery: {other:?}"),
        }
    }
    seen
}

async fn publishes_and_subscribes(transport: Transport) {
    let mut peer = Peer::start().await;
    let (client, mut events, mut relay) = peer.connected(transport).await;
    assert_eq!(relay.is_quic(), transport != Transport::WebSocket);
    let script = async {
        let (request, subscribe) = relay.subscribe().await;
        assert_eq!(subscribe.after.offset, 0);
        relay.answer(request, subscribed(C, 2)).await;
        relay.deliver(0, delivery(C, 1)).await;
        relay.deliver(0, delivery(C, 2)).await;
        let (request, publish) = relay.publish().await;
        assert_eq!((&publish.body[..], publish.publish_key.len()), (&b"hello"[..], 16));
        // The next message overtakes the ack, as it may between QUIC streams.
        relay.deliver(0, delivery(C, 4)).await;
        relay.answer(request, ack(&publish, 3)).await;
    };
    let program = async {
        let subscription = client.subscribe(CONVERSATION, After::Start).await.unwrap();
        assert_eq!(subscription.head, Offset(2));
        let ack = client.publish(CONVERSATION, PublishRequest::message("hello")).await.unwrap();
        assert_eq!(ack.position.offset, Offset(3));
        assert_eq!(offsets(&mut events, 4).await, [1, 2, 3, 4]);
    };
    within(async { tokio::join!(script, program) }).await;
    let gone = within(async { tokio::join!(client.close(), relay.try_recv()) }).await.1;
    assert!(gone.is_none(), "the relay sees the goodbye");
    assert!(matches!(next(&mut events).await, Event::Closed(None)));
    assert!(matches!(client.delete(CONVERSATION, Offset(1)).await, Err(Error::Closed)));
}

#[tokio::test]
async fn publishes_and_subscribes_over_websocket() {
    publishes_and_subscribes(Transport::WebSocket).await;
}

#[tokio::test]
async fn publishes_and_subscribes_over_quic() {
    publishes_and_subscribes(Transport::Quic).await;
}

#[tokio::test]
async fn json_is_spoken_over_websocket() {
    let mut peer = Peer::start().await;
    let (client, _events) = peer.client(Transport::WebSocket).encoding(Encoding::Json).start().unwrap();
    let (mut relay, hello) = peer.welcome().await;
    assert_eq!(hello.token, "a token");
    let script = async {
        let (request, publish) = relay.publish().await;
        relay.answer(request, ack(&publish, 1)).await;
    };
    let (acked, ()) = within(async {
        tokio::join!(client.publish(CONVERSATION, PublishRequest::message(vec![0xff, 0])), script)
    })
    .await;
    assert_eq!(acked.unwrap().position.offset, Offset(1));
}

async fn resumes(transport: Transport) {
    let mut peer = Peer::start().await;
    let (client, mut events, mut relay) = peer.connected(transport).await;
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe(CONVERSATION, After::Now).await }
    });
    let (request, _) = relay.subscribe().await;
    relay.answer(request, subscribed(C, 5)).await;
    relay.deliver(0, delivery(C, 6)).await;
    assert_eq!(offsets(&mut events, 1).await, [6]);
    within(subscribing).await.unwrap().unwrap();

    let publishing = client.enqueue(CONVERSATION, PublishRequest::message("kept")).await.unwrap();
    let (_, first) = relay.publish().await;
    relay.close(Disconnect::SlowReader).await;
    assert!(matches!(next(&mut events).await, Event::Reconnecting { .. }));

    let (mut relay, hello) = peer.welcome().await;
    assert_eq!((hello.resume.len(), hello.resume[0].after.offset), (1, 6));
    assert_eq!(
        hello.user_position.offset, 7,
        "the user's own stream goes on after the head of the first Welcome"
    );
    assert!(matches!(next(&mut events).await, Event::Connected(linked) if linked.resumed));
    let (request, again) = relay.publish().await;
    assert_eq!(first.publish_key, again.publish_key);
    relay.answer(1_000, subscribed(C, 8)).await;
    // The message had been appended before the connection was lost; recovery shows it before the ack does.
    let own = v1::Delivery {
        device: peer::DEVICE.to_vec().into(),
        publish_key: first.publish_key,
        ..delivery(C, 7)
    };
    relay.deliver(0, own).await;
    relay.deliver(0, delivery(C, 8)).await;
    assert_eq!(offsets(&mut events, 2).await, [7, 8]);
    assert_eq!(within(publishing).await.unwrap().position.offset, Offset(7));
    relay.answer(request, v1::PublishAck { duplicate: true, ..ack(&again, 7) }).await;
    relay.deliver(0, delivery(C, 8)).await;
    relay.deliver(0, delivery(C, 9)).await;
    assert_eq!(offsets(&mut events, 1).await, [9], "neither the late ack nor the repetition shows twice");
}

#[tokio::test]
async fn resumes_over_websocket() {
    resumes(Transport::WebSocket).await;
}

#[tokio::test]
async fn resumes_over_quic() {
    resumes(Transport::Quic).await;
}

async fn stays_away(transport: Transport) {
    let mut peer = Peer::start().await;
    let (client, mut events, relay) = peer.connected(transport).await;
    relay.close(Disconnect::Banned).await;
    let closed = next(&mut events).await;
    assert!(matches!(
        closed,
        Event::Closed(Some(relay_client::ConnectError::Disconnected(Disconnect::Banned)))
    ));
    assert!(within(events.next()).await.is_none());
    assert!(matches!(client.publish(CONVERSATION, PublishRequest::message("")).await, Err(Error::Closed)));
}

#[tokio::test]
async fn stays_away_when_told_over_websocket() {
    stays_away(Transport::WebSocket).await;
}

#[tokio::test]
async fn stays_away_when_told_over_quic() {
    stays_away(Transport::Quic).await;
}

#[tokio::test]
async fn a_definite_refusal_reaches_the_caller() {
    let mut peer = Peer::start().await;
    let (client, _events, mut relay) = peer.connected(Transport::WebSocket).await;
    let script = async {
        let (request, _) = relay.publish().await;
        let refusal = v1::Refusal { code: Refused::NotMember.code(), ..Default::default() };
        relay.answer(request, refusal).await;
    };
    let publishing = client.publish(CONVERSATION, PublishRequest::message("x"));
    let (refused, ()) = within(async { tokio::join!(publishing, script) }).await;
    assert!(matches!(refused, Err(Error::Refused(r)) if r.refused() == Some(Refused::NotMember)));
    let large = client.publish(CONVERSATION, PublishRequest::message(vec![0; 65_537])).await;
    assert!(matches!(large, Err(Error::Refused(r)) if r.refused() == Some(Refused::TooLarge)));
}
