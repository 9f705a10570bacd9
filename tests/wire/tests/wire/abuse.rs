//! Bytes that are not the protocol: the documented end, and a server that goes on.

use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{Disconnect, Refused};
use wire_tests::session::{closed_with, known};
use wire_tests::{Carrier, Incoming, Link, Session, World, scenarios, within};

scenarios!(
    frames_that_are_none_are_refused_and_the_session_stands,
    garbage_before_hello_is_refused_and_hello_still_taken,
    frames_over_the_limit_end_the_session,
);

async fn frames_that_are_none_are_refused_and_the_session_stands(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let mut session = Session::open(&world, carrier, ada).await;
    // Truncated, a wrong wire type, nested without end, no body, an unknown body.
    let deep: Vec<u8> = (0..64u8).rev().flat_map(|n| [0x0b, 2 * n]).collect();
    for bytes in [&b"\x08"[..], b"\x1a\x7f\x01", b"\x0f\xff\xff", &deep, b"\x08\x05", b"\xa2\x06\x00"] {
        session.link.send_frame_bytes(bytes.to_vec()).await;
        match within("a refusal", session.link.next()).await {
            Incoming::Frame(frame) => match frame.body {
                Some(Body::Refusal(r)) => assert_eq!(known(r.code), Refused::Malformed, "{bytes:?}"),
                other => panic!("{bytes:?} was answered with {other:?}"),
            },
            closed => panic!("{bytes:?} ended in {closed:?}"),
        }
    }
    assert!(matches!(session.ask(Ping::default()).await, Body::Pong(_)));
    let crooked = Subscribe { conversation: bytes::Bytes::from_static(b"short"), ..Default::default() };
    assert_eq!(session.refused(crooked).await.0, Refused::Malformed);
}

async fn garbage_before_hello_is_refused_and_hello_still_taken(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let mut link = Link::open(&world.server, carrier).await;
    link.send_frame_bytes(b"GET / HTTP/1.1\r\n\r\n".to_vec()).await;
    match within("a refusal", link.next()).await {
        Incoming::Frame(frame) => {
            assert!(matches!(frame.body, Some(Body::Refusal(r)) if r.code == Refused::Malformed.code()));
        }
        closed => panic!("ended in {closed:?}"),
    }
    let hello = Hello { versions: vec![1], token: world.token(ada), ..Default::default() };
    Session::greet(link, hello).await.ok().expect("Welcome");
}

async fn frames_over_the_limit_end_the_session(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let mut session = Session::open(&world, carrier, ada).await;
    session.link.send_frame_bytes(vec![0; 98_305]).await;
    let (code, _) = closed_with(&mut session.link).await;
    let expected = if carrier == Carrier::Quic { Disconnect::FrameTooLarge.code() } else { 1009 };
    assert_eq!(code, Some(expected));
    Session::open(&world, carrier, ada).await;
}
