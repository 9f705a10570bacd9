//! The parts alone: frames and requests cut anywhere, sockets that are full.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::body;
use super::client::{push_masked, server_frame};
use crate::floor::frames::{BINARY, push, split};
use crate::floor::link::{Budget, Link};
use crate::floor::upgrade::{accept, answer};

const REQUEST: &[u8] =
    b"GET /floor HTTP/1.1\r\nHost: server.example.com\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";

#[test]
fn the_key_is_accepted_as_in_the_example_of_rfc_6455() {
    assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn a_request_is_answered_once_it_is_whole() {
    let mut out = Vec::new();
    for end in 0..REQUEST.len() {
        assert_eq!(answer(&REQUEST[..end], &mut out).unwrap(), None);
    }
    assert!(out.is_empty());
    let with_more = [REQUEST, b"more"].concat();
    assert_eq!(answer(&with_more, &mut out).unwrap(), Some(REQUEST.len()));
    assert!(String::from_utf8(out).unwrap().ends_with("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"));
}

#[test]
fn other_requests_are_refused() {
    for (from, to) in
        [("/floor", "/other"), ("GET", "PUT"), (": 13", ": 8"), ("WebSocket", "h2c"), ("-key", "-k")]
    {
        let request = String::from_utf8(REQUEST.to_vec()).unwrap().replace(from, to);
        assert!(answer(request.as_bytes(), &mut Vec::new()).is_err(), "{to}");
    }
    assert!(
        answer(&[b"GET /floor HTTP/1.1\r\na: ".to_vec(), vec![b'a'; 9000]].concat(), &mut Vec::new())
            .is_err()
    );
}

#[test]
fn frames_may_end_at_every_byte() {
    for len in [0, 1, 5, 125, 126, 127, 300, 65_535, 65_536, 70_000] {
        let (payload, mut bytes) = (body(1, len), Vec::new());
        push_masked(BINARY, &payload, &mut bytes);
        let step = if len > 1000 { 997 } else { 1 };
        for end in (0..bytes.len()).step_by(step) {
            assert_eq!(split(&bytes[..end]).unwrap(), None, "{end} of {len}");
        }
        let whole = bytes.len();
        bytes.extend_from_slice(b"the next");
        let (frame, taken) = split(&bytes).unwrap().unwrap();
        assert_eq!((frame.opcode, taken), (BINARY, whole));
        for skip in (0..=9.min(len)).rev() {
            let mut out = b"before".to_vec();
            frame.forward(BINARY, skip, &mut out);
            let (opcode, header_len, forwarded) = server_frame(&out[6..]).unwrap();
            assert_eq!((opcode, forwarded), (BINARY, len - skip));
            assert_eq!(out[6 + header_len..], payload[skip..]);
        }
        let head = frame.head::<5>();
        assert_eq!(head.ok().as_ref().map(<[u8; 5]>::as_slice), payload.get(..5));
    }
}

#[test]
fn frames_that_clients_may_not_send_are_refused() {
    let unmasked = [0x82, 1, 7];
    let fragment = [0x02, 0x81, 1, 2, 3, 4, 5];
    let reserved = [0xc2, 0x81, 1, 2, 3, 4, 5];
    let huge = [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    for refused in [unmasked.as_slice(), &fragment, &reserved, &huge] {
        assert!(split(refused).is_err(), "{refused:?}");
    }
}

fn full_link() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    (Link::new(near), far)
}

#[test]
fn what_a_socket_does_not_take_waits_in_order() {
    const BYTES: usize = 24 << 20;
    let (mut link, mut far) = full_link();
    let (sent, mut budget) = (body(3, BYTES), Budget::new(BYTES));
    for (number, part) in sent.chunks(1 << 20).enumerate() {
        if number % 2 == 0 {
            link.send(part, &mut budget).unwrap();
        } else {
            let (first, second) = part.split_at(1000);
            let parts = [first, second].map(std::io::IoSlice::new);
            assert_eq!(link.writer(&mut budget).write_vectored(&parts).unwrap(), part.len());
        }
    }
    assert!(link.is_behind());
    let reading = std::thread::spawn(move || {
        let mut received = vec![0; BYTES];
        far.read_exact(&mut received).unwrap();
        received
    });
    while link.is_behind() {
        link.catch_up(&mut budget).unwrap();
        std::thread::yield_now();
    }
    assert!(reading.join().unwrap() == sent);
    // Nothing counts as waiting any more.
    let (mut other, _far) = full_link();
    other.send(&sent, &mut budget).unwrap();
    other.abandon(&mut budget);
    assert!(!other.is_behind());
}

#[test]
fn too_much_that_waits_is_an_error() {
    let (mut link, _far) = full_link();
    let mut budget = Budget::new(1 << 20);
    let part = vec![0; 1 << 20];
    let refused = (0..64).find(|_| link.send(&part, &mut budget).is_err());
    assert!(refused.is_some());
}

#[test]
fn server_frames_have_the_shortest_header() {
    for (len, header_len) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
        let mut out = Vec::new();
        push(BINARY, &body(2, len), &mut out);
        assert_eq!(server_frame(&out), Some((BINARY, header_len, len)));
    }
}
