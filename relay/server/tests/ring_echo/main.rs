//! Drives the ring as a shard does – one task on a pinned glommio executor – against plain blocking sockets,
//! and checks that every byte comes back and that nothing is left behind.
#![allow(clippy::unwrap_used, reason = "a failing step fails the test")]

mod echo;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use echo::{Echo, Report};
use relay_server::ring::RingConfig;

const CONNECTIONS: usize = 200;
const CLIENT_THREADS: usize = 20;
const MESSAGES: usize = 50;
/// Bounds a broken test; a working one never waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A small generator, so that runs are alike.
struct Sequence(u64);

impl Sequence {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % below
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|place| (place.wrapping_mul(31) ^ seed) as u8).collect()
}

/// Ten connections take turns; every third is dropped half-way with an answer still due.
fn talk(address: SocketAddr, seed: u64) -> usize {
    let mut sequence = Sequence(seed);
    let mut streams: Vec<_> = (0..CONNECTIONS / CLIENT_THREADS).map(|_| Some(connect(address))).collect();
    let mut echoed = 0;
    for message in 0..MESSAGES {
        for (place, slot) in streams.iter_mut().enumerate() {
            let Some(stream) = slot else { continue };
            let bytes = pattern(1 + sequence.next(9_000), message ^ place);
            stream.write_all(&bytes).unwrap();
            if place % 3 == 0 && sequence.next(MESSAGES) == 0 {
                *slot = None;
                continue;
            }
            let mut back = vec![0; bytes.len()];
            stream.read_exact(&mut back).unwrap();
            assert!(back == bytes, "message {message} came back changed");
            echoed += bytes.len();
        }
    }
    for stream in streams.into_iter().flatten() {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        (&stream).read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "the server closes after it has echoed everything, and sends nothing more");
    }
    echoed
}

/// Writes more than all buffers hold and reads nothing until the server has pushed back.
fn flood(echo: &Echo) {
    let bytes = pattern(24 * 1024 * 1024, 7);
    let mut stream = connect(echo.tcp);
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&bytes).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        while echo.pauses.load(Ordering::SeqCst) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
    });
}

fn set_option(socket: &UdpSocket, level: i32, name: i32, value: i32) {
    // SAFETY: the pointer and size describe a local integer that outlives the call.
    let answer = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size_of::<i32>() as u32)
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}

/// Sends batches of ten segments in one GSO send and wants each datagram back on its own.
fn talk_datagrams(address: SocketAddr) {
    const SEGMENT: usize = 1200;
    const UDP_SEGMENT: i32 = 103;
    const ECT0: i32 = 0b10;
    let own_ip: IpAddr =
        if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let socket = UdpSocket::bind((own_ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    set_option(&socket, libc::SOL_UDP, UDP_SEGMENT, SEGMENT as i32);
    match address {
        SocketAddr::V4(_) => set_option(&socket, libc::IPPROTO_IP, libc::IP_TOS, ECT0),
        SocketAddr::V6(_) => set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, ECT0),
    }
    socket.connect(address).unwrap();
    for round in 0..100 {
        let bytes = pattern(SEGMENT * 10 - 300, round);
        assert_eq!(socket.send(&bytes).unwrap(), bytes.len());
        let mut back = Vec::new();
        while back.len() < bytes.len() {
            let mut datagram = [0; 2000];
            let len = socket.recv(&mut datagram).unwrap();
            assert!(len == SEGMENT || len == SEGMENT - 300, "segments keep their size, got {len}");
            back.extend_from_slice(&datagram[..len]);
        }
        assert!(back == bytes, "round {round} came back changed");
    }
}

/// Descriptors of this process, without the one that counts them.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// An executor of glommio 0.9 leaves an eventfd behind; whatever that is must not be blamed on the ring.
fn descriptors_of_an_executor() -> usize {
    let before = descriptors();
    glommio::LocalExecutorBuilder::default().spawn(|| async {}).unwrap().join().unwrap();
    descriptors() - before
}

fn run(config: RingConfig, clients: impl FnOnce(&Echo)) -> Report {
    let before = descriptors() + 2 * descriptors_of_an_executor();
    let echo = Echo::start(config);
    let report = serve(echo, clients);
    assert_eq!(descriptors(), before, "every descriptor is closed again");
    report
}

fn serve(echo: Echo, clients: impl FnOnce(&Echo)) -> Report {
    clients(&echo);
    echo.stop()
}

#[test]
fn every_byte_comes_back_and_nothing_is_left_behind() {
    let report = run(RingConfig::default(), |echo| {
        std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENT_THREADS).map(|seed| scope.spawn(move || talk(echo.tcp, seed as u64))).collect();
            scope.spawn(|| talk_datagrams(echo.udp));
            scope.spawn(|| flood(echo));
            let echoed: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
            assert!(echoed > 0);
        });
    });
    assert_eq!(report.peers.len(), CONNECTIONS + 1);
    assert!(report.coalesced_datagrams > 0, "GRO hands several datagrams over at once");
    assert_eq!(report.ecn_seen, vec![0b10]);
}

#[test]
fn too_few_buffers_slow_down_but_lose_nothing() {
    let config = RingConfig {
        submissions: 8,
        completions: 16,
        receive_buffers: 4,
        receive_buffer_bytes: 512,
        datagram_buffers: 2,
        datagram_sends_max: 2,
        ..RingConfig::default()
    };
    let report = run(config, |echo| {
        std::thread::scope(|scope| {
            for seed in 0..CLIENT_THREADS {
                scope.spawn(move || talk(echo.tcp, seed as u64));
            }
            scope.spawn(|| talk_datagrams(echo.udp));
        });
    });
    assert!(report.starved > 0, "four buffers do not suffice for 200 connections");
}

#[test]
fn a_dual_stack_socket_answers_both_families_from_the_address_they_used() {
    let echo = Echo::start_on(Ipv6Addr::UNSPECIFIED.into(), RingConfig::default());
    let report = serve(echo, |echo| {
        for ip in [IpAddr::from(Ipv4Addr::new(127, 0, 0, 9)), Ipv6Addr::LOCALHOST.into()] {
            talk_datagrams((ip, echo.udp.port()).into());
            let mut stream = connect((ip, echo.tcp.port()).into());
            stream.write_all(b"both").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
        }
    });
    assert_eq!(report.ecn_seen, vec![0b10]);
    let peers: Vec<_> = report.peers.iter().map(|peer| peer.is_ipv4()).collect();
    assert_eq!(peers, [true, false], "an IPv4 peer is named by its IPv4 address");
}

#[test]
fn another_thread_wakes_a_parked_shard() {
    run(RingConfig::default(), |echo| {
        let (answer, answers) = mpsc::channel();
        for ping in 0..2_000 {
            echo.inbox.send((ping, answer.clone())).unwrap();
            echo.waker.wake();
            assert_eq!(answers.recv_timeout(PATIENCE), Ok(ping));
        }
    });
}

#[test]
fn a_ring_dropped_with_everything_in_flight_closes_all() {
    let before = descriptors() + 2 * descriptors_of_an_executor();
    let echo = Echo::start(RingConfig::default());
    let mut streams: Vec<_> = (0..20).map(|_| connect(echo.tcp)).collect();
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    echo.abandon();
    for stream in &mut streams {
        let end = stream.read(&mut [0]);
        assert!(matches!(end, Ok(0) | Err(_)), "the peer learns that the shard is gone");
    }
    drop(streams);
    assert_eq!(descriptors(), before);
}
