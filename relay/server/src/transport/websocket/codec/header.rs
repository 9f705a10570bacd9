//! A client's frame header (RFC 6455 section 5.2), read strictly and refused at its first wrong byte.

use super::{CONTROL_PAYLOAD_BYTES_MAX, Violation};

/// What a frame is for (RFC 6455 section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with the message that an earlier frame began.
    Continuation = 0x0,
    /// Begins a text message.
    Text = 0x1,
    /// Begins a binary message.
    Binary = 0x2,
    /// Says goodbye.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping, or is a sign of life.
    Pong = 0xa,
}

impl Opcode {
    fn parse(byte: u8) -> Result<Self, Violation> {
        Ok(match byte & 0x0f {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(Violation::ReservedOpcode),
        })
    }

    /// Close, ping and pong may come between the fragments of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A complete client frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub fin: bool,
    pub opcode: Opcode,
    pub key: [u8; 4],
    pub payload_bytes: u64,
}

/// Largest client header: two bytes, a 64-bit length and the masking key.
const CLIENT_HEADER_BYTES_MAX: usize = 14;

/// Collects the bytes of one header.
#[derive(Debug, Default)]
pub(super) struct HeaderReader {
    bytes: [u8; CLIENT_HEADER_BYTES_MAX],
    length: u8,
}

impl HeaderReader {
    /// Whether some bytes of a header have arrived and others have not.
    pub fn is_started(&self) -> bool {
        self.length > 0
    }

    /// Takes header bytes off `input`; `None` when it ran out before the header was whole.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<FrameHeader>, Violation> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            self.bytes[usize::from(self.length)] = byte;
            self.length += 1;
            match self.length {
                1 => check_first(byte)?,
                2 => check_second(self.bytes[0], byte)?,
                _ => {}
            }
            if self.length >= 2 && self.length == needed(self.bytes[1]) {
                return self.finish().map(Some);
            }
        }
        Ok(None)
    }

    fn finish(&mut self) -> Result<FrameHeader, Violation> {
        let (head, key_at) = (&self.bytes, usize::from(self.length) - 4);
        let payload_bytes = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([head[2], head[3]])),
            127 => u64::from_be_bytes(head[2..10].try_into().expect("eight bytes")),
            short => u64::from(short),
        };
        match head[1] & 0x7f {
            126 if payload_bytes < 126 => return Err(Violation::LengthNotMinimal),
            127 if payload_bytes >> 63 != 0 => return Err(Violation::LengthOutOfRange),
            127 if payload_bytes <= u64::from(u16::MAX) => return Err(Violation::LengthNotMinimal),
            _ => {}
        }
        let header = FrameHeader {
            fin: head[0] & 0x80 != 0,
            opcode: Opcode::parse(head[0])?,
            key: head[key_at..key_at + 4].try_into().expect("four bytes"),
            payload_bytes,
        };
        *self = Self::default();
        Ok(header)
    }
}

fn check_first(byte: u8) -> Result<(), Violation> {
    if byte & 0x70 != 0 {
        return Err(Violation::ReservedBit);
    }
    if Opcode::parse(byte)?.is_control() && byte & 0x80 == 0 {
        return Err(Violation::ControlFragmented);
    }
    Ok(())
}

fn check_second(first: u8, byte: u8) -> Result<(), Violation> {
    if byte & 0x80 == 0 {
        return Err(Violation::Unmasked);
    }
    if Opcode::parse(first)?.is_control() && usize::from(byte & 0x7f) > CONTROL_PAYLOAD_BYTES_MAX {
        return Err(Violation::ControlTooLong);
    }
    Ok(())
}

/// How long the header is, going by its second byte.
fn needed(second: u8) -> u8 {
    match second & 0x7f {
        126 => 8,
        127 => 14,
        _ => 6,
    }
}
