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
        Self(Arc::new(Encoded { websocket: Bytes::from(out), header_len, json: OnceBox::new(), lane }))
    }

    /// The protobuf body alone (QUIC prefixes its length).
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
