//! What only QUIC has: early data, streams that are not granted, lengths.

use schema_wire::v1::{server_frame::Body, *};
use schema_wire::{Disconnect, Refused, codec};
use wire_tests::link::quic::Client;
use wire_tests::session::{closed, closed_with, key};
use wire_tests::{Carrier, Incoming, Link, Session, World, within};

#[test]
fn early_data_resumes_but_publishes_nothing() {
    wire_tests::run(async {
        let world = World::start().await;
        let ada = world.person("ada").await;
        let group = world.group(ada, &[]).await;
        let client = Client::new(&world.server);
        let hello = || Hello { versions: vec![1], token: world.token(ada), ..Default::default() };
        let first = Session::greet(client.connect(&world.server).await, hello()).await.ok().expect("Welcome");
        // The ticket comes after the handshake; an answer has come since.
        let mut first = first;
        assert!(matches!(first.ask(Ping::default()).await, Body::Pong(_)));
        drop(first);
        let name = world.server.relay().ip().to_string();
        let connecting = client.endpoint.connect_with(client.config.clone(), world.server.relay(), &name);
        let Ok((connection, accepted)) = connecting.expect("an address").into_0rtt() else {
            panic!("no ticket for early data")
        };
        let mut link = client.link(connection).await;
        let publish = Publish { conversation: group.to_bytes(), publish_key: key(), ..Default::default() };
        let mut early = Vec::new();
        let bodies: [client_frame::Body; 2] = [publish.clone().into(), hello().into()];
        for (number, body) in bodies.into_iter().enumerate() {
            let frame = ClientFrame { request: number as u64 + 1, body: Some(body), ..Default::default() };
            let bytes = codec::encode_client(&frame, Carrier::Quic.encoding());
            early.extend(wire_tests::link::quic::length(bytes.len()));
            early.extend(bytes);
        }
        link.quic().bytes(&early).await;
        assert!(accepted.await, "early data is taken");
        let mut answers = Vec::new();
        while answers.len() < 2 {
            match within("answers", link.next()).await {
                Incoming::Frame(frame) if frame.answers > 0 => answers.push((frame.answers, frame.body)),
                Incoming::Frame(_) => {}
                closed => panic!("{closed:?}"),
            }
        }
        answers.sort_by_key(|(request, _)| *request);
        // Should the handshake have ended before the relay read it, there was no Hello yet all the same.
        let Some(Body::Refusal(refusal)) = &answers[0].1 else { panic!("{answers:?}") };
        let codes = [Refused::NotInEarlyData.code(), Refused::NotGreeted.code()];
        assert!(codes.contains(&refusal.code), "{refusal:?}");
        assert!(matches!(&answers[1].1, Some(Body::Welcome(_))), "{answers:?}");
        // After the handshake the same publish is taken.
        link.send(&ClientFrame { request: 4, body: Some(publish.into()), ..Default::default() }).await;
        loop {
            match within("an ack", link.next()).await {
                Incoming::Frame(frame) if frame.answers == 4 => {
                    assert!(matches!(frame.body, Some(Body::PublishAck(ack)) if ack.offset == 1));
                    break;
                }
                Incoming::Frame(_) => {}
                closed => panic!("{closed:?}"),
            }
        }
    });
}

#[test]
fn a_second_stream_of_the_client_is_not_granted() {
    wire_tests::run(async {
        let world = World::start().await;
        let ada = world.person("ada").await;
        let mut session = Session::open(&world, Carrier::Quic, ada).await;
        let connection = session.link.quic().connection.clone();
        let soon = std::time::Duration::from_millis(300);
        assert!(tokio::time::timeout(soon, connection.open_bi()).await.is_err(), "no credit for it");
        assert!(tokio::time::timeout(soon, connection.open_uni()).await.is_err(), "no credit for it");
        assert!(matches!(session.ask(Ping::default()).await, Body::Pong(_)));
    });
}

#[test]
fn lengths_that_are_none_end_the_connection() {
    wire_tests::run(async {
        let world = World::start().await;
        for (bytes, disconnect) in [
            // Not the shortest form, an empty frame, beyond the limit.
            (&b"\x40\x01\x00"[..], Disconnect::ProtocolError),
            (b"\x00", Disconnect::ProtocolError),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Disconnect::FrameTooLarge),
            (b"\x80\x01\x80\x01", Disconnect::FrameTooLarge),
        ] {
            let mut link = Link::open(&world.server, Carrier::Quic).await;
            link.quic().bytes(bytes).await;
            assert_eq!(closed(&mut link).await, Some(disconnect), "{bytes:?}");
        }
        let ada = world.person("ada").await;
        let mut session = Session::open(&world, Carrier::Quic, ada).await;
        session.link.quic().control.finish().expect("it is open");
        assert_eq!(closed_with(&mut session.link).await.0, Some(0), "finished between frames: a clean end");
        let mut session = Session::open(&world, Carrier::Quic, ada).await;
        session.link.quic().bytes(b"\x08\x01").await;
        session.link.quic().control.finish().expect("it is open");
        assert_eq!(session.closed().await, Some(Disconnect::ProtocolError), "finished inside a frame");
    });
}
