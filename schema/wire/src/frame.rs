//! The immutable encoded frame that all recipients share: encoded once, referenced by every outbox.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use buffa::Message;
use bytes::Bytes;
use once_cell::race::OnceBox;

use crate::v1::ServerFrame;

/// How a client wants its frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Encoding {
    /// Protobuf in binary WebSocket messages, or length-prefixed over QUIC.
    #[default]
    Proto,
    /// Protobuf JSON mapping in WebSocket text messages.
    Json,
}

/// Which stream of a connection carries a frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lane {
    /// Answers and everything about the session.
    Control,
    /// Deliveries of one conversation stay in order; the number is the conversation's spread.
    Conversation(u64),
    /// Ephemeral: may be dropped, goes into a datagram where there are any.
    Ephemeral,
}

/// One encoded server frame. Cloning copies a reference.
#[derive(Clone, Debug)]
pub struct Frame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    /// WebSocket header (unmasked, FIN, binary) and protobuf body, ready for the record layer.
    websocket: Bytes,
    header_len: u8,
    /// Protobuf body behind its length (RFC 9000 §16 varint), made when the first QUIC client needs it.
    quic: OnceBox<Bytes>,
    json: OnceBox<Bytes>,
    lane: Lane,
}

impl Frame {
    /// Encodes `frame` once.
    pub fn new(frame: &ServerFrame, lane: Lane) -> Self {
        let body_len = frame.encoded_len() as usize;
        let mut out = Vec::with_capacity(10 + body_len);
        let header_len = write_websocket_header(&mut out, 2, body_len) as u8;
        frame.encode(&mut out);
        debug_assert_eq!(out.len(), usize::from(header_len) + body_len);
        Self::encoded(out, header_len, lane)
    }

    /// Wraps a protobuf body that was decoded and found good.
    pub(crate) fn from_body(body: &[u8], lane: Lane) -> Self {
        let mut out = Vec::with_capacity(10 + body.len());
        let header_len = write_websocket_header(&mut out, 2, body.len()) as u8;
        out.extend_from_slice(body);
        Self::encoded(out, header_len, lane)
    }

    fn encoded(websocket: Vec<u8>, header_len: u8, lane: Lane) -> Self {
        let websocket = Bytes::from(websocket);
        Self(Arc::new(Encoded { websocket, header_len, quic: OnceBox::new(), json: OnceBox::new(), lane }))
    }

    /// The protobuf body alone.
    pub fn body(&self) -> Bytes {
        self.0.websocket.slice(usize::from(self.0.header_len)..)
    }

    /// Length of the protobuf body in bytes.
    pub fn body_len(&self) -> usize {
        self.0.websocket.len() - usize::from(self.0.header_len)
    }

    /// A whole WebSocket frame in the given encoding; JSON is made at the first call and kept.
    pub fn websocket(&self, encoding: Encoding) -> &Bytes {
        match encoding {
            Encoding::Proto => &self.0.websocket,
            Encoding::Json => self.0.json.get_or_init(|| Box::new(self.to_json())),
        }
    }

    /// The body behind its varint length, as it travels on a QUIC stream; made at the first call and kept.
    pub fn quic(&self) -> &Bytes {
        self.0.quic.get_or_init(|| {
            let mut out = Vec::with_capacity(8 + self.body_len());
            write_quic_varint(&mut out, self.body_len() as u64);
            out.extend_from_slice(&self.body());
            Box::new(Bytes::from(out))
        })
    }

    /// Where it travels.
    pub fn lane(&self) -> Lane {
        self.0.lane
    }

    /// How many references there are, this one included.
    pub fn references(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    fn to_json(&self) -> Bytes {
        let frame = ServerFrame::decode_from_slice(&self.body()).expect("decodes what was encoded above");
        let json = serde_json::to_vec(&frame).expect("every server frame has a JSON form");
        let mut out = Vec::with_capacity(10 + json.len());
        write_websocket_header(&mut out, 1, json.len());
        out.extend_from_slice(&json);
        Bytes::from(out)
    }
}

/// Writes an unmasked, final WebSocket frame header (RFC 6455 §5.2) and returns its length.
pub fn write_websocket_header(out: &mut Vec<u8>, opcode: u8, len: usize) -> usize {
    let before = out.len();
    out.push(0x80 | opcode);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.len() - before
}

/// Writes a variable-length integer in its shortest form (RFC 9000 §16).
///
/// # Panics
/// Above 2^62 - 1, which no length reaches.
pub fn write_quic_varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => {
            assert!(value < 1 << 62, "a length fits 62 bits");
            out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Pong, server_frame};

    fn pong(payload: usize) -> Frame {
        let pong = Pong { payload: Bytes::from(alloc::vec![7; payload]), ..Default::default() };
        Frame::new(
            &ServerFrame { answers: 3, body: Some(server_frame::Body::Pong(pong)), ..Default::default() },
            Lane::Control,
        )
    }

    #[test]
    fn the_websocket_header_has_the_shortest_length() {
        for (payload, header) in [(10, 2), (200, 4), (70_000, 10)] {
            let frame = pong(payload);
            assert_eq!(frame.websocket(Encoding::Proto).len() - frame.body_len(), header);
            assert_eq!(ServerFrame::decode_from_slice(&frame.body()).map(|f| f.answers), Ok(3));
        }
    }

    #[test]
    fn every_form_is_made_once_and_shared() {
        let frame = pong(100);
        assert!(core::ptr::eq(frame.quic(), frame.clone().quic()));
        assert_eq!(frame.quic()[0], 0x40, "two-byte varint");
        assert_eq!(&frame.quic()[2..], &frame.body()[..]);
        let json = frame.websocket(Encoding::Json);
        assert_eq!(json[0], 0x81, "a text message");
        assert!(core::str::from_utf8(&json[4..]).is_ok_and(|t| t.contains("\"answers\":\"3\"")));
    }
}
