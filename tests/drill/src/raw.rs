//! A client as thin as can be: a TLS WebSocket and the frames of the wire document, no retries, every refusal seen.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use schema_wire::codec::{decode_server, encode_client};
use schema_wire::v1::{self, client_frame, server_frame};
use schema_wire::{ConversationId, Encoding};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes a connection keeps for reading.
const READ_BUFFER: usize = 4_096;

/// An open connection.
#[derive(Debug)]
pub struct Raw {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    request: u64,
    /// Deliveries passed over while waiting for answers.
    pub deliveries: u64,
}

/// Trust in the certificates of a PEM file, for a transport's protocol name.
pub fn tls(ca: &Path, alpn: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).with_context(|| ca.display().to_string())? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

/// A Hello with a token and nothing else.
fn hello(token: &str) -> v1::ClientFrame {
    let body = v1::Hello { versions: vec![1], token: token.to_owned(), ..Default::default() };
    frame(1, body.into())
}

/// A request.
fn frame(request: u64, body: client_frame::Body) -> v1::ClientFrame {
    v1::ClientFrame { request, body: Some(body), ..Default::default() }
}

/// A message for everybody in a conversation.
pub fn message(conversation: ConversationId, key: [u8; 16], body: Bytes) -> client_frame::Body {
    let publish_key = Bytes::copy_from_slice(&key);
    v1::Publish { conversation: conversation.to_bytes(), publish_key, body, ..Default::default() }.into()
}

impl Raw {
    /// Connects and says Hello; `wss` as the ready line names it.
    pub async fn connect(wss: &str, tls: &Arc<ClientConfig>, token: &str) -> Result<Self> {
        let authority = wss.trim_start_matches("wss://").split('/').next().unwrap_or_default();
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host).to_owned();
        let tcp = TcpStream::connect(authority).await?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(tls.clone()).connect(ServerName::try_from(host)?, tcp).await?;
        let mut request = wss.into_client_request()?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("relay.v1.proto"));
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        let (socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await?;
        let mut raw = Self { socket, request: 1, deliveries: 0 };
        raw.write(&hello(token)).await?;
        match raw.answer(1).await? {
            server_frame::Body::Welcome(_) => Ok(raw),
            other => bail!("not welcome: {other:?}"),
        }
    }

    /// Sends a request; its number.
    pub async fn ask(&mut self, body: client_frame::Body) -> Result<u64> {
        self.request += 1;
        self.write(&frame(self.request, body)).await?;
        Ok(self.request)
    }

    /// Sends a request and waits for its answer.
    pub async fn call(&mut self, body: client_frame::Body) -> Result<server_frame::Body> {
        let request = self.ask(body).await?;
        self.answer(request).await
    }

    async fn write(&mut self, frame: &v1::ClientFrame) -> Result<()> {
        Ok(self.socket.send(Message::Binary(encode_client(frame, Encoding::Proto).into())).await?)
    }

    /// The next frame.
    pub async fn next(&mut self) -> Result<v1::ServerFrame> {
        loop {
            let bytes = self.bytes().await?;
            if let Ok(frame) = decode_server(&bytes, Encoding::Proto) {
                return Ok(frame);
            }
        }
    }

    /// The next frame as it came.
    async fn bytes(&mut self) -> Result<Bytes> {
        loop {
            match self.socket.next().await.context("the connection ended")?? {
                Message::Binary(bytes) => return Ok(bytes),
                Message::Close(close) => bail!("closed by the relay: {close:?}"),
                _ => {}
            }
        }
    }

    /// The answer to a request; deliveries before it are counted.
    pub async fn answer(&mut self, request: u64) -> Result<server_frame::Body> {
        loop {
            let frame = self.next().await?;
            if frame.answers == request {
                return frame.body.context("an answer has a body");
            }
            self.deliveries += u64::from(matches!(frame.body, Some(server_frame::Body::Delivery(_))));
        }
    }
}
