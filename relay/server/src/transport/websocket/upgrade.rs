//! The HTTP/1.1 upgrade to WebSocket (RFC 6455 section 4.2): decides which request becomes a connection and
//! with which status every other one is answered. Runs on the session's shard, before there is a session.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::codec::DataKind;
use crate::transport::http::{self, Head, HeadBuffer, Request, Status};

#[cfg(test)]
mod tests;

/// Largest bearer token taken from an `Authorization` field, in bytes.
pub const BEARER_BYTES_MAX: usize = 4_096;

/// What the client and the relay speak inside WebSocket messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    /// `relay.v1.proto`, also when the client names none.
    Proto,
    /// `relay.v1.json`.
    Json,
}

impl Subprotocol {
    /// The name in `Sec-WebSocket-Protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proto => "relay.v1.proto",
            Self::Json => "relay.v1.json",
        }
    }

    /// The data frames that carry it.
    pub fn data_kind(self) -> DataKind {
        match self {
            Self::Proto => DataKind::Binary,
            Self::Json => DataKind::Text,
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        [Self::Proto, Self::Json].into_iter().find(|known| known.name().as_bytes() == name)
    }
}

/// Which upgrades a listener accepts.
#[derive(Clone, Debug)]
pub struct UpgradeRules {
    /// The only path, such as `/ws`.
    pub path: String,
    /// Origins a browser may come from; empty accepts every origin. Requests without `Origin` are not from
    /// browsers and always pass.
    pub origins: Vec<String>,
}

/// What the bytes so far amount to.
#[derive(Debug)]
pub enum Upgrade {
    /// More bytes are needed.
    NeedMore,
    /// Send the response; the connection is a WebSocket from then on.
    Accept(Accept),
    /// Send the response and close.
    Reject(Reject),
}

/// An accepted upgrade.
#[derive(Debug)]
pub struct Accept {
    /// The 101 response.
    pub response: Vec<u8>,
    /// What the messages carry.
    pub subprotocol: Subprotocol,
    /// The token of `Authorization: Bearer`, not verified.
    pub bearer: Option<String>,
    /// Bytes after the request: the first frames.
    pub leftover: Vec<u8>,
}

/// A refused upgrade.
#[derive(Debug)]
pub struct Reject {
    /// Why, as the status of the response.
    pub status: Status,
    /// The whole response.
    pub response: Vec<u8>,
}

/// Reads the one upgrade request of a connection.
#[derive(Debug, Default)]
pub struct Upgrader {
    head: HeadBuffer,
}

impl Upgrader {
    /// Takes the next bytes of the connection. Call until the answer is not [`Upgrade::NeedMore`].
    pub fn push(&mut self, input: &[u8], rules: &UpgradeRules) -> Upgrade {
        let length = match self.head.push(input) {
            Head::NeedMore => return Upgrade::NeedMore,
            Head::Refused(status) => return Upgrade::Reject(Refusal::plain(status).reject(false)),
            Head::Complete(length) => length,
        };
        let judged = http::parse(&self.head.bytes()[..length], |request| {
            let is_head_request = request.method == Some("HEAD");
            judge(request, rules).map_err(|refusal| refusal.reject(is_head_request))
        });
        let leftover = self.head.take_rest(length);
        match judged {
            Err(status) => Upgrade::Reject(Refusal::plain(status).reject(false)),
            Ok(Err(reject)) => Upgrade::Reject(reject),
            Ok(Ok(accept)) => Upgrade::Accept(Accept { leftover, ..accept }),
        }
    }

    /// The answer when the handshake deadline passes first.
    pub fn timed_out() -> Reject {
        Refusal::plain(Status::REQUEST_TIMEOUT).reject(false)
    }
}

/// Why a request is refused: its status, header lines that the status calls for, and a hint for humans.
struct Refusal {
    status: Status,
    fields: &'static str,
    hint: &'static str,
}

impl Refusal {
    fn plain(status: Status) -> Self {
        let hint = match status {
            Status::NOT_FOUND => "Nothing is served here.\n",
            Status::VERSION => "Speak HTTP/1.1.\n",
            Status::TOO_LARGE => "The header fields are too large.\n",
            Status::URI_TOO_LONG => "The request line is too long.\n",
            Status::FORBIDDEN => "This origin is not allowed.\n",
            Status::REQUEST_TIMEOUT => "The request took too long.\n",
            _ => "This is not a well-formed WebSocket upgrade (RFC 6455 section 4.1).\n",
        };
        Self { status, fields: "", hint }
    }

    fn method() -> Self {
        Self { status: Status::METHOD_NOT_ALLOWED, fields: "Allow: GET\r\n", hint: "Use GET.\n" }
    }

    fn upgrade_required() -> Self {
        Self {
            status: Status::UPGRADE_REQUIRED,
            fields: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            hint: "Connect with a WebSocket client, version 13.\n",
        }
    }

    fn subprotocol() -> Self {
        Self {
            status: Status::BAD_REQUEST,
            fields: "",
            hint: "Offer one of these subprotocols: relay.v1.proto, relay.v1.json.\n",
        }
    }

    fn reject(self, is_head_request: bool) -> Reject {
        let connection = match self.status {
            Status::UPGRADE_REQUIRED => "Connection: Upgrade, close\r\n",
            _ => "Connection: close\r\n",
        };
        let fields = format!("{}{connection}", self.fields);
        let body = self.hint.as_bytes();
        let kind = "text/plain; charset=utf-8";
        let response = http::response(self.status, kind, &fields, body, is_head_request);
        Reject { status: self.status, response }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::plain(status)
    }
}

fn judge(request: &Request<'_, '_>, rules: &UpgradeRules) -> Result<Accept, Refusal> {
    check_host(request)?;
    if http::path(request) != rules.path {
        return Err(Status::NOT_FOUND.into());
    }
    if request.method != Some("GET") {
        return Err(Refusal::method());
    }
    check_no_body(request)?;
    check_is_upgrade(request)?;
    let key = key(request)?;
    check_origin(request, &rules.origins)?;
    let offered = subprotocol(request)?;
    let bearer = bearer(request)?;
    Ok(Accept {
        response: switching(key, offered),
        subprotocol: offered.unwrap_or(Subprotocol::Proto),
        bearer,
        leftover: Vec::new(),
    })
}

fn check_host(request: &Request<'_, '_>) -> Result<(), Status> {
    let host = http::single(request, "Host")?.ok_or(Status::BAD_REQUEST)?;
    let is_host_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]%~".contains(byte);
    if host.is_empty() || !host.iter().all(is_host_byte) {
        return Err(Status::BAD_REQUEST);
    }
    Ok(())
}

/// A body would be read as frames by one side and as a body by a proxy in between.
fn check_no_body(request: &Request<'_, '_>) -> Result<(), Status> {
    let length = http::single(request, "Content-Length")?;
    let is_chunked = http::values(request, "Transfer-Encoding").next().is_some();
    if is_chunked || length.is_some_and(|length| length != b"0") {
        return Err(Status::BAD_REQUEST);
    }
    Ok(())
}

fn check_is_upgrade(request: &Request<'_, '_>) -> Result<(), Refusal> {
    let is_upgrade =
        http::lists(request, "Upgrade", "websocket") && http::lists(request, "Connection", "upgrade");
    if !is_upgrade || http::single(request, "Sec-WebSocket-Version")? != Some(b"13") {
        return Err(Refusal::upgrade_required());
    }
    Ok(())
}

/// The key as it stands: 24 characters of base64 for 16 bytes.
fn key<'a>(request: &'a Request<'_, '_>) -> Result<&'a [u8], Status> {
    let key = http::single(request, "Sec-WebSocket-Key")?.ok_or(Status::BAD_REQUEST)?;
    match STANDARD.decode(key) {
        Ok(nonce) if nonce.len() == 16 => Ok(key),
        _ => Err(Status::BAD_REQUEST),
    }
}

fn check_origin(request: &Request<'_, '_>, allowed: &[String]) -> Result<(), Status> {
    if allowed.is_empty() {
        return Ok(());
    }
    let mut foreign = http::values(request, "Origin")
        .filter(|origin| !allowed.iter().any(|known| origin.eq_ignore_ascii_case(known.as_bytes())));
    foreign.next().map_or(Ok(()), |_| Err(Status::FORBIDDEN))
}

/// The first subprotocol on the client's list that we speak; `None` when it offers none at all.
fn subprotocol(request: &Request<'_, '_>) -> Result<Option<Subprotocol>, Refusal> {
    let mut offers_any = false;
    let known = http::values(request, "Sec-WebSocket-Protocol")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .inspect(|_| offers_any = true)
        .find_map(|name| Subprotocol::from_name(name.trim_ascii()));
    match known {
        None if offers_any => Err(Refusal::subprotocol()),
        known => Ok(known),
    }
}

/// The bearer token (RFC 6750 section 2.1); other schemes are not ours to judge.
fn bearer(request: &Request<'_, '_>) -> Result<Option<String>, Status> {
    let Some(value) = http::single(request, "Authorization")? else { return Ok(None) };
    let Some((scheme, token)) = value.split_at_checked(7) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Ok(None);
    }
    let token = token.trim_ascii();
    let is_token_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if token.is_empty() || token.len() > BEARER_BYTES_MAX || !token.iter().all(is_token_byte) {
        return Err(Status::BAD_REQUEST);
    }
    Ok(Some(String::from_utf8_lossy(token).into_owned()))
}

fn switching(key: &[u8], offered: Option<Subprotocol>) -> Vec<u8> {
    let accept = accept_value(key);
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    );
    if let Some(subprotocol) = offered {
        response.push_str("Sec-WebSocket-Protocol: ");
        response.push_str(subprotocol.name());
        response.push_str("\r\n");
    }
    response.push_str("\r\n");
    response.into_bytes()
}

/// `Sec-WebSocket-Accept` of a key (RFC 6455 section 4.2.2).
fn accept_value(key: &[u8]) -> String {
    use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(context.finish())
}
