//! One question to a node's internal listener, with a deadline and a bound on the answer.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::access::secret::Secret;

/// How long a node may take for an answer.
const DEADLINE: Duration = Duration::from_secs(3);
/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why there is no answer. The text is one line for the log.
#[derive(Debug, thiserror::Error)]
pub enum AskFault {
    #[error("it can't be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("it does not speak HTTP")]
    Strange,
    #[error("it did not answer within {} s", DEADLINE.as_secs())]
    Late,
    #[error("it refused: status {0}")]
    Refused(u16),
}

/// What it says there.
pub async fn get(address: &str, path: &str) -> Result<String, AskFault> {
    let answer = send(address, Method::GET, path, None).await?;
    String::from_utf8(answer).map_err(|_| AskFault::Strange)
}

/// What it says to who knows the secret.
pub async fn question(address: &str, path: &str, secret: &Secret) -> Result<String, AskFault> {
    let answer = send(address, Method::GET, path, Some(secret)).await?;
    String::from_utf8(answer).map_err(|_| AskFault::Strange)
}

/// Has it do something.
pub async fn order(address: &str, path: &str, secret: &Secret) -> Result<(), AskFault> {
    send(address, Method::POST, path, Some(secret)).await.map(drop)
}

async fn send(
    address: &str,
    method: Method,
    path: &str,
    secret: Option<&Secret>,
) -> Result<Vec<u8>, AskFault> {
    let asked = exchange(address, method, path, secret);
    tokio::time::timeout(DEADLINE, asked).await.map_err(|_| AskFault::Late)?
}

async fn exchange(
    address: &str,
    method: Method,
    path: &str,
    secret: Option<&Secret>,
) -> Result<Vec<u8>, AskFault> {
    let stream = TcpStream::connect(address).await.map_err(AskFault::Unreachable)?;
    let strange = |_: hyper::Error| AskFault::Strange;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(strange)?;
    // It ends with the answer, or when this is given up.
    let connection = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address)
        .header(header::CONNECTION, "close");
    if let Some(secret) = secret {
        let secret = String::from_utf8_lossy(secret.expose());
        request = request.header(header::AUTHORIZATION, format!("Bearer {secret}"));
    }
    let request = request.body(Body::empty()).map_err(|_| AskFault::Strange)?;
    let answer = sender.send_request(request).await.map_err(strange)?;
    let status = answer.status();
    let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
    connection.abort();
    if !status.is_success() {
        return Err(AskFault::Refused(status.as_u16()));
    }
    body.map(Vec::from).map_err(|_| AskFault::Strange)
}
