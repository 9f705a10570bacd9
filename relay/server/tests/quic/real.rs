//! Real sockets, the real ring, and the `quinn` crate as the other side.

use crate::client::{frame, frames};
use crate::shard::{CLOSE, Node, echo};
use crate::world::{NAME, tls};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use schema_wire::frame::Lane;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

const SHARDS: u8 = 3;

fn client(tls: &Arc<rustls::ClientConfig>) -> Endpoint {
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let crypto = QuicClientConfig::try_from(tls.clone()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint
}

/// Lets a test that would wait for ever fail instead. No test depends on how long anything takes.
async fn bounded(test: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(100), test).await.expect("the test got stuck");
}

/// What the shard sends back for `body`.
fn echoed(body: &[u8]) -> Vec<u8> {
    echo(&body.to_vec().into(), Lane::Control).body().to_vec()
}

/// One stream's frames, one at a time.
struct Frames(RecvStream, Vec<u8>);

impl Frames {
    async fn next(&mut self) -> Vec<u8> {
        loop {
            if let Some(first) = frames(&self.1).into_iter().next() {
                self.1.drain(..frame(&first).len());
                return first;
            }
            let chunk = self.0.read_chunk(usize::MAX, true).await.unwrap().expect("the stream goes on");
            self.1.extend_from_slice(&chunk.bytes);
        }
    }
}

struct Session {
    endpoint: Endpoint,
    conn: Connection,
    send: SendStream,
    answers: Frames,
    deliveries: Option<Frames>,
}

impl Session {
    async fn open(endpoint: Endpoint, conn: Connection) -> Session {
        let (send, recv) = conn.open_bi().await.unwrap();
        Session { endpoint, conn, send, answers: Frames(recv, Vec::new()), deliveries: None }
    }

    /// Sends a frame and waits for its answer and its delivery. The first byte is the conversation, and one
    /// session has one.
    async fn round(&mut self, body: &[u8]) {
        self.send.write_all(&frame(body)).await.unwrap();
        assert_eq!(self.answers.next().await, echoed(body));
        let deliveries = match &mut self.deliveries {
            Some(deliveries) => deliveries,
            None => {
                let stream = self.conn.accept_uni().await.unwrap();
                self.deliveries.insert(Frames(stream, Vec::new()))
            }
        };
        assert_eq!(deliveries.next().await, echoed(body));
    }

    async fn close(mut self) {
        self.send.write_all(&frame(CLOSE)).await.unwrap();
        let ConnectionError::ApplicationClosed(close) = self.conn.closed().await else { panic!() };
        assert_eq!((close.error_code.into_inner(), &close.reason[..]), (4_000, &b"DRAINING"[..]));
        self.endpoint.wait_idle().await;
    }
}

/// Each client changes its port three times; without steering two of three would land on a shard that
/// does not know them.
#[tokio::test]
async fn clients_talk_move_and_are_told_why_they_are_closed() {
    bounded(async {
        let tls = tls();
        let node = Node::start(&tls, SHARDS);
        let mut sessions = Vec::new();
        for number in 0..24u8 {
            let endpoint = client(&tls.client);
            let conn = endpoint.connect(node.address, NAME).unwrap().await.unwrap();
            let mut session = Session::open(endpoint, conn).await;
            session.round(&[number; 100]).await;
            sessions.push(session);
        }
        for turn in 0..3u8 {
            for (session, number) in sessions.iter_mut().zip(0..) {
                session.endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
                session.round(&[number, turn]).await;
            }
        }
        for session in sessions {
            session.close().await;
        }
        let reports = node.stop();
        assert_eq!(reports.iter().map(|report| report.opened).sum::<usize>(), 24);
        assert!(reports.iter().filter(|report| report.opened > 0).count() > 1, "{reports:?}");
        assert!(reports.iter().map(|report| report.moved).sum::<usize>() >= 3 * 24, "{reports:?}");
    })
    .await;
}

#[tokio::test]
async fn long_frames_travel_in_long_sends_and_long_receives() {
    bounded(async {
        let tls = tls();
        let node = Node::start(&tls, 1);
        let endpoint = client(&tls.client);
        let conn = endpoint.connect(node.address, NAME).unwrap().await.unwrap();
        let mut session = Session::open(endpoint, conn).await;
        for _ in 0..8 {
            session.round(&[9; 80_000]).await;
        }
        session.close().await;
        let report = node.stop().remove(0);
        assert!(report.segmented > 0 && report.coalesced > 0, "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_client_resumes_without_a_round_trip_and_pings_by_datagram() {
    bounded(async {
        let tls = tls();
        let node = Node::start(&tls, SHARDS);
        let endpoint = client(&tls.client);
        let conn = endpoint.connect(node.address, NAME).unwrap().await.unwrap();
        let mut session = Session::open(endpoint.clone(), conn).await;
        session.round(b"first").await;
        session.close().await;

        let connecting = endpoint.connect(node.address, NAME).unwrap();
        let Ok((conn, accepted)) = connecting.into_0rtt() else { panic!("the client holds a ticket") };
        let mut session = Session::open(endpoint, conn).await;
        session.round(b"fine").await;
        assert!(accepted.await);
        session.conn.send_datagram(b"ping".as_slice().into()).unwrap();
        assert_eq!(session.conn.read_datagram().await.unwrap(), echoed(b"ping"));
        session.close().await;
        let early: usize = node.stop().iter().map(|report| report.opened_early).sum();
        assert_eq!(early, 1);
    })
    .await;
}
