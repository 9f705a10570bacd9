//! The HTTP/1.1 request that turns a connection into a WebSocket (RFC 6455 section 4.2). Runs once per connection.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where floors are.
const PATH: &str = "/floor";
const HEADERS_MAX: usize = 32;
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// What RFC 6455 appends to the client's key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Appends the answer to the upgrade that `buffer` begins with. How many bytes it took; nothing while it has not
/// arrived whole.
///
/// # Errors
/// It is no upgrade to a WebSocket.
pub fn answer(buffer: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(buffer).context("no HTTP request; floors take a WebSocket upgrade first")?;
    let httparse::Status::Complete(taken) = parsed else {
        ensure!(buffer.len() < REQUEST_BYTES_MAX, "a request of more than {REQUEST_BYTES_MAX} bytes");
        return Ok(None);
    };
    ensure!(request.method == Some("GET") && request.path == Some(PATH), "ask for GET {PATH}");
    let header = |name: &str| {
        let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.trim_ascii())
    };
    let upgrade = header("upgrade").unwrap_or_default();
    ensure!(upgrade.eq_ignore_ascii_case(b"websocket"), "no upgrade to a WebSocket asked for");
    ensure!(header("sec-websocket-version") == Some(b"13"), "WebSocket version 13 is spoken here");
    let key = header("sec-websocket-key").context("no Sec-WebSocket-Key")?;
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept(key).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    Ok(Some(taken))
}

/// What proves that the key was understood.
pub fn accept(key: &[u8]) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    STANDARD.encode(digest.as_ref())
}
