//! What the client does when things go wrong: no UDP, untrusted certificates, garbage, slow programs, old tokens,
//! draining relays, cancelled calls.
#![allow(clippy::unwrap_used)]

mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use peer::{Connection, Listen, Peer, ack, delivery, next, subscribed, welcome, within};
use relay_client::v1::{self, client_frame};
use relay_client::{
    After, Client, ConnectError, ConversationId, Disconnect, Error, Event, Events, Offset, PublishRequest,
    Refused, TokenError, TokenFuture, TokenNeed, TokenSource, Transport, limits,
};

const C: [u8; 16] = [7; 16];
const CONVERSATION: ConversationId = ConversationId(C);

/// Gives "token 1", "token 2" …: one more each time a fresh one is asked for.
#[derive(Clone, Default)]
struct Tokens(Arc<AtomicU32>);

impl TokenSource for Tokens {
    fn token(&self, need: TokenNeed) -> TokenFuture<'_> {
        let fresh = u32::from(need == TokenNeed::Fresh);
        let number = self.0.fetch_add(fresh, Ordering::Relaxed) + fresh + 1;
        Box::pin(async move { Ok(format!("token {number}")) })
    }
}

async fn follow(client: &Client, relay: &mut Connection, head: u64) {
    let script = async {
        let (request, _) = relay.subscribe().await;
        relay.answer(request, subscribed(C, head)).await;
    };
    let (subscription, ()) =
        within(async { tokio::join!(client.subscribe(CONVERSATION, After::Start), script) }).await;
    assert_eq!(subscription.unwrap().head, Offset(head));
}

async fn closed(events: &mut Events) -> Option<ConnectError> {
    loop {
        if let Event::Closed(why) = next(events).await {
            return why;
        }
    }
}

#[tokio::test]
async fn websocket_takes_over_when_udp_gets_no_answer() {
    let mut peer = Peer::listen(Listen::OnlyWebSocket).await;
    let (_client, mut events) = peer.client(Transport::Auto).start().unwrap();
    let (relay, _) = peer.welcome().await;
    assert!(!relay.is_quic());
    assert!(matches!(next(&mut events).await, Event::Connected(linked) if !linked.quic));
}

#[tokio::test]
async fn quic_comes_first_when_both_answer() {
    let mut peer = Peer::start().await;
    let (_client, mut events) = peer.client(Transport::Auto).start().unwrap();
    let _relay = peer.welcome().await;
    assert!(matches!(next(&mut events).await, Event::Connected(linked) if linked.quic));
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_not_accepted() {
    let (peer, other) = (Peer::start().await, Peer::start().await);
    for transport in [Transport::Quic, Transport::WebSocket, Transport::Auto] {
        let connected = within(peer.client(transport).ca(&other.ca).connect()).await;
        let why = connected.err().unwrap();
        assert!(matches!(why, ConnectError::Certificate(_)), "{transport:?}: {why}");
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_said_at_once() {
    let peer = Peer::start().await;
    let start = |builder: relay_client::Builder| builder.start().err();
    assert!(matches!(start(peer.client(Transport::Quic).relay("ftp://x")), Some(ConnectError::Config(_))));
    assert!(matches!(start(peer.client(Transport::Quic).ca("/nonexistent")), Some(ConnectError::Config(_))));
    assert!(matches!(start(Client::builder().relay("localhost")), Some(ConnectError::Config(_))));
}

#[tokio::test]
async fn the_first_attempt_fails_openly_when_nobody_listens() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let peer = Peer::start().await;
    let builder = peer.client(Transport::WebSocket).relay(format!("127.0.0.1:{port}"));
    assert!(matches!(within(builder.connect()).await.err(), Some(ConnectError::Link(_))));
}

async fn garbage_ends_the_link_and_the_client_comes_back(transport: Transport) {
    let mut peer = Peer::start().await;
    let (_client, mut events, mut relay) = peer.connected(transport).await;
    let broken = v1::Delivery { conversation: vec![1, 2, 3].into(), ..delivery(C, 1) };
    relay.deliver(0, broken).await;
    assert!(matches!(next(&mut events).await, Event::Reconnecting { why: ConnectError::Protocol(_), .. }));
    let _relay = peer.welcome().await;
    assert!(matches!(next(&mut events).await, Event::Connected(linked) if linked.resumed));
}

#[tokio::test]
async fn garbage_over_websocket() {
    garbage_ends_the_link_and_the_client_comes_back(Transport::WebSocket).await;
}

#[tokio::test]
async fn garbage_over_quic() {
    garbage_ends_the_link_and_the_client_comes_back(Transport::Quic).await;
}

async fn a_slow_program_loses_nothing(transport: Transport) {
    const MANY: u64 = 3 * limits::EVENTS as u64;
    let mut peer = Peer::start().await;
    let (client, mut events, mut relay) = peer.connected(transport).await;
    follow(&client, &mut relay, MANY).await;
    let flood = tokio::spawn(async move {
        for offset in 1..=MANY {
            relay.deliver(0, delivery(C, offset)).await;
        }
        relay
    });
    // Nothing is read until everything that fits somewhere is there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for expected in 1..=MANY {
        match next(&mut events).await {
            Event::Delivery(d) => assert_eq!(d.position.offset, Offset(expected)),
            other => panic!("not a delivery: {other:?}"),
        }
    }
    within(flood).await.unwrap();
}

#[tokio::test]
async fn a_slow_program_loses_nothing_over_websocket() {
    a_slow_program_loses_nothing(Transport::WebSocket).await;
}

#[tokio::test]
async fn a_slow_program_loses_nothing_over_quic() {
    a_slow_program_loses_nothing(Transport::Quic).await;
}

#[tokio::test]
async fn ephemeral_events_come_in_datagrams() {
    let mut peer = Peer::start().await;
    let (client, mut events, mut relay) = peer.connected(Transport::Quic).await;
    client.typing(CONVERSATION, true);
    assert!(matches!(relay.recv().await, (0, client_frame::Body::Typing(t)) if t.active));
    relay.whisper(v1::TypingEvent { active: true, ..Default::default() }).await;
    assert!(matches!(next(&mut events).await, Event::Typing(_)));
    client.signal(CONVERSATION, vec![7; 16_384]).unwrap();
    assert!(matches!(relay.recv().await, (0, client_frame::Body::Signal(s)) if s.body.len() == 16_384));
    let large = client.signal(CONVERSATION, vec![7; 16_385]);
    assert!(matches!(large, Err(Error::Refused(r)) if r.refused() == Some(Refused::TooLarge)));
}

#[tokio::test]
async fn a_token_is_refreshed_in_the_session() {
    let mut peer = Peer::start().await;
    let (_client, mut events) =
        peer.client(Transport::WebSocket).token_source(Tokens::default()).start().unwrap();
    let mut relay = peer.accept().await;
    let (request, client_frame::Body::Hello(hello)) = relay.recv().await else { panic!("not a Hello") };
    assert_eq!(hello.token, "token 1");
    relay.answer(request, welcome(2)).await;
    assert!(matches!(next(&mut events).await, Event::Connected(_)));
    let (request, client_frame::Body::Refresh(refresh)) = relay.recv().await else { panic!("not a Refresh") };
    assert_eq!(refresh.token, "token 2");
    relay.answer(request, v1::Refreshed { token_expires_at: 1_003_600, ..Default::default() }).await;
    relay.send(delivery(C, 1)).await;
    assert!(events.try_next().is_none(), "the session goes on");
}

async fn an_expired_token_is_replaced(transport: Transport) {
    let mut peer = Peer::start().await;
    let (_client, mut events) = peer.client(transport).token_source(Tokens::default()).start().unwrap();
    let mut relay = peer.accept().await;
    let (request, _) = relay.recv().await;
    let refusal = v1::Refusal { code: Refused::TokenExpired.code(), ..Default::default() };
    relay.answer(request, refusal).await;
    relay.close(Disconnect::TokenExpired).await;
    assert!(matches!(next(&mut events).await, Event::Reconnecting { .. }));
    let (_, hello) = peer.welcome().await;
    assert_eq!(hello.token, "token 2");
}

#[tokio::test]
async fn an_expired_token_is_replaced_over_websocket() {
    an_expired_token_is_replaced(Transport::WebSocket).await;
}

#[tokio::test]
async fn an_expired_token_is_replaced_over_quic() {
    an_expired_token_is_replaced(Transport::Quic).await;
}

#[tokio::test]
async fn without_a_newer_token_an_unauthenticated_client_stays_away() {
    let mut peer = Peer::start().await;
    let (_client, mut events) = peer.client(Transport::WebSocket).start().unwrap();
    let mut relay = peer.accept().await;
    relay.recv().await;
    relay.close(Disconnect::Unauthenticated).await;
    assert!(matches!(
        closed(&mut events).await,
        Some(ConnectError::Token(TokenError { definite: true, .. }))
    ));
}

async fn a_drain_is_obeyed(transport: Transport) {
    let mut peer = Peer::start().await;
    let (client, mut events, mut relay) = peer.connected(transport).await;
    let draining = v1::Draining { reconnect_after_ms: 100, ..Default::default() };
    relay.send(v1::Notice { notice: Some(draining.into()), ..Default::default() }).await;
    assert!(matches!(next(&mut events).await, Event::Notice(_)));
    relay.close(Disconnect::Draining).await;
    let Event::Reconnecting { delay, why, .. } = next(&mut events).await else { panic!("not Reconnecting") };
    assert!(matches!(why, ConnectError::Disconnected(Disconnect::Draining)));
    assert!(delay <= Duration::from_millis(150), "{delay:?}");
    let publishing = client.enqueue(CONVERSATION, PublishRequest::message("later")).await.unwrap();
    let (mut relay, _) = peer.welcome().await;
    let (request, publish) = relay.publish().await;
    relay.answer(request, ack(&publish, 1)).await;
    assert_eq!(within(publishing).await.unwrap().position.offset, Offset(1));
}

#[tokio::test]
async fn a_drain_is_obeyed_over_websocket() {
    a_drain_is_obeyed(Transport::WebSocket).await;
}

#[tokio::test]
async fn a_drain_is_obeyed_over_quic() {
    a_drain_is_obeyed(Transport::Quic).await;
}

#[tokio::test]
async fn a_device_that_was_replaced_does_not_fight_back() {
    let mut peer = Peer::start().await;
    let (_client, mut events, relay) = peer.connected(Transport::WebSocket).await;
    relay.close(Disconnect::Replaced).await;
    assert!(matches!(closed(&mut events).await, Some(ConnectError::Disconnected(Disconnect::Replaced))));
}

#[tokio::test]
async fn a_cancelled_publish_is_either_whole_or_nothing() {
    let mut peer = Peer::start().await;
    let (client, mut events) = peer.client(Transport::WebSocket).in_flight(1).start().unwrap();
    let (mut relay, _) = peer.welcome().await;
    assert!(matches!(next(&mut events).await, Event::Connected(_)));
    let first = client.enqueue(CONVERSATION, PublishRequest::message("handed over")).await.unwrap();
    drop(first);
    let waiting = client.enqueue(CONVERSATION, PublishRequest::message("never"));
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err(), "the window is full");
    let (request, publish) = relay.publish().await;
    assert_eq!(&publish.body[..], b"handed over");
    relay.answer(request, ack(&publish, 1)).await;
    let third = client.enqueue(CONVERSATION, PublishRequest::message("third"));
    within(third).await.unwrap();
    assert_eq!(&relay.publish().await.1.body[..], b"third");
}

#[tokio::test]
async fn the_program_may_drop_the_events_and_go_on_publishing() {
    let mut peer = Peer::start().await;
    let (client, events, mut relay) = peer.connected(Transport::WebSocket).await;
    follow(&client, &mut relay, 0).await;
    drop(events);
    for offset in 1..=2 * limits::EVENTS as u64 {
        relay.send(delivery(C, offset)).await;
    }
    let publishing = client.enqueue(CONVERSATION, PublishRequest::message("still here")).await.unwrap();
    let (request, publish) = relay.publish().await;
    relay.answer(request, ack(&publish, 9_999)).await;
    within(publishing).await.unwrap();
}

#[tokio::test]
async fn dropping_everything_ends_the_session() {
    let mut peer = Peer::start().await;
    let (client, events, mut relay) = peer.connected(Transport::Quic).await;
    drop((client, events));
    assert!(relay.try_recv().await.is_none());
}
