//! Frames on a QUIC stream: each has its length before it, as a QUIC variable-length integer (RFC 9000 §16).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits;

/// A length beyond the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLong;

/// Appends a frame with its length.
pub(crate) fn write(out: &mut BytesMut, frame: &[u8]) {
    let len = frame.len() as u64;
    match len {
        0..0x40 => out.put_u8(len as u8),
        0x40..0x4000 => out.put_u16(0x4000 | len as u16),
        0x4000..0x4000_0000 => out.put_u32(0x8000_0000 | len as u32),
        _ => out.put_u64(0xc000_0000_0000_0000 | len),
    }
    out.extend_from_slice(frame);
}

/// Takes the first whole frame from the front of `bytes`; `None`: not all of it is there.
pub(crate) fn read(bytes: &mut BytesMut) -> Result<Option<Bytes>, TooLong> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let prefix = 1usize << (first >> 6);
    if bytes.len() < prefix {
        return Ok(None);
    }
    let mut len = u64::from(first & 0x3f);
    for byte in &bytes[1..prefix] {
        len = len << 8 | u64::from(*byte);
    }
    if len > limits::SERVER_FRAME_BYTES as u64 {
        return Err(TooLong);
    }
    let len = len as usize;
    if bytes.len() < prefix + len {
        return Ok(None);
    }
    bytes.advance(prefix);
    Ok(Some(bytes.split_to(len).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_form_come_back_whole() {
        let frames: Vec<Vec<u8>> = [0, 1, 63, 64, 0x3fff, 0x4000].map(|n| vec![7; n]).into();
        let mut all = BytesMut::new();
        frames.iter().for_each(|f| write(&mut all, f));
        let mut arrived = BytesMut::new();
        let mut back = Vec::new();
        for byte in all {
            arrived.put_u8(byte);
            back.extend(read(&mut arrived).expect("within the limit"));
        }
        assert_eq!(back, frames);
        assert!(arrived.is_empty());
    }

    #[test]
    fn the_examples_of_the_rfc() {
        let mut out = BytesMut::new();
        write(&mut out, &[0; 37]);
        write(&mut out, &[0; 15_293]);
        assert_eq!((out[0], &out[38..40]), (0x25, &[0x7b, 0xbd][..]));
    }

    #[test]
    fn a_giant_length_is_refused_before_its_bytes_come() {
        let mut bytes = BytesMut::from(&[0xff; 8][..]);
        assert_eq!(read(&mut bytes), Err(TooLong));
    }
}
