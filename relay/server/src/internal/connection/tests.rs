//! Peers that do not read and heads that dribble, over real sockets.

use std::net::SocketAddr;

use super::*;
use crate::internal::Route;

/// More than the kernel keeps for a peer that does not read.
const LARGE_BYTES: usize = 64 << 20;
/// A deadline that no test waits for.
const NEVER: Duration = Duration::from_secs(600);
/// What is to happen has happened long before; a test that waits for this has failed.
const STUCK: Duration = Duration::from_secs(60);

/// Health is a word, figures are more than a socket holds.
#[derive(Clone)]
struct Known;

impl Answers for Known {
    fn exchange(&self) -> Exchange {
        Exchange::new(true)
    }

    async fn answer(&self, request: Request) -> Vec<u8> {
        match request.route {
            Route::Health => b"well".to_vec(),
            _ => vec![b'1'; LARGE_BYTES],
        }
    }

    async fn obey(&self, _: Order, _: bool) -> Vec<u8> {
        Vec::new()
    }
}

/// A listener with one place.
async fn listen(patience: Patience) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(accept(listener, 1, patience, Known));
    address
}

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Everything that comes until the other side ends it, in whichever way.
async fn all_of(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got).await;
    got
}

#[tokio::test]
async fn a_peer_that_does_not_read_loses_its_place() {
    let address = listen(Patience { head: NEVER, answer: Duration::from_millis(50) }).await;
    let mut deaf = ask(address, "/metrics").await;
    let mut next = ask(address, "/health").await;
    let answer = timeout(STUCK, all_of(&mut next)).await.expect("there is a place");
    assert_eq!(answer, b"well");
    assert!(all_of(&mut deaf).await.len() < LARGE_BYTES, "it was cut off in the middle");
}

#[tokio::test]
async fn a_head_that_dribbles_is_cut() {
    let address = listen(Patience { head: Duration::from_secs(1), answer: NEVER }).await;
    let (mut heard, mut said) = TcpStream::connect(address).await.unwrap().into_split();
    let dribble = tokio::spawn(async move {
        let _ = said.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\nX: ").await;
        while said.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut got = Vec::new();
    let _ = timeout(STUCK, heard.read_to_end(&mut got)).await.expect("it was cut");
    assert!(got.is_empty(), "nothing was asked");
    dribble.abort();
}

#[tokio::test]
async fn each_head_has_its_own_deadline() {
    let address = listen(Patience { head: STUCK, answer: STUCK }).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"well");
    }
}
