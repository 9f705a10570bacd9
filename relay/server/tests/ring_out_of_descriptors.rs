//! A process that runs out of descriptors keeps its listener: it accepts again by itself once there are some.
//! Alone in its binary, because the limit holds for the whole process.
#![allow(clippy::unwrap_used, reason = "a failing step fails the test")]

use std::net::TcpStream;
use std::os::fd::OwnedFd;

use relay_server::ring::{Completion, Ring, RingConfig, socket};

/// Turns, sleeping in between, until `enough` completions were noted.
fn turn_until(ring: &mut Ring, mut enough: impl FnMut(Completion<'_>) -> bool) {
    let mut done = false;
    loop {
        ring.turn(&mut |completion| done |= enough(completion)).unwrap();
        if done {
            return;
        }
        ring.wait(None).unwrap();
    }
}

fn set_descriptors_max(rlim_cur: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to locals that outlive the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = rlim_cur;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        before
    }
}

#[test]
fn a_listener_survives_a_shortage_of_descriptors() {
    let mut ring = Ring::new(&RingConfig::default()).unwrap();
    let listener = socket::open_tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let address = socket::local_address(&listener).unwrap();
    ring.add_listener(listener).unwrap();
    let client = TcpStream::connect(address).unwrap();
    let before = set_descriptors_max(3);
    turn_until(&mut ring, |completion| {
        let Completion::AcceptFailed { errno, .. } = completion else { unreachable!() };
        assert_eq!(errno, libc::EMFILE);
        true
    });
    set_descriptors_max(before);
    let mut accepted: Option<OwnedFd> = None;
    turn_until(&mut ring, |completion| match completion {
        Completion::Accepted { socket, peer, .. } => {
            assert_eq!(peer, client.local_addr().unwrap());
            accepted = Some(socket);
            true
        }
        _ => false,
    });
    assert!(accepted.is_some());
}
