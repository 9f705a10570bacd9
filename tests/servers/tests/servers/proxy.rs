//! The proxy: a network that is cut, stalls, or swallows what it was given.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use servers::Proxy;
use servers::proxy::Way;

/// A server that answers each byte with the next one, and the proxy before it.
fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&[byte[0] + 1]).is_ok() {}
            });
        }
    });
    Proxy::to(address)
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    stream.write_all(&[byte])?;
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> std::io::Result<u8> {
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    let error = answer(stream).err().map(|e| e.kind());
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    matches!(error, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut))
}

#[test]
fn a_cut_ends_connections_until_it_heals() {
    let proxy = echo();
    let mut old = connect(&proxy);
    assert_eq!(ask(&mut old, 1).unwrap(), 2);
    assert_eq!(proxy.connections(), 1);
    proxy.cut();
    assert!(answer(&mut old).is_err());
    assert!(ask(&mut connect(&proxy), 1).is_err());
    proxy.heal();
    assert_eq!(ask(&mut connect(&proxy), 1).unwrap(), 2);
}

#[test]
fn a_stall_loses_nothing() {
    let proxy = echo();
    let mut old = connect(&proxy);
    assert_eq!(ask(&mut old, 1).unwrap(), 2);
    proxy.stall();
    old.write_all(&[5]).unwrap();
    let mut new = connect(&proxy);
    new.write_all(&[7]).unwrap();
    assert!(is_silent(&mut old) && is_silent(&mut new));
    proxy.heal();
    assert_eq!((answer(&mut old).unwrap(), answer(&mut new).unwrap()), (6, 8));
    proxy.stall_one_way(Way::Answers);
    old.write_all(&[9]).unwrap();
    assert!(is_silent(&mut old));
    proxy.heal();
    assert_eq!(answer(&mut old).unwrap(), 10);
}

#[test]
fn what_was_swallowed_does_not_come_back() {
    let proxy = echo();
    let mut old = connect(&proxy);
    assert_eq!(ask(&mut old, 1).unwrap(), 2);
    proxy.swallow();
    old.write_all(&[3]).unwrap();
    assert!(is_silent(&mut old), "nobody is told");
    proxy.heal();
    assert!(answer(&mut old).is_err());
    assert_eq!(ask(&mut connect(&proxy), 1).unwrap(), 2);
}

#[test]
fn a_reset_comes_after_so_many_bytes_and_once() {
    let proxy = echo();
    let (mut one, mut other) = (connect(&proxy), connect(&proxy));
    assert_eq!((ask(&mut one, 1).unwrap(), ask(&mut other, 1).unwrap()), (2, 2));
    assert_eq!((proxy.passed(Way::Requests), proxy.passed(Way::Answers)), (2, 2));
    proxy.reset_after(Way::Requests, 3);
    assert_eq!((ask(&mut one, 1).unwrap(), ask(&mut other, 1).unwrap()), (2, 2));
    assert!(!proxy.has_reset());
    // The third goes, and nobody hears of it.
    assert!(ask(&mut one, 1).is_err() && answer(&mut other).is_err());
    assert!(proxy.has_reset());
    assert_eq!(ask(&mut connect(&proxy), 1).unwrap(), 2);
    assert_eq!(proxy.passed(Way::Requests), 6);
}
