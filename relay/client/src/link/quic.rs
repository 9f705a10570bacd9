//! A link over QUIC: one control stream both ways, deliveries on streams the server opens, ephemeral datagrams.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig, VarInt,
};
use schema_wire::Encoding;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::address::Address;
use crate::error::ConnectError;
use crate::limits;
use crate::link::{Ends, Inward, Link, Outward, closed_with, decode, framing};
use crate::tls::{Roots, for_quic};

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// Name lookup, handshake and the control stream. The first address that answers is taken.
pub(crate) async fn connect(address: &Address, roots: &Roots) -> Result<Link, ConnectError> {
    let config = config(roots)?;
    let found = tokio::net::lookup_host((address.host.as_str(), address.port));
    let found: Vec<SocketAddr> = found.await.map_err(|e| ConnectError::Link(e.to_string()))?.collect();
    let mut last = ConnectError::Link(format!("{} has no address", address.host));
    for remote in found {
        match handshake(remote, &address.host, config.clone()).await {
            Ok((endpoint, connection)) => return open(endpoint, connection).await,
            Err(e) => last = e,
        }
    }
    Err(last)
}

fn config(roots: &Roots) -> Result<ClientConfig, ConnectError> {
    let tls =
        QuicClientConfig::try_from(for_quic(roots)?).expect("the provider has the initial cipher suite");
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(limits::LANES.into());
    transport.max_concurrent_bidi_streams(0u8.into());
    transport.keep_alive_interval(Some(limits::PING_EVERY / 2));
    transport
        .max_idle_timeout(Some((limits::PING_EVERY + limits::PONG_WITHIN).try_into().expect("seconds fit")));
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

async fn handshake(
    remote: SocketAddr,
    host: &str,
    config: ClientConfig,
) -> Result<(Endpoint, Connection), ConnectError> {
    let any: SocketAddr =
        if remote.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let endpoint = Endpoint::client(any).map_err(|e| ConnectError::Link(e.to_string()))?;
    let connecting =
        endpoint.connect_with(config, remote, host).map_err(|e| ConnectError::Config(e.to_string()))?;
    let connection = connecting.await.map_err(ended)?;
    Ok((endpoint, connection))
}

async fn open(endpoint: Endpoint, connection: Connection) -> Result<Link, ConnectError> {
    let (send, recv) = connection.open_bi().await.map_err(ended)?;
    Ok(Link::new(Encoding::Proto, true, |Ends { out, incoming }, tasks| {
        tasks.spawn(write(send, out, connection.clone()));
        tasks.spawn(read(endpoint, connection, recv, incoming));
    }))
}

/// Frames that wait together go out together.
async fn write(mut send: SendStream, mut out: mpsc::Receiver<Outward>, connection: Connection) {
    let mut buffer = BytesMut::new();
    let mut closing = false;
    while let Some(first) = out.recv().await {
        let mut next = Some(first);
        while let Some(outward) = next {
            match outward {
                Outward::Frame(frame) => framing::write(&mut buffer, &frame),
                Outward::Close => closing = true,
            }
            next = if buffer.len() < READ && !closing { out.try_recv().ok() } else { None };
        }
        if send.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
        if closing {
            let _ = send.finish();
            let _ = tokio::time::timeout(limits::CLOSE, send.stopped()).await;
            break;
        }
    }
    connection.close(VarInt::from_u32(0), b"");
}

/// Reads every stream and the datagrams until the connection ends, and says why last.
async fn read(
    endpoint: Endpoint,
    connection: Connection,
    control: RecvStream,
    incoming: mpsc::Sender<Inward>,
) {
    let mut streams = JoinSet::new();
    streams.spawn(read_stream(control, incoming.clone()));
    streams.spawn(read_datagrams(connection.clone(), incoming.clone()));
    loop {
        tokio::select! {
            lane = connection.accept_uni() => match lane {
                Ok(lane) => drop(streams.spawn(read_stream(lane, incoming.clone()))),
                Err(_) => break,
            },
            // Streams that ended are taken off the list.
            Some(_) = streams.join_next(), if streams.len() > limits::LANES as usize => {}
        }
    }
    while streams.join_next().await.is_some() {}
    let why = connection.closed().await;
    let _ = incoming.send(Inward::Ended(ended(why))).await;
    endpoint.wait_idle().await;
}

async fn read_stream(mut stream: RecvStream, incoming: mpsc::Sender<Inward>) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(chunk)) = stream.read_chunk(READ, true).await {
        buffer.extend_from_slice(&chunk.bytes);
        loop {
            let inward = match framing::read(&mut buffer) {
                Ok(Some(frame)) => decode(&frame, Encoding::Proto),
                Ok(None) => break,
                Err(framing::TooLong) => {
                    Inward::Ended(ConnectError::Protocol("a frame beyond the limit".to_owned()))
                }
            };
            let broken = matches!(inward, Inward::Ended(_));
            if incoming.send(inward).await.is_err() || broken {
                return;
            }
        }
    }
}

/// A datagram is one frame without a length; what can't be decoded is dropped, as any datagram may be.
async fn read_datagrams(connection: Connection, incoming: mpsc::Sender<Inward>) {
    while let Ok(datagram) = connection.read_datagram().await {
        if let frame @ Inward::Frame(_) = decode(&datagram, Encoding::Proto)
            && incoming.send(frame).await.is_err()
        {
            return;
        }
    }
}

fn ended(why: ConnectionError) -> ConnectError {
    match why {
        ConnectionError::ApplicationClosed(close) => {
            closed_with(u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX))
        }
        ConnectionError::TransportError(e) if is_certificate(e.code.into()) => {
            ConnectError::Certificate(e.to_string())
        }
        other => ConnectError::Link(other.to_string()),
    }
}

/// TLS alerts about certificates (RFC 8446 §6.2), as QUIC carries them (RFC 9001 §4.8).
fn is_certificate(code: u64) -> bool {
    matches!(code.checked_sub(0x100), Some(42..=46 | 48 | 51))
}
