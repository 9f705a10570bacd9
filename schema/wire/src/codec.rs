//! Bytes to client frames, with the limits that keep a hostile frame small. Runs on the session's shard.

use alloc::string::ToString;
use buffa::{DecodeOptions, Message};

use crate::frame::Encoding;
use crate::v1::{ClientFrame, ServerFrame};

/// Deepest nesting any frame of version 1 has, with room for unknown fields.
const DEPTH_MAX: u32 = 16;

/// Memory that the lists of one decoded frame may take, in bytes: tiny entries cost more in memory than on the wire.
const ELEMENT_BYTES_MAX: usize = 1024 * 1024;

/// Fields this version does not know that one frame may carry.
const UNKNOWN_FIELDS_MAX: usize = 64;

/// Largest frame a client may send, in bytes: a body of 64 KiB in base64 with room around it.
pub const FRAME_BYTES_MAX: usize = 96 * 1024;

/// A frame that is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undecodable;

/// Decodes one client frame. Unknown fields are kept, an absent body is an error.
pub fn decode_client(bytes: &[u8], encoding: Encoding) -> Result<ClientFrame, Undecodable> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(Undecodable);
    }
    let frame: ClientFrame = match encoding {
        Encoding::Proto => options().decode_from_slice(bytes).map_err(|_| Undecodable)?,
        Encoding::Json => serde_json::from_slice(bytes).map_err(|_| Undecodable)?,
    };
    if frame.body.is_some() { Ok(frame) } else { Err(Undecodable) }
}

/// Encodes one client frame.
pub fn encode_client(frame: &ClientFrame, encoding: Encoding) -> alloc::vec::Vec<u8> {
    match encoding {
        Encoding::Proto => frame.encode_to_vec(),
        Encoding::Json => serde_json::to_string(frame).unwrap_or_else(|e| e.to_string()).into_bytes(),
    }
}

/// Decodes one server frame (clients and tests). A body this version does not know is `None`.
pub fn decode_server(bytes: &[u8], encoding: Encoding) -> Result<ServerFrame, Undecodable> {
    match encoding {
        Encoding::Proto => ServerFrame::decode_from_slice(bytes).map_err(|_| Undecodable),
        Encoding::Json => serde_json::from_slice(bytes).map_err(|_| Undecodable),
    }
}

/// Decodes one server frame that another node encoded, within the same bounds as a client's.
pub(crate) fn decode_shared(bytes: &[u8]) -> Result<ServerFrame, Undecodable> {
    options().decode_from_slice(bytes).map_err(|_| Undecodable)
}

fn options() -> DecodeOptions {
    DecodeOptions::new()
        .with_recursion_limit(DEPTH_MAX)
        .with_max_message_size(FRAME_BYTES_MAX)
        .with_element_memory_limit(ELEMENT_BYTES_MAX)
        .with_unknown_field_limit(UNKNOWN_FIELDS_MAX)
}
