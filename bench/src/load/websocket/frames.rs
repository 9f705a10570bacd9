//! The client's side of WebSocket: the upgrade, frames out, frames in from whatever pieces the records had.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};

use crate::plan::Dialect;

/// Bytes of a frame's header before an extended length.
const HEADER_BYTES: usize = 2;
/// The key that masks: any key is valid, and this one leaves the bytes as they are.
const MASKING_KEY: [u8; 4] = [0; 4];
/// Longest frame a server may send here.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest answer to an upgrade.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The key and answer of RFC 6455's own example.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a piece of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The answer to the upgrade, before any frame.
    Head,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The request that turns a connection into a WebSocket.
pub fn upgrade(dialect: Dialect, address: SocketAddr) -> Vec<u8> {
    let (path, protocol) = match dialect {
        Dialect::Floor => ("/floor", ""),
        Dialect::Relay => ("/ws", "Sec-WebSocket-Protocol: relay.v1.proto\r\n"),
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{protocol}\r\n"
    )
    .into_bytes()
}

/// Whether the server agreed.
///
/// # Errors
/// It did not; the message quotes its status line.
pub fn check_upgrade(head: &[u8]) -> Result<()> {
    let status = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
    ensure!(status.starts_with("HTTP/1.1 101"), "the server does not upgrade: {status:?}");
    ensure!(
        head.windows(ACCEPT.len()).any(|bytes| bytes == ACCEPT),
        "the upgrade's Sec-WebSocket-Accept is wrong"
    );
    Ok(())
}

/// Appends a message in one binary frame.
pub fn binary(out: &mut Vec<u8>, message: &[u8]) {
    frame(out, 2, message);
}

/// Appends the answer to a ping.
pub fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, 10, payload);
}

fn frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASKING_KEY);
    out.extend_from_slice(payload);
}

/// Code and reason of a Close.
pub fn close(payload: &[u8]) -> (u16, String) {
    match payload {
        [high, low, reason @ ..] => {
            (u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason).into_owned())
        }
        _ => (1005, String::new()),
    }
}

/// Cuts a stream into frames; keeps only what a frame that is not whole has so far.
#[derive(Default)]
pub struct Cutter {
    /// The upgrade was answered.
    upgraded: bool,
    rest: Vec<u8>,
}

impl Cutter {
    /// Takes the stream's next bytes and hands on every frame that is whole with them.
    ///
    /// # Errors
    /// They are no frames of a server, or `each` fails.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(Opcode, &[u8]) -> Result<()>,
    ) -> Result<()> {
        while !self.rest.is_empty() {
            let wanted = match self.head_or_header(&self.rest)? {
                Some((whole, opcode, header)) if whole <= self.rest.len() => {
                    each(opcode, &self.rest[header..whole])?;
                    self.upgraded = true;
                    self.rest.clear();
                    break;
                }
                Some((whole, ..)) => whole - self.rest.len(),
                // One more byte until a length can be known; such pieces are rare and short.
                None => 1,
            };
            if bytes.is_empty() {
                return Ok(());
            }
            let (more, later) = bytes.split_at(wanted.min(bytes.len()));
            self.rest.extend_from_slice(more);
            bytes = later;
        }
        while let Some((whole, opcode, header)) = self.head_or_header(bytes)? {
            if whole > bytes.len() {
                break;
            }
            each(opcode, &bytes[header..whole])?;
            self.upgraded = true;
            bytes = &bytes[whole..];
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    /// Length of what begins here, what it is, and where its content begins.
    fn head_or_header(&self, bytes: &[u8]) -> Result<Option<(usize, Opcode, usize)>> {
        if self.upgraded {
            return header(bytes);
        }
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        ensure!(end.is_some() || bytes.len() <= HEAD_BYTES_MAX, "the answer to the upgrade does not end");
        Ok(end.map(|end| (end + 4, Opcode::Head, 0)))
    }
}

fn header(bytes: &[u8]) -> Result<Option<(usize, Opcode, usize)>> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    let (content, length) = match second {
        short @ 0..126 => (HEADER_BYTES, usize::from(short)),
        126 => match bytes.get(HEADER_BYTES..HEADER_BYTES + 2) {
            Some(length) => (HEADER_BYTES + 2, usize::from(u16::from_be_bytes([length[0], length[1]]))),
            None => return Ok(None),
        },
        127 => match bytes[HEADER_BYTES..].first_chunk::<8>() {
            Some(length) => (HEADER_BYTES + 8, u64::from_be_bytes(*length) as usize),
            None => return Ok(None),
        },
        _ => bail!("the server masks its frames"),
    };
    ensure!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
    let opcode = match first {
        0x82 => Opcode::Binary,
        0x81 => Opcode::Text,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8a => Opcode::Pong,
        _ => bail!("a frame that begins with {first:#04x}: fragmented, extended or unknown"),
    };
    Ok(Some((content + length, opcode, content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let bodies = [vec![1; 5], vec![2; 125], vec![3; 126], vec![4; 70_000], Vec::new()];
        let mut stream = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        for body in &bodies {
            let mut masked = Vec::new();
            binary(&mut masked, body);
            // A server's frame has neither mask nor its bit.
            let header = masked.len() - body.len() - MASKING_KEY.len();
            masked[1] &= 0x7f;
            stream.extend_from_slice(&masked[..header]);
            stream.extend_from_slice(body);
        }
        for piece in [1, 2, 3, 7, 129, 1_000, 80_000] {
            let (mut cutter, mut seen) = (Cutter::default(), Vec::new());
            for bytes in stream.chunks(piece) {
                let each = &mut |opcode, frame: &[u8]| {
                    if opcode == Opcode::Binary {
                        seen.push(frame.to_vec());
                    }
                    Ok(())
                };
                cutter.take(bytes, each).expect("frames");
            }
            assert_eq!(seen, bodies, "pieces of {piece}");
        }
    }
}
