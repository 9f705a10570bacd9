//! Hello and its answers.

use bytes::Bytes;
use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{DeviceId, Disconnect, Refused};
use wire_tests::session::closed;
use wire_tests::{Carrier, Link, Session, World, scenarios};

scenarios!(
    welcome_tells_who_when_and_the_limits,
    ping_is_answered_with_its_payload,
    requests_before_hello_are_refused,
    a_second_hello_is_refused,
    versions_without_one_in_common_end_it,
    tokens_that_are_not_believed_end_it,
    a_newer_session_of_a_device_replaces_the_older,
);

fn hello(token: String) -> Hello {
    Hello { versions: vec![1], token, ..Default::default() }
}

async fn welcome_tells_who_when_and_the_limits(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let hello = Hello {
        versions: vec![1, 7],
        capabilities: vec!["targets".into(), "unheard-of".into()],
        token: world.token(ada),
        device: ada.device.to_bytes(),
        agent: "wire-tests".into(),
        ..Default::default()
    };
    let session =
        Session::greet(Link::open(&world.server, carrier).await, hello).await.ok().expect("Welcome");
    let welcome = &session.welcome;
    assert_eq!((welcome.version, welcome.generation), (1, 1));
    assert!(welcome.capabilities.is_empty(), "version 1 knows none");
    assert_eq!((&welcome.user, &welcome.device), (&ada.user.to_bytes(), &ada.device.to_bytes()));
    let now = wire_tests::people::now_ms();
    assert!(now.abs_diff(welcome.now) < 60_000);
    assert!((now / 1000 + 800..now / 1000 + 1000).contains(&welcome.token_expires_at));
    let limits = welcome.limits.as_option().expect("limits");
    let told = (limits.max_frame, limits.max_body, limits.max_subscriptions, limits.max_page);
    assert_eq!(told, (98_304, 65_536, 1_024, 200));
    assert_eq!((limits.publish_limit, limits.publish_window_s), (100, 60));
}

async fn ping_is_answered_with_its_payload(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let mut session = Session::open(&world, carrier, ada).await;
    let ping = |payload: &'static [u8]| Ping { payload: Bytes::from_static(payload), ..Default::default() };
    match session.ask(ping(b"are you there?")).await {
        Body::Pong(pong) => assert_eq!(&pong.payload[..], b"are you there?"),
        other => panic!("instead of Pong: {other:?}"),
    }
    assert_eq!(session.refused(ping(&[7; 65])).await.0, Refused::Malformed);
}

async fn requests_before_hello_are_refused(carrier: Carrier) {
    let world = World::start().await;
    let mut link = Link::open(&world.server, carrier).await;
    let ping = ClientFrame { request: 9, body: Some(Ping::default().into()), ..Default::default() };
    link.send(&ping).await;
    match link.next().await {
        wire_tests::Incoming::Frame(frame) => {
            assert_eq!(frame.answers, 9);
            assert!(matches!(&frame.body, Some(Body::Refusal(r)) if r.code == Refused::NotGreeted.code()));
        }
        other => panic!("instead of a refusal: {other:?}"),
    }
}

async fn a_second_hello_is_refused(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let mut session = Session::open(&world, carrier, ada).await;
    assert_eq!(session.refused(hello(world.token(ada))).await.0, Refused::NotGreeted);
}

async fn versions_without_one_in_common_end_it(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    for versions in [vec![], vec![0, 2, 99]] {
        let hello = Hello { versions, ..hello(world.token(ada)) };
        assert_ends(&world, carrier, hello, Refused::VersionUnsupported, Disconnect::VersionUnsupported)
            .await;
    }
}

async fn tokens_that_are_not_believed_end_it(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let other = world.person("other").await;
    let good = world.token(ada);
    let (unsigned, _) = good.rsplit_once('.').expect("a signature");
    for bad in
        [String::new(), "e30.e30.e30".into(), "garbage".into(), format!("{unsigned}.AAAA"), "x".repeat(8192)]
    {
        assert_ends(&world, carrier, hello(bad), Refused::TokenInvalid, Disconnect::Unauthenticated).await;
    }
    let foreign = Hello { device: other.device.to_bytes(), ..hello(good) };
    assert_ends(&world, carrier, foreign, Refused::TokenInvalid, Disconnect::Unauthenticated).await;
    let past = hello(world.token_for(ada, -60));
    assert_ends(&world, carrier, past, Refused::TokenExpired, Disconnect::TokenExpired).await;
    let unknown = wire_tests::Login { device: DeviceId([9; 16]), ..ada };
    let revoked = hello(world.token(unknown));
    assert_ends(&world, carrier, revoked, Refused::DeviceRevoked, Disconnect::DeviceRevoked).await;
}

async fn a_newer_session_of_a_device_replaces_the_older(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    for newer in [Carrier::Quic, Carrier::WebSocket] {
        let mut first = Session::open(&world, carrier, ada).await;
        let _second = Session::open(&world, newer, ada).await;
        assert_eq!(first.closed().await, Some(Disconnect::Replaced));
    }
}

/// Hello is answered with this refusal, and then the connection ends with this code.
async fn assert_ends(
    world: &World,
    carrier: Carrier,
    hello: Hello,
    refused: Refused,
    disconnect: Disconnect,
) {
    let (code, mut link) =
        Session::greet(Link::open(&world.server, carrier).await, hello).await.err().expect("a refusal");
    assert_eq!(wire_tests::session::known(code), refused);
    assert_eq!(closed(&mut link).await, Some(disconnect));
}
