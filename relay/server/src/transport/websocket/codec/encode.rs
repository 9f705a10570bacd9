//! Frames the server sends: never masked, never fragmented, shortest length encoding.

use super::{CONTROL_PAYLOAD_BYTES_MAX, Close, CloseCode, Opcode, SERVER_HEADER_BYTES_MAX};

/// The header of a whole frame with `payload_bytes` of payload, and how many of the array's bytes it uses.
pub fn header(opcode: Opcode, payload_bytes: usize) -> ([u8; SERVER_HEADER_BYTES_MAX], usize) {
    let mut bytes = [0; SERVER_HEADER_BYTES_MAX];
    bytes[0] = 0x80 | opcode as u8;
    let used = match payload_bytes {
        0..=125 => {
            bytes[1] = payload_bytes as u8;
            2
        }
        126..=0xffff => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&(payload_bytes as u16).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
            10
        }
    };
    (bytes, used)
}

/// A whole control frame without heap memory.
#[derive(Clone, Copy, Debug)]
pub struct ControlFrame {
    bytes: [u8; 2 + CONTROL_PAYLOAD_BYTES_MAX],
    length: u8,
}

impl ControlFrame {
    fn new(opcode: Opcode, payload: &[u8]) -> Self {
        assert!(opcode.is_control() && payload.len() <= CONTROL_PAYLOAD_BYTES_MAX);
        let mut bytes = [0; 2 + CONTROL_PAYLOAD_BYTES_MAX];
        bytes[0] = 0x80 | opcode as u8;
        bytes[1] = payload.len() as u8;
        bytes[2..2 + payload.len()].copy_from_slice(payload);
        Self { bytes, length: 2 + payload.len() as u8 }
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// A ping.
///
/// # Panics
/// When the payload is over [`CONTROL_PAYLOAD_BYTES_MAX`].
pub fn ping(payload: &[u8]) -> ControlFrame {
    ControlFrame::new(Opcode::Ping, payload)
}

/// The answer to a ping; takes the payload of [`super::Event::Ping`] as it is.
///
/// # Panics
/// When the payload is over [`CONTROL_PAYLOAD_BYTES_MAX`].
pub fn pong(payload: &[u8]) -> ControlFrame {
    ControlFrame::new(Opcode::Pong, payload)
}

/// A close frame; a reason over 123 bytes is cut at a character boundary.
///
/// # Panics
/// When the code may not appear in a frame.
pub fn close(code: CloseCode, reason: &str) -> ControlFrame {
    assert!(code.is_sendable(), "codes come from constants");
    let mut payload = [0; CONTROL_PAYLOAD_BYTES_MAX];
    let reason = &reason[..reason.floor_char_boundary(CONTROL_PAYLOAD_BYTES_MAX - 2)];
    payload[..2].copy_from_slice(&code.0.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
    ControlFrame::new(Opcode::Close, &payload[..2 + reason.len()])
}

/// The answer to a peer's close frame: its code again, without its reason (RFC 6455 section 5.5.1).
pub fn close_reply(peer: &Close) -> ControlFrame {
    match peer.code {
        Some(code) => close(code, ""),
        None => ControlFrame::new(Opcode::Close, &[]),
    }
}
