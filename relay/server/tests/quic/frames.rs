//! Frames both ways: splitting, size, order, lanes, datagrams, full windows.

use crate::client::{Client, frame, framed};
use crate::world::{Faults, World};
use relay_server::transport::quic::{QuicEvent, QuicLimits, Via, WriteError, Wrote};
use schema_wire::frame::Lane;
use std::time::Duration;

#[test]
fn frames_go_both_ways() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].send(b"hello");
    world.run_until("the frame", |world| !world.events.is_empty());
    let expected =
        QuicEvent::Frame { handle, bytes: b"hello".as_slice().into(), early: false, via: Via::Control };
    assert_eq!(std::mem::take(&mut world.events), [expected]);

    assert_eq!(world.write(handle, b"answer", Lane::Control), Wrote::Stream);
    assert_eq!(world.write(handle, b"delivery", Lane::Conversation(5)), Wrote::Stream);
    world.run_until("both", |world| {
        !world.clients[0].answers().is_empty() && !world.clients[0].deliveries().is_empty()
    });
    assert_eq!(world.clients[0].answers(), [b"answer"]);
    assert_eq!(world.clients[0].deliveries(), [[b"delivery"]]);
    let info = world.server.connection(handle).unwrap();
    assert_eq!(info.server_name.as_deref(), Some(crate::world::NAME));
    assert_eq!((info.peer, info.local_ip), (world.clients[0].address, Some(world.server_address.ip())));
    assert!(info.confirmed && !info.early);
}

#[test]
fn a_frame_sent_byte_by_byte_is_one_frame() {
    let (mut world, _) = World::opened(QuicLimits::default());
    let bytes = [frame(&[1; 70]), frame(&[2; 3])].concat();
    for byte in bytes {
        world.clients[0].send_raw(&[byte]);
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.take_frames(), [vec![1; 70], vec![2; 3]]);
}

#[test]
fn the_longest_frames_pass_both_ways_in_long_sends() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    let longest = vec![7; QuicLimits::default().frame_bytes_max];
    world.clients[0].send(&longest);
    // Longer than the send window, so that part of it waits here.
    let delivery = vec![8; 400 * 1024];
    assert_eq!(world.write(handle, &delivery, Lane::Conversation(1)), Wrote::Stream);
    world.run_until("the long frame", |world| !world.clients[0].deliveries().concat().is_empty());
    assert_eq!(world.clients[0].deliveries(), [[delivery]]);
    world.run_until("the client's frame", |world| !world.events.is_empty());
    assert_eq!(world.take_frames(), [longest]);
    assert!(world.most_segments > 4, "packets to one client share a send");
    assert!(world.most_segments <= 64);
}

#[test]
fn a_lane_the_client_does_not_read_stops_only_itself() {
    let mut world = World::new(QuicLimits::default());
    let address = "198.51.100.7:40000".parse().unwrap();
    let tls = world.tls.client.clone();
    world.clients.push(Client::connect(world.now, tls, address, world.server_address, |transport| {
        transport.stream_receive_window(10_000u32.into());
    }));
    let handle = world.open_next();
    world.write(handle, b"first", Lane::Conversation(1));
    world.run_until("the stream", |world| !world.clients[0].deliveries().concat().is_empty());
    let blocked = *world.clients[0].read.keys().next().unwrap();
    world.clients[0].held.insert(blocked);

    let body = framed(&[1; 1_000]);
    let mut taken = 1;
    world.run_until("the lane is full", |world| {
        match world.server.write_bytes(handle, &body, Lane::Conversation(1)) {
            Ok(_) => {
                taken += 1;
                false
            }
            Err(error) => error == WriteError::Blocked,
        }
    });
    assert!(taken < 20, "{taken} frames in a window of ten");
    for number in 0..50u8 {
        world.write(handle, &[number; 100], Lane::Conversation(2));
        world.run_for(Duration::from_millis(30));
    }
    let other: Vec<_> = world.clients[0].deliveries().into_iter().find(|frames| frames.len() == 50).unwrap();
    assert!(other.iter().zip(0u8..).all(|(frame, number)| frame == &[number; 100]));

    world.events.clear();
    world.clients[0].held.clear();
    world.clients[0].read_all();
    world.run_until("room", |world| world.events.contains(&QuicEvent::Writable { handle }));
    world.run_until("everything held back", |world| world.clients[0].deliveries()[0].len() == taken);
}

#[test]
fn an_answer_overtakes_a_long_delivery() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].send(b"hello");
    world.run_until("the frame", |world| !world.take_frames().is_empty());
    world.write(handle, &[1; 200_000], Lane::Conversation(0));
    world.write(handle, b"answer", Lane::Control);
    world.run_until("the answer", |world| !world.clients[0].answers().is_empty());
    assert_eq!(world.clients[0].deliveries().concat().len(), 0);
    world.run_until("the delivery", |world| world.clients[0].deliveries().concat().len() == 1);
}

#[test]
fn a_client_with_few_streams_gets_the_other_lanes_on_the_control_stream() {
    let mut world = World::new(QuicLimits::default());
    let address = "198.51.100.7:40000".parse().unwrap();
    let tls = world.tls.client.clone();
    world.clients.push(Client::connect(world.now, tls, address, world.server_address, |transport| {
        transport.max_concurrent_uni_streams(2u32.into());
    }));
    let handle = world.open_next();
    let early = framed(b"x");
    for lane in 0..2 {
        assert_eq!(world.server.write_bytes(handle, &early, Lane::Conversation(lane)), Ok(Wrote::Stream));
    }
    assert_eq!(world.server.write_bytes(handle, &early, Lane::Conversation(2)), Err(WriteError::Blocked));
    world.clients[0].send(b"hello");
    world.run_until("room", |world| world.events.contains(&QuicEvent::Writable { handle }));
    for lane in 0..8u8 {
        world.write(handle, &[lane], Lane::Conversation(lane.into()));
    }
    world.run_until("all", |world| {
        world.clients[0].deliveries().concat().len() == 4 && world.clients[0].answers().len() == 6
    });
    assert_eq!(world.clients[0].answers(), [[2], [3], [4], [5], [6], [7]]);
}

#[test]
fn ephemeral_frames_travel_as_datagrams_and_fall_back() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    assert_eq!(world.write(handle, b"typing", Lane::Ephemeral), Wrote::Datagram);
    let long = vec![3; 5_000];
    assert_eq!(world.write(handle, &long, Lane::Ephemeral), Wrote::Dropped);
    world.clients[0].conn.datagrams().send(b"ping".as_slice().into(), true).unwrap();
    world.clients[0].send(b"hello");
    world.run_until("three", |world| world.events.len() == 2 && !world.clients[0].datagrams.is_empty());
    assert_eq!(world.clients[0].datagrams, [b"typing"]);
    assert!(world.events.iter().any(|event| matches!(
        event,
        QuicEvent::Frame { bytes, via: Via::Datagram, early: false, .. } if bytes == "ping"
    )));
    assert_eq!(world.write(handle, &long, Lane::Ephemeral), Wrote::Stream);
    world.run_until("the long one", |world| world.clients[0].answers() == [long.as_slice()]);
    assert_eq!(world.server.counters().ephemeral_dropped, 1);
}

#[test]
fn a_client_without_datagrams_gets_ephemeral_frames_on_the_control_stream() {
    let mut world = World::new(QuicLimits::default());
    let address = "198.51.100.7:40000".parse().unwrap();
    let tls = world.tls.client.clone();
    world.clients.push(Client::connect(world.now, tls, address, world.server_address, |transport| {
        transport.datagram_receive_buffer_size(None);
    }));
    let handle = world.open_next();
    world.clients[0].send(b"hello");
    world.run_until("the frame", |world| !world.events.is_empty());
    assert_eq!(world.server.connection(handle).unwrap().datagram_bytes_max, None);
    assert_eq!(world.write(handle, b"typing", Lane::Ephemeral), Wrote::Stream);
    world.run_until("the frame", |world| world.clients[0].answers() == [b"typing"]);
}

#[test]
fn a_client_that_reads_nothing_holds_a_bounded_backlog_and_loses_nothing() {
    let limits = QuicLimits { send_window_bytes: 50_000, ..QuicLimits::default() };
    let (mut world, handle) = World::opened(limits.clone());
    world.clients[0].hold_all = true;
    let mut taken = vec![0u32; limits.delivery_lanes];
    for round in 0..3_000u32 {
        let lane = round as usize % limits.delivery_lanes;
        let mut body = vec![0; 1_000];
        body[..4].copy_from_slice(&taken[lane].to_be_bytes());
        if world.server.write_bytes(handle, &framed(&body), Lane::Conversation(lane as u64)).is_ok() {
            taken[lane] += 1;
        }
    }
    let total: u32 = taken.iter().sum();
    assert!(total as usize <= 50 + limits.delivery_lanes, "{total} frames of 1 kB in a window of 50 kB");
    world.clients[0].hold_all = false;
    world.run_until("everything", |world| world.clients[0].deliveries().concat().len() == total as usize);
    assert!(world.events.contains(&QuicEvent::Writable { handle }));
    for frames in world.clients[0].deliveries() {
        assert!(frames.iter().zip(0u32..).all(|(frame, number)| frame[..4] == number.to_be_bytes()));
    }
}

#[test]
fn a_client_that_is_not_read_waits_and_goes_on() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.clients[0].send(b"hello");
    world.run_until("the frame", |world| !world.events.is_empty());
    let (now, mut events) = (world.now, Vec::new());
    world.server.set_reading(handle, false, now, &mut events);
    for number in 0..1_000u32 {
        let mut body = vec![0; 1_000];
        body[..4].copy_from_slice(&number.to_be_bytes());
        world.clients[0].send(&body);
    }
    world.take_frames();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.take_frames().len(), 0);
    assert!(world.clients[0].backlog() > 700_000, "more than the window was taken");
    let now = world.now;
    let mut frames = Vec::new();
    world.server.set_reading(handle, true, now, &mut world.events);
    world.run_until("all", |world| {
        frames.extend(world.take_frames());
        frames.len() == 1_000
    });
    assert!(frames.iter().zip(0u32..).all(|(frame, number)| frame[..4] == number.to_be_bytes()));
}

/// Both directions, three lanes and the control stream, through a network that loses, doubles and
/// reorders.
#[test]
fn a_bad_network_changes_nothing_but_time() {
    for seed in 0..12 {
        let mut world = World::seeded(QuicLimits::default(), seed);
        world.faults = Faults { drop: 12, double: 8, jitter: Duration::from_millis(40) };
        world.connect();
        let handle = world.open_next();
        for number in 0..200u16 {
            let length = 2 + world.rng.below(900) as usize;
            let mut body = vec![0; length];
            body[..2].copy_from_slice(&number.to_be_bytes());
            world.clients[0].send(&body);
            world.write(handle, &body, Lane::Conversation(u64::from(number % 3)));
        }
        let mut frames = Vec::new();
        world.run_until("everything", |world| {
            frames.extend(world.take_frames());
            frames.len() == 200 && world.clients[0].deliveries().concat().len() == 200
        });
        assert!(frames.iter().zip(0u16..).all(|(frame, number)| frame[..2] == number.to_be_bytes()));
        for lane in world.clients[0].deliveries() {
            let numbers: Vec<u16> =
                lane.iter().map(|frame| u16::from_be_bytes([frame[0], frame[1]])).collect();
            assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 3), "seed {seed}: {numbers:?}");
        }
        assert!(world.events.iter().all(|event| !matches!(event, QuicEvent::Closed { .. })));
    }
}

#[test]
fn a_client_is_asked_to_acknowledge_less_often() {
    let (mut world, handle) = World::opened(QuicLimits::default());
    world.run_for(Duration::from_secs(1));
    let before = world.server.counters().datagrams_received;
    for _ in 0..80 {
        world.write(handle, &[9; 1_000], Lane::Conversation(1));
        world.run_for(Duration::from_millis(2));
    }
    world.run_for(Duration::from_secs(1));
    let acks = world.server.counters().datagrams_received - before;
    assert!((8..=16).contains(&acks), "{acks} acks of 80 packets");
    assert_eq!(world.clients[0].deliveries().concat().len(), 80);
}
