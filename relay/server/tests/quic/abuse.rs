//! Garbage, broken rules, lost state: typed ends, bounded memory, no panic.

use crate::client::{frame, framed};
use crate::world::{Rng, World, config, keys};
use quinn_proto::{ConnectionError, Dir};
use relay_server::transport::quic::{
    CloseCause, QuicEndpoint, QuicEvent, QuicKeys, QuicLimits, Violation, WriteError,
};
use schema_wire::frame::Lane;
use std::net::SocketAddr;
use std::time::Duration;

/// What the relay reports, and the code the client sees, after the client did `break_rule`.
fn end_of(break_rule: impl FnOnce(&mut World)) -> (CloseCause, u64) {
    let (mut world, _) = World::opened(QuicLimits { frame_bytes_max: 1_000, ..QuicLimits::default() });
    world.clients[0].send(b"good");
    world.run_until("the frame", |world| !world.take_frames().is_empty());
    break_rule(&mut world);
    world.run_until("the close", |world| world.clients[0].lost.is_some());
    let Some(ConnectionError::ApplicationClosed(close)) = &world.clients[0].lost else {
        panic!("{:?}", world.clients[0].lost)
    };
    let code = close.error_code.into_inner();
    let Some(QuicEvent::Closed { cause, .. }) = world.events.pop() else { panic!() };
    (cause, code)
}

fn violation(violation: Violation) -> (CloseCause, u64) {
    (CloseCause::Violation(violation), violation.disconnect().code().into())
}

#[test]
fn each_broken_rule_has_its_end() {
    let raw = |bytes: &'static [u8]| end_of(move |world| world.clients[0].send_raw(bytes));
    assert_eq!(raw(&[0x43, 0xe9]), violation(Violation::FrameTooLarge));
    assert_eq!(raw(&[0xff; 8]), violation(Violation::FrameTooLarge));
    assert_eq!(raw(&[0x40, 0x01]), violation(Violation::LengthNotMinimal));
    assert_eq!(raw(&[0x00]), violation(Violation::EmptyFrame));
    let cut = end_of(|world| {
        world.clients[0].send_raw(&[0x05, 1, 2]);
        world.clients[0].finish();
    });
    assert_eq!(cut, violation(Violation::FrameCutShort));
    let reset = end_of(|world| {
        let id = world.clients[0].control.unwrap();
        world.clients[0].conn.send_stream(id).reset(1u32.into()).unwrap();
    });
    assert_eq!(reset, violation(Violation::ControlReset));
    let stopped = end_of(|world| {
        let id = world.clients[0].control.unwrap();
        world.clients[0].conn.recv_stream(id).stop(1u32.into()).unwrap();
    });
    assert_eq!(stopped, violation(Violation::StreamStopped));
}

/// QUIC lets a client open the next stream once the first is over on both sides; here that is while the
/// relay still flushes a delivery stream.
#[test]
fn a_second_stream_ends_the_connection() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].send(b"last");
    world.run_until("the frame", |world| !world.take_frames().is_empty());
    world.write(handle, &[1; 200_000], Lane::Conversation(0));
    world.clients[0].finish();
    world.run_until("credit for another stream", |world| {
        world.clients[0].control = world.clients[0].conn.streams().open(Dir::Bi);
        world.clients[0].control.is_some()
    });
    world.clients[0].send(b"and another thing");
    world.run_until("the close", |world| world.clients[0].lost.is_some());
    let cause = CloseCause::Violation(Violation::SecondStream);
    assert_eq!(world.events.last(), Some(&QuicEvent::Closed { handle, cause }));
    assert_eq!(world.take_frames(), Vec::<Vec<u8>>::new());
}

#[test]
fn frames_before_the_broken_rule_still_count() {
    let (mut world, _) = World::opened(QuicLimits::default());
    let bytes = [frame(b"one"), frame(b"two"), vec![0]].concat();
    world.clients[0].send_raw(&bytes);
    world.run_until("the close", |world| world.clients[0].lost.is_some());
    assert_eq!(world.take_frames(), [b"one", b"two"]);
}

#[test]
fn a_restarted_relay_resets_what_it_no_longer_knows() {
    for (reset, expected) in [(keys().reset, true), ([9; 32], false)] {
        let (mut world, _) = World::opened(QuicLimits::default());
        world.run_for(Duration::from_secs(1));
        let mut restarted = config(&world.tls, QuicLimits::default(), 2);
        restarted.keys = QuicKeys { reset, ..keys() };
        world.server = QuicEndpoint::new(&restarted).unwrap();
        world.clients[0].send(&[1; 500]);
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.clients[0].lost == Some(ConnectionError::Reset), expected);
        assert_eq!(world.server.connections(), 0);
    }
}

/// Random bytes, and real packets with bits flipped, cut, joined and sent from elsewhere.
#[test]
fn garbage_never_panics_and_never_grows_state() {
    for handshakes_before_retry in [0, 5] {
        let limits = QuicLimits {
            connections_max: 40,
            handshakes_max: 20,
            handshakes_before_retry,
            answers_max: 32,
            ..QuicLimits::default()
        };
        let (mut world, handle) = World::opened(limits);
        world.clients[0].send(&[5; 3_000]);
        world.run_for(Duration::from_secs(1));
        world.take_frames();
        let answers = throw_garbage(&mut world, 8_000);
        assert!(answers <= 32 + 40, "{answers} sends");
        let retries = handshakes_before_retry == 0;
        assert_eq!(world.server.counters().answers_dropped > 0, retries, "{:?}", world.server.counters());
        assert_eq!(world.events, []);
        world.run_for(Duration::from_secs(60));
        assert_eq!((world.server.connections(), world.server.handshakes()), (1, 0));
        world.write(handle, b"alive", Lane::Conversation(0));
        world.run_until("the delivery", |world| world.clients[0].deliveries() == [[b"alive"]]);
    }
}

/// Says how many sends wait afterwards.
fn throw_garbage(world: &mut World, rounds: u32) -> usize {
    let tape = world.tape.clone();
    let mut rng = Rng(0x5eed);
    for round in 0..rounds {
        let bytes = garbage(&mut rng, &tape);
        let stranger = format!("198.51.100.{}:{}", rng.below(250), 1 + rng.below(60_000)).parse().unwrap();
        let from: SocketAddr = if rng.below(3) == 0 { world.clients[0].address } else { stranger };
        let segment = if round % 50 == 0 { round as usize / 50 % 3 } else { bytes.len() };
        let ecn = rng.next() as u8;
        world.server.handle_datagram(world.now, from, None, ecn, segment, &bytes, &mut world.events);
        assert!(world.server.connections() <= 40 && world.server.handshakes() <= 20);
        if round % 500 == 0 {
            world.now += Duration::from_millis(1);
            world.server.handle_timeout(world.now, &mut world.events);
        }
    }
    let mut buf = Vec::new();
    std::iter::from_fn(|| world.server.poll_transmit(world.now, &mut buf)).count()
}

fn garbage(rng: &mut Rng, tape: &[(SocketAddr, Vec<u8>)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = match rng.below(3) {
        0 => (0..rng.below(1_500)).map(|_| rng.next() as u8).collect(),
        _ => tape[rng.below(tape.len() as u64) as usize].1.clone(),
    };
    for _ in 0..rng.below(4) {
        if !bytes.is_empty() {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << rng.below(8);
        }
    }
    match rng.below(6) {
        0 => bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize),
        1 => bytes.extend((0..rng.below(3_000)).map(|_| rng.next() as u8)),
        // A first packet of a new connection: another destination id in a long header.
        2 if bytes.len() > 14 => bytes[6..14].copy_from_slice(&rng.next().to_be_bytes()),
        _ => {}
    }
    bytes
}

#[test]
fn coalesced_segments_are_taken_apart() {
    let (mut world, _) = World::opened(QuicLimits::default());
    let before = world.server.counters().datagrams_received;
    let joined = vec![0x40; 100 * 3 + 7];
    world.server.handle_datagram(world.now, world.clients[0].address, None, 0, 100, &joined, &mut vec![]);
    assert_eq!(world.server.counters().datagrams_received - before, 4);
}

#[test]
fn a_handle_of_a_lost_connection_never_names_its_successor() {
    let (mut world, first) = World::opened(QuicLimits::default());
    let now = world.now;
    world.server.close(now, first, 4_000, "", &mut world.events);
    world.run_for(Duration::from_secs(30));
    world.connect();
    let second = world.open_next();
    assert_ne!(first.to_bits(), second.to_bits());
    assert_eq!(first.to_bits() as u32, second.to_bits() as u32, "the slot is used again");
    let late = world.server.write_bytes(first, &framed(b"x"), Lane::Conversation(0));
    assert_eq!(late, Err(WriteError::Closed));
    assert!(world.server.connection(second).is_some());
}

#[test]
fn a_connection_lost_with_packets_waiting_leaves_nothing_behind() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.write(handle, b"never sent", Lane::Conversation(0));
    let later = world.now + Duration::from_secs(120);
    world.server.handle_timeout(later, &mut world.events);
    let cause = CloseCause::IdleTimeout;
    assert_eq!(world.events, [QuicEvent::Closed { handle, cause }]);
    assert_eq!(world.server.poll_transmit(later, &mut Vec::new()), None);
    assert_eq!((world.server.connections(), world.server.next_timeout()), (0, None));
}
