//! 0-RTT: what comes early is marked, and what was early once is not early twice.

use crate::client::Client;
use crate::world::{World, config};
use relay_server::transport::quic::{QuicEndpoint, QuicEvent, QuicLimits, Via};
use schema_wire::frame::Lane;
use std::time::Duration;

/// A world whose first client holds a session ticket and is gone.
fn with_ticket() -> World {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].send(b"hello");
    world.run_until("the frame", |world| !world.take_frames().is_empty());
    world.run_for(Duration::from_millis(100));
    let now = world.now;
    world.server.close(now, handle, 0, "", &mut world.events);
    world.run_for(Duration::from_secs(10));
    world.clients.clear();
    world.events.clear();
    world.tape.clear();
    world
}

fn resume(world: &mut World) {
    let address = "198.51.100.7:41000".parse().unwrap();
    let tls = world.tls.client.clone();
    let mut client = Client::connect(world.now, tls, address, world.server_address, |_| {});
    assert!(client.conn.has_0rtt(), "the client holds a ticket");
    client.send(b"early hello");
    client.conn.datagrams().send(b"early ping".as_slice().into(), true).unwrap();
    world.clients.push(client);
}

#[test]
fn early_frames_are_marked_until_the_handshake_proves_the_client() {
    let mut world = with_ticket();
    resume(&mut world);
    world.run_until("confirmation", |world| {
        world.events.iter().any(|event| matches!(event, QuicEvent::Confirmed { .. }))
    });
    let Some(QuicEvent::Opened { handle, early: true, .. }) = world.events.first().cloned() else {
        panic!("opened early: {:?}", world.events)
    };
    let early =
        |bytes: &'static [u8], via| QuicEvent::Frame { handle, bytes: bytes.into(), early: true, via };
    assert!(world.events.contains(&early(b"early hello", Via::Control)));
    assert!(world.events.contains(&early(b"early ping", Via::Datagram)));
    assert_eq!(world.events.last(), Some(&QuicEvent::Confirmed { handle }));
    world.events.clear();
    assert!(world.clients[0].conn.accepted_0rtt());

    world.clients[0].send(b"later");
    world.run_until("the frame", |world| !world.events.is_empty());
    let later =
        QuicEvent::Frame { handle, bytes: b"later".as_slice().into(), early: false, via: Via::Control };
    assert_eq!(world.events, [later]);
    let info = world.server.connection(handle).unwrap();
    assert!(info.early && info.confirmed);
}

#[test]
fn an_answer_to_early_data_arrives_before_the_handshake_is_confirmed() {
    let mut world = with_ticket();
    resume(&mut world);
    let handle = world.open_next();
    assert!(!world.server.connection(handle).unwrap().confirmed);
    world.write(handle, b"resumed", Lane::Control);
    world.run_until("the answer", |world| world.clients[0].answers() == [b"resumed"]);
}

#[test]
fn a_replayed_first_flight_delivers_nothing() {
    let mut world = with_ticket();
    resume(&mut world);
    let handle = world.open_next();
    let flight: Vec<_> = world.tape.clone();
    assert!(!flight.is_empty());
    // The same process: the connection is known, its packets are duplicates.
    world.take_frames();
    for (from, bytes) in &flight {
        world.server.handle_datagram(world.now, *from, None, 0, bytes.len(), bytes, &mut world.events);
    }
    assert_eq!(world.take_frames(), Vec::<Vec<u8>>::new());
    // Another shard with the same session cache: the ticket was used up.
    let mut other = QuicEndpoint::new(&config(&world.tls, QuicLimits::default(), 3)).unwrap();
    let mut events = Vec::new();
    for (from, bytes) in &flight {
        other.handle_datagram(world.now, *from, None, 0, bytes.len(), bytes, &mut events);
    }
    assert_eq!(other.handshakes(), 1, "it begins a handshake, and learns nothing early");
    assert_eq!(events, []);
    assert!(world.server.connection(handle).is_some());
}
