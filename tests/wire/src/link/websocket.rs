//! A link over TLS WebSocket.

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::ServerName;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{Carrier, Incoming, Inlet, Link, Out};
use crate::{Server, tls};

/// Small, so that a paused link soon holds the relay's sends back.
const RECEIVE_BUFFER: u32 = 64 * 1024;

/// A TLS connection.
pub type Tls = TlsStream<TcpStream>;
/// The sending half.
pub type Sink = SplitSink<WebSocketStream<Tls>, Message>;

/// TCP and TLS, without the upgrade.
pub async fn connect(server: &Server) -> Tls {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("a size the kernel takes");
    let tcp = socket.connect(server.relay()).await.expect("the relay listens");
    tcp.set_nodelay(true).expect("TCP has it");
    secure(server, tcp).await
}

/// Whether a TLS handshake comes to its end.
pub async fn reaches(server: &Server) -> bool {
    let Ok(tcp) = TcpStream::connect(server.relay()).await else { return false };
    let connector = TlsConnector::from(Arc::new(tls::config(&server.ca(), "http/1.1")));
    connector.connect(ServerName::from(server.relay().ip()), tcp).await.is_ok()
}

/// TLS on a connection that a proxy opened for `client`.
pub async fn connect_for(server: &Server, client: Ipv4Addr) -> Tls {
    let mut tcp = TcpStream::connect(server.relay()).await.expect("the relay listens");
    // PROXY protocol version 2, TCP over IPv4: addresses, then ports.
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend_from_slice(&client.octets());
    header.extend_from_slice(&[127, 0, 0, 1, 0xc0, 0x01, 0x20, 0xfb]);
    tcp.write_all(&header).await.expect("the relay reads it");
    secure(server, tcp).await
}

async fn secure(server: &Server, tcp: TcpStream) -> Tls {
    let connector = TlsConnector::from(Arc::new(tls::config(&server.ca(), "http/1.1")));
    let name = ServerName::from(server.relay().ip());
    connector.connect(name, tcp).await.expect("the authority signed the certificate")
}

/// Connects with one subprotocol.
pub async fn open(server: &Server, carrier: Carrier, subprotocol: &str) -> Link {
    open_with(server, carrier, &[("Sec-WebSocket-Protocol", subprotocol)]).await
}

/// Connects with headers of choice.
pub async fn open_with(server: &Server, carrier: Carrier, headers: &[(&'static str, &str)]) -> Link {
    upgrade(server, connect(server).await, carrier, headers).await
}

/// Turns a TLS connection into a WebSocket.
pub async fn upgrade(
    server: &Server,
    stream: Tls,
    carrier: Carrier,
    headers: &[(&'static str, &str)],
) -> Link {
    let url = format!("wss://{}/ws", server.relay());
    let mut request = url.into_client_request().expect("a URL");
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().expect("a header value"));
    }
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("an upgrade");
    let (sink, stream) = socket.split();
    Link::new(carrier, |inlet| {
        let reader = tokio::spawn(read(stream, inlet, carrier));
        (Out::WebSocket(Box::new(sink)), reader)
    })
}

/// Sends bytes as one message.
pub async fn send(sink: &mut Sink, bytes: Vec<u8>, carrier: Carrier) {
    let message = match carrier {
        Carrier::Json => Message::Text(Utf8Bytes::try_from(bytes).expect("JSON is text")),
        _ => Message::Binary(bytes.into()),
    };
    // A closed connection shows when reading.
    let _ = sink.send(message).await;
}

async fn read(mut stream: SplitStream<WebSocketStream<Tls>>, mut inlet: Inlet, carrier: Carrier) {
    loop {
        inlet.wanted().await;
        let message = stream.next().await;
        inlet.wanted().await;
        let closed = match message {
            Some(Ok(Message::Binary(bytes))) if carrier != Carrier::Json => {
                if inlet.frame(&bytes, carrier.encoding()).await { continue } else { return }
            }
            Some(Ok(Message::Text(text))) if carrier == Carrier::Json => {
                if inlet.frame(text.as_bytes(), carrier.encoding()).await { continue } else { return }
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(Some(close)))) => {
                Incoming::Closed { code: Some(close.code.into()), reason: close.reason.to_string() }
            }
            Some(Ok(other)) => Incoming::Closed { code: None, reason: format!("{other:?}") },
            Some(Err(e)) => Incoming::Closed { code: None, reason: e.to_string() },
            None => Incoming::Closed { code: None, reason: "end of stream".into() },
        };
        let _ = inlet.incoming.send(closed).await;
        // The closing handshake ends by reading on.
        while let Some(Ok(_)) = stream.next().await {}
        return;
    }
}
