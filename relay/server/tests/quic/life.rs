//! The life of a connection: admission, moving, keys, silence, closing from either side.

use crate::client::{Client, framed};
use crate::world::{SHARD, World, config};
use quinn_proto::{ConnectionError, Dir, Side, TransportErrorCode};
use relay_server::transport::quic::{
    CloseCause, Issuer, QuicEndpoint, QuicEvent, QuicHandle, QuicKeys, QuicLimits, WriteError,
};
use schema_wire::frame::Lane;
use std::time::Duration;

/// The application code the client was closed with.
fn code_seen(client: &Client) -> Option<u64> {
    match &client.lost {
        Some(ConnectionError::ApplicationClosed(close)) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

fn closed(world: &World, handle: QuicHandle) -> Option<CloseCause> {
    world.events.iter().find_map(|event| match event {
        QuicEvent::Closed { handle: of, cause } if *of == handle => Some(cause.clone()),
        _ => None,
    })
}

fn exchange(world: &mut World, handle: QuicHandle) {
    world.clients[0].send(b"still here");
    world.run_until("the client's frame", |world| world.take_frames() == [b"still here"]);
    let before = world.clients[0].deliveries().concat().len();
    world.write(handle, b"and here", Lane::Conversation(3));
    world.run_until("the delivery", |world| world.clients[0].deliveries().concat().len() > before);
}

#[test]
fn the_client_may_open_one_stream_and_no_more() {
    let (mut world, _) = World::opened(QuicLimits::default());
    let conn = &mut world.clients[0].conn;
    assert!(conn.streams().open(Dir::Bi).is_some());
    assert!(conn.streams().open(Dir::Bi).is_none());
    assert!(conn.streams().open(Dir::Uni).is_none());
    assert_eq!(conn.side(), Side::Client);
}

#[test]
fn packets_name_the_shard_once_the_client_knows_our_id() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    exchange(&mut world, handle);
    let short: Vec<_> = world.tape.iter().filter(|(_, bytes)| bytes[0] & 0x80 == 0).collect();
    assert!(!short.is_empty());
    for (_, bytes) in short {
        assert_eq!(Issuer::of(&bytes[1..13]).unwrap().shard, SHARD);
    }
}

#[test]
fn a_client_that_moves_keeps_its_connection() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    exchange(&mut world, handle);
    let moved = "203.0.113.9:5555".parse().unwrap();
    world.clients[0].address = moved;
    world.clients[0].conn.ping();
    world.run_until("the move", |world| world.events.contains(&QuicEvent::PeerMoved { handle, peer: moved }));
    exchange(&mut world, handle);
    assert_eq!(world.server.connection(handle).unwrap().peer, moved);
}

#[test]
fn either_side_may_change_keys() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    for _ in 0..3 {
        exchange(&mut world, handle);
        world.clients[0].conn.force_key_update();
        exchange(&mut world, handle);
        world.run_for(Duration::from_secs(2));
    }
}

#[test]
fn a_close_shows_its_code_and_the_handle_is_dead() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    let now = world.now;
    world.server.close(now, handle, 4_001, "slow reader", &mut world.events);
    assert_eq!(closed(&world, handle), Some(CloseCause::Local(4_001)));
    world.run_until("the close", |world| world.clients[0].lost.is_some());
    assert_eq!(code_seen(&world.clients[0]), Some(4_001));
    let late = framed(b"late");
    assert_eq!(world.server.write_bytes(handle, &late, Lane::Control), Err(WriteError::Closed));
    assert_eq!(world.server.connection(handle), None);
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.server.connections(), 0);
    assert_eq!(world.events.len(), 1, "closed once");
}

#[test]
fn a_close_after_flush_comes_after_everything_queued() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].send(b"hello");
    world.run_until("the frame", |world| !world.take_frames().is_empty());
    for number in 0..20u8 {
        world.write(handle, &vec![number; 30_000], Lane::Conversation(u64::from(number % 8)));
        world.run_for(Duration::from_millis(50));
    }
    world.write(handle, b"goodbye", Lane::Control);
    // Longer than the send window, so that part of it waits outside the connection.
    world.write(handle, &[8; 400_000], Lane::Conversation(8));
    let now = world.now;
    world.server.close_after_flush(now, handle, 4_007, "draining", &mut world.events);
    assert_eq!(closed(&world, handle), None);
    assert_eq!(world.server.write_bytes(handle, &framed(b"late"), Lane::Control), Err(WriteError::Closed));
    world.run_until("the close", |world| world.clients[0].lost.is_some());
    assert_eq!(code_seen(&world.clients[0]), Some(4_007));
    assert_eq!(closed(&world, handle), Some(CloseCause::Local(4_007)));
    let frames = world.clients[0].deliveries().concat();
    assert_eq!(frames.len(), 21);
    assert!(frames.contains(&vec![8; 400_000]));
    assert_eq!(world.clients[0].answers(), [b"goodbye"]);
}

#[test]
fn a_flush_nobody_reads_ends_at_its_deadline() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].hold_all = true;
    for _ in 0..20 {
        let _ = world.server.write_bytes(handle, &framed(&[1; 200_000]), Lane::Conversation(1));
    }
    world.run_for(Duration::from_millis(500));
    let now = world.now;
    world.server.close_after_flush(now, handle, 4_007, "draining", &mut world.events);
    world.clients.clear();
    world.run_for(Duration::from_secs(3));
    assert_eq!(closed(&world, handle), Some(CloseCause::Local(4_007)));
}

#[test]
fn a_client_that_is_done_is_answered_in_full() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].send(b"last");
    world.clients[0].finish();
    world.run_until("the frame", |world| world.take_frames() == [b"last"]);
    world.run_until("the end", |world| world.clients[0].lost.is_some());
    assert_eq!(code_seen(&world.clients[0]), Some(0));
    assert_eq!(closed(&world, handle), Some(CloseCause::ClientFinished));
}

#[test]
fn a_client_that_closes_is_reported_with_its_code() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].send(b"last words");
    let now = world.now;
    world.run_for(Duration::from_millis(15));
    world.clients[0].conn.close(now, 17u32.into(), "bye".into());
    world.run_until("the close", |world| closed(world, handle).is_some());
    assert_eq!(closed(&world, handle), Some(CloseCause::Client(17)));
    assert_eq!(world.take_frames(), [b"last words"]);
}

#[test]
fn silence_ends_a_connection_and_a_quiet_client_does_not_fall_silent() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.run_for(Duration::from_secs(600));
    assert_eq!(closed(&world, handle), None);
    exchange(&mut world, handle);
    world.clients.clear();
    world.run_for(Duration::from_secs(120));
    assert_eq!(closed(&world, handle), Some(CloseCause::IdleTimeout));
    assert_eq!(world.server.connections(), 0);
}

#[test]
fn many_handshakes_ask_for_proof_and_another_shard_honours_it() {
    let limits = QuicLimits { handshakes_before_retry: 0, ..QuicLimits::default() };
    let mut world = World::new(limits.clone());
    world.connect();
    world.run_until("Retry", |world| world.server.counters().retried == 1);
    assert_eq!(world.server.connections(), 0, "Retry keeps no state");
    world.run_for(Duration::from_millis(11));
    let other = QuicEndpoint::new(&config(&world.tls, limits, 2)).unwrap();
    world.server = other;
    let handle = world.open_next();
    exchange(&mut world, handle);
    assert_eq!(world.server.counters().retried, 0);
}

#[test]
fn a_node_honours_the_proof_that_a_node_with_the_same_secret_asked_for_and_no_other() {
    for same in [true, false] {
        let limits = QuicLimits { handshakes_before_retry: 0, ..QuicLimits::default() };
        let mut world = World::new(limits.clone());
        world.connect();
        world.run_until("Retry", |world| world.server.counters().retried == 1);
        world.run_for(Duration::from_millis(11));
        let mut other = config(&world.tls, limits, 2);
        other.issuer.node += 1;
        // What each node has for itself does not matter.
        other.keys = QuicKeys { retry: [if same { 1 } else { 3 }; 32], reset: [9; 32] };
        world.server = QuicEndpoint::new(&other).unwrap();
        if same {
            let handle = world.open_next();
            exchange(&mut world, handle);
            assert_eq!(world.server.counters().retried, 0);
        } else {
            world.run_for(Duration::from_secs(20));
            assert!(!world.clients[0].connected && world.server.connections() == 0);
        }
    }
}

#[test]
fn connections_beyond_the_bound_and_while_draining_are_refused() {
    let limits = QuicLimits {
        connections_max: 2,
        handshakes_max: 2,
        handshakes_before_retry: 2,
        ..QuicLimits::default()
    };
    let mut world = World::new(limits);
    for _ in 0..2 {
        world.connect();
        world.open_next();
    }
    let third = world.connect();
    world.run_until("the refusal", |world| world.clients[third].lost.is_some());
    let refused = |client: &Client| {
        matches!(&client.lost, Some(ConnectionError::ConnectionClosed(close))
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED)
    };
    assert!(refused(&world.clients[third]));
    assert_eq!(world.server.connections(), 2);

    let mut world = World::new(QuicLimits::default());
    world.connect();
    let handle = world.open_next();
    world.server.drain();
    let late = world.connect();
    world.run_until("the refusal", |world| world.clients[late].lost.is_some());
    assert!(refused(&world.clients[late]));
    exchange(&mut world, handle);
}

#[test]
fn a_handshake_that_stalls_is_cut_and_freed() {
    let mut world = World::new(QuicLimits::default());
    world.connect();
    world.run_for(Duration::from_millis(11));
    assert_eq!(world.server.handshakes(), 1);
    world.clients.clear();
    world.run_for(Duration::from_secs(60));
    assert_eq!((world.server.handshakes(), world.server.connections()), (0, 0));
    assert_eq!(world.server.counters().handshake_timeouts, 1);
    assert_eq!(world.events, []);
}

#[test]
fn a_client_of_another_protocol_is_turned_away() {
    let mut world = World::new(QuicLimits::default());
    let mut tls = (*world.tls.client).clone();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let address = "198.51.100.7:40000".parse().unwrap();
    let now = world.now;
    world.clients.push(Client::connect(now, tls.into(), address, world.server_address, |_| {}));
    world.run_until("the refusal", |world| world.clients[0].lost.is_some());
    let Some(ConnectionError::ConnectionClosed(close)) = &world.clients[0].lost else { panic!() };
    assert_eq!(u64::from(close.error_code), 0x178, "no_application_protocol");
    assert_eq!(world.events, []);
}

#[test]
fn keys_change_again_and_again_after_the_handshake_is_forgotten() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    for _ in 0..4 {
        world.run_for(Duration::from_secs(5));
        world.clients[0].conn.force_key_update();
        exchange(&mut world, handle);
    }
    let name = world.server.connection(handle).unwrap().server_name;
    assert_eq!(name.as_deref(), Some(crate::world::NAME));
}
