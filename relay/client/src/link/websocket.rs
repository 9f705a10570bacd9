//! A link over TLS WebSocket: one message per frame, binary or text by the subprotocol.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::ServerName;
use schema_wire::Encoding;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::address::Address;
use crate::error::ConnectError;
use crate::limits;
use crate::link::{Ends, Inward, Link, Outward, closed_with, decode};
use crate::tls::{Roots, for_websocket};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// TCP, TLS and the upgrade.
pub(crate) async fn connect(
    address: &Address,
    roots: &Roots,
    encoding: Encoding,
) -> Result<Link, ConnectError> {
    let request = request(address, encoding)?;
    let tls = TlsConnector::from(for_websocket(roots)?);
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| ConnectError::Config(format!("{} is not a server name", address.host)))?;
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(link)?;
    tcp.set_nodelay(true).map_err(link)?;
    let stream = tls.connect(name, tcp).await.map_err(tls_error)?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::SERVER_FRAME_BYTES))
        .max_frame_size(Some(limits::SERVER_FRAME_BYTES));
    let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config))
        .await
        .map_err(upgrade_error)?;
    Ok(start(socket, encoding))
}

fn request(address: &Address, encoding: Encoding) -> Result<Request<()>, ConnectError> {
    let bad = |_| ConnectError::Config(format!("{address}{} is not a URL", address.path));
    let url = format!("wss://{}{}", address.authority(), address.path);
    let mut request = url.into_client_request().map_err(bad)?;
    let subprotocol = match encoding {
        Encoding::Proto => "relay.v1.proto",
        Encoding::Json => "relay.v1.json",
    };
    request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(subprotocol));
    Ok(request)
}

fn start(socket: Socket, encoding: Encoding) -> Link {
    let (sink, stream) = socket.split();
    Link::new(encoding, false, |ends, tasks| {
        let Ends { out, incoming } = ends;
        tasks.spawn(write(sink, out, encoding));
        tasks.spawn(read(stream, incoming, encoding));
    })
}

/// Frames that wait together go out together.
async fn write(mut sink: SplitSink<Socket, Message>, mut out: mpsc::Receiver<Outward>, encoding: Encoding) {
    while let Some(first) = out.recv().await {
        let mut next = Some(first);
        while let Some(outward) = next {
            let message = match outward {
                Outward::Frame(bytes) if encoding == Encoding::Proto => Message::Binary(bytes),
                Outward::Frame(bytes) => match Utf8Bytes::try_from(bytes) {
                    Ok(text) => Message::Text(text),
                    Err(_) => return,
                },
                Outward::Close => {
                    let _ = tokio::time::timeout(limits::CLOSE, sink.close()).await;
                    return;
                }
            };
            if sink.feed(message).await.is_err() {
                return;
            }
            next = out.try_recv().ok();
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
}

async fn read(mut stream: SplitStream<Socket>, incoming: mpsc::Sender<Inward>, encoding: Encoding) {
    loop {
        let inward = match stream.next().await {
            Some(Ok(Message::Binary(bytes))) if encoding == Encoding::Proto => decode(&bytes, encoding),
            Some(Ok(Message::Text(text))) if encoding == Encoding::Json => decode(text.as_bytes(), encoding),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Binary(_) | Message::Text(_))) => {
                Inward::Ended(ConnectError::Protocol("a message of the other encoding".to_owned()))
            }
            Some(Ok(Message::Close(Some(frame)))) => Inward::Ended(closed_with(frame.code.into())),
            Some(Ok(Message::Close(None))) | None => {
                Inward::Ended(ConnectError::Link("the connection was closed".to_owned()))
            }
            Some(Err(Error::Io(e))) if e.kind() == ErrorKind::UnexpectedEof => Inward::Ended(cut()),
            Some(Err(e)) => Inward::Ended(ConnectError::Link(e.to_string())),
        };
        let ended = matches!(inward, Inward::Ended(_));
        if incoming.send(inward).await.is_err() || ended {
            // The closing handshake needs this side to be read a little longer.
            let _ =
                tokio::time::timeout(CLOSING, async { while let Some(Ok(_)) = stream.next().await {} }).await;
            return;
        }
    }
}

fn cut() -> ConnectError {
    ConnectError::Link("the connection was cut".to_owned())
}

/// How long the closing handshake is waited for.
const CLOSING: Duration = limits::CLOSE;

fn link(e: std::io::Error) -> ConnectError {
    ConnectError::Link(e.to_string())
}

fn tls_error(e: std::io::Error) -> ConnectError {
    match e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => ConnectError::Certificate(why.to_string()),
        _ => link(e),
    }
}

fn upgrade_error(e: Error) -> ConnectError {
    match e {
        Error::Http(response) => {
            ConnectError::Link(format!("the upgrade was answered with HTTP {}", response.status()))
        }
        other => ConnectError::Link(other.to_string()),
    }
}
