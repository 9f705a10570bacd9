//! WebSocket frames as a floor needs them (RFC 6455 section 5): masked and whole from clients, unmasked to them.
//! Runs for every frame that arrives, so a payload is unmasked only where it ends up.

use anyhow::{Result, bail, ensure};

pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// Bytes of a client's frame, header aside.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const LENGTH_U16: u8 = 126;
const LENGTH_U64: u8 = 127;
const MASK_BYTES: usize = 4;

/// A client's frame, its payload still masked.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub opcode: u8,
    pub mask: [u8; MASK_BYTES],
    pub masked: &'a [u8],
}

/// The first frame of `buffer` and how many bytes it takes; nothing while it has not arrived whole.
///
/// # Errors
/// A client may not send such a frame.
#[inline]
pub fn split(buffer: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let Some(&[first, second]) = buffer.first_chunk::<2>() else { return Ok(None) };
    ensure!(first & 0x70 == 0 && first & FINAL != 0, "a fragment or an extension that nobody agreed on");
    ensure!(second & MASKED != 0, "a client's frame without mask");
    let (len, header_len) = match second & !MASKED {
        LENGTH_U16 => match buffer[2..].first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 4),
            None => return Ok(None),
        },
        LENGTH_U64 => match buffer[2..].first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    ensure!(len <= PAYLOAD_BYTES_MAX, "a frame of {len} bytes; at most {PAYLOAD_BYTES_MAX} are read");
    let Some((mask, rest)) = buffer[header_len..].split_first_chunk::<MASK_BYTES>() else { return Ok(None) };
    let Some(masked) = rest.get(..len as usize) else { return Ok(None) };
    let taken = header_len + MASK_BYTES + masked.len();
    Ok(Some((Frame { opcode: first & 0x0f, mask: *mask, masked }, taken)))
}

impl Frame<'_> {
    /// The first bytes of the payload in clear.
    #[inline]
    pub fn head<const N: usize>(&self) -> Result<[u8; N]> {
        let Some(masked) = self.masked.first_chunk::<N>() else {
            bail!("a message of {} bytes; at least {N} are needed", self.masked.len());
        };
        let mut clear = *masked;
        unmask(&mut clear, self.mask, 0);
        Ok(clear)
    }

    /// Appends a server's frame with what follows the first `skip` bytes of the payload.
    #[inline]
    pub fn forward(&self, opcode: u8, skip: usize, out: &mut Vec<u8>) {
        let masked = &self.masked[skip..];
        push_header(opcode, masked.len(), out);
        let start = out.len();
        out.extend_from_slice(masked);
        unmask(&mut out[start..], self.mask, skip);
    }
}

/// Appends a server's frame.
pub fn push(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    push_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

#[inline]
fn push_header(opcode: u8, len: usize, out: &mut Vec<u8>) {
    let first = FINAL | opcode;
    if let Some(len) = u8::try_from(len).ok().filter(|len| *len < LENGTH_U16) {
        out.extend_from_slice(&[first, len]);
    } else if let Ok(len) = u16::try_from(len) {
        let [high, low] = len.to_be_bytes();
        out.extend_from_slice(&[first, LENGTH_U16, high, low]);
    } else {
        out.extend_from_slice(&[first, LENGTH_U64]);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}

/// Unmasks bytes that begin `skip` bytes into a payload.
#[inline]
fn unmask(bytes: &mut [u8], mut mask: [u8; MASK_BYTES], skip: usize) {
    mask.rotate_left(skip % MASK_BYTES);
    let word = u64::from(u32::from_ne_bytes(mask));
    let word = word | word << 32;
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
