//! Floors over loopback: what members hear, whatever carries it and however it is cut.

mod client;
mod commit;
mod parts;

use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use client::{Authority, Client, Cut};

use super::buffered::Buffered;
use super::carrier::{Carrier, Plain};
use super::sealed::Sealed;
use super::{certificate, serve};

/// A floor that runs until this is dropped.
struct Floor {
    port: u16,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Floor {
    fn start<C: Carrier>(terms: C::Terms) -> Self
    where
        C::Terms: Send + 'static,
    {
        let listener = serve::listen().unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || serve::serve::<C>(listener, terms, stopped).unwrap());
        Self { port, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop = None;
        let served = self.thread.take().unwrap().join();
        assert!(served.is_ok() || std::thread::panicking(), "the floor failed");
    }
}

/// Runs on each kind of floor, with a way to connect to it.
fn on_each_kind(check: impl Fn(&dyn Fn(Cut) -> Client)) {
    let authority = Authority::new();
    let config = || certificate::config(&authority.certificate, &authority.key).unwrap();
    let plain = Floor::start::<Plain>(());
    check(&|cut| Client::plain(plain.port, cut));
    for floor in [Floor::start::<Sealed>(config()), Floor::start::<Buffered>(config())] {
        check(&|cut| Client::tls(floor.port, &authority, cut));
    }
}

#[test]
fn members_hear_their_rooms_in_order() {
    on_each_kind(|connect| {
        let [mut both, mut first, mut second, mut publisher] = [(); 4].map(|()| connect(Cut::Whole));
        both.join(0);
        both.join(7);
        first.join(0);
        second.join(7);
        // Joining twice is answered, and nothing comes twice.
        first.join(0);
        let bodies: Vec<Vec<u8>> =
            [0, 1, 125, 126, 127, 70_000, 30].iter().map(|len| body(*len as u8, *len)).collect();
        publisher.publish(bodies.iter().flat_map(|body| [(0, body.as_slice()), (7, body), (3, b"nobody")]));
        for body in &bodies {
            assert_eq!(first.message(), *body);
            assert_eq!(second.message(), *body);
        }
        let (mut heard, mut wanted) = (Vec::new(), Vec::new());
        for body in bodies {
            heard.extend([both.message(), both.message()]);
            wanted.extend([body.clone(), body]);
        }
        heard.sort();
        wanted.sort();
        assert_eq!(heard, wanted);
    });
}

#[test]
fn a_burst_arrives_whole() {
    const PUBLICATIONS: u32 = 10_000;
    on_each_kind(|connect| {
        let mut members = [(); 3].map(|()| connect(Cut::Whole));
        members.iter_mut().for_each(|member| member.join(0));
        let bodies: Vec<Vec<u8>> = (0..PUBLICATIONS)
            .map(|number| {
                let mut body = body(number as u8, 128);
                body[..4].copy_from_slice(&number.to_be_bytes());
                body
            })
            .collect();
        let mut publisher = connect(Cut::Whole);
        let publishing = std::thread::spawn({
            let bodies = bodies.clone();
            move || {
                publisher.publish(bodies.iter().map(|body| (0, body.as_slice())));
                publisher
            }
        });
        for member in &mut members {
            for body in &bodies {
                assert_eq!(member.message(), *body);
            }
        }
        publishing.join().unwrap();
    });
}

#[test]
fn bytes_that_trickle_in_mean_the_same() {
    on_each_kind(|connect| {
        let mut slow = connect(Cut::Bytewise);
        slow.join(1);
        let long = body(9, 300);
        slow.publish([(1, long.as_slice()), (1, b"short")]);
        assert_eq!(slow.message(), long);
        assert_eq!(slow.message(), b"short");
    });
}

#[test]
fn application_bytes_may_come_with_the_end_of_the_handshake() {
    let authority = Authority::new();
    let config = || certificate::config(&authority.certificate, &authority.key).unwrap();
    for floor in [Floor::start::<Sealed>(config()), Floor::start::<Buffered>(config())] {
        let mut hasty = Client::hasty(floor.port, &authority);
        hasty.join(2);
        hasty.publish([(2, b"in time".as_slice())]);
        assert_eq!(hasty.message(), b"in time");
    }
}

#[test]
fn pings_are_answered_and_goodbyes_returned() {
    on_each_kind(|connect| {
        let mut client = connect(Cut::Whole);
        client.frame(super::frames::PING, b"are you there");
        assert_eq!(client.any(), (super::frames::PONG, b"are you there".to_vec()));
        client.frame(super::frames::CLOSE, &1000u16.to_be_bytes());
        assert_eq!(client.any(), (super::frames::CLOSE, 1000u16.to_be_bytes().to_vec()));
        client.must_end();
        let mut other = connect(Cut::Whole);
        other.frame(super::frames::BINARY, &[9, 0, 0, 0, 0]);
        other.must_end();
    });
}

#[test]
fn publications_before_a_goodbye_count() {
    let authority = Authority::new();
    let config = || certificate::config(&authority.certificate, &authority.key).unwrap();
    for floor in [Floor::start::<Sealed>(config()), Floor::start::<Buffered>(config())] {
        let mut member = Client::tls(floor.port, &authority, Cut::Whole);
        member.join(0);
        Client::tls(floor.port, &authority, Cut::Whole).publish_and_part(0, b"farewell");
        assert_eq!(member.message(), b"farewell");
    }
}

#[test]
fn who_leaves_is_missed_by_nobody() {
    on_each_kind(|connect| {
        let mut publisher = connect(Cut::Whole);
        for round in 0..20u8 {
            let (mut stays, mut goes) = (connect(Cut::Whole), connect(Cut::Whole));
            stays.join(5);
            goes.join(5);
            drop(goes);
            publisher.publish([(5, [round; 40].as_slice())]);
            assert_eq!(stays.message(), [round; 40]);
        }
    });
}

/// Bytes that differ from place to place.
fn body(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect()
}
