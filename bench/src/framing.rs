//! Frames on a QUIC stream: each behind its length, a variable-length integer (RFC 9000 section 16). Shared by the
//! floor and the load generator.

use anyhow::{Result, ensure};

pub use schema_wire::frame::write_quic_varint as write_length;

/// Longest frame that is taken, in bytes: a length beyond it means that the stream is not what it should be.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Appends a frame with its length.
pub fn write(out: &mut Vec<u8>, frame: &[u8]) {
    write_length(out, frame.len() as u64);
    out.extend_from_slice(frame);
}

/// Cuts the bytes of one stream into frames; holds at most one part of a frame.
#[derive(Debug, Default)]
pub struct FrameReader {
    part: Vec<u8>,
}

impl FrameReader {
    /// Takes the next bytes of the stream and hands out every frame that they complete. A frame that lies whole in
    /// `bytes` is not copied.
    ///
    /// # Errors
    /// A length beyond any that is meant, or what `frame` says.
    pub fn push(&mut self, mut bytes: &[u8], mut frame: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while !bytes.is_empty() {
            if !self.part.is_empty() {
                bytes = self.complete(bytes, &mut frame)?;
                continue;
            }
            match whole(bytes)? {
                Some((prefix, end)) if end <= bytes.len() => {
                    frame(&bytes[prefix..end])?;
                    bytes = &bytes[end..];
                }
                _ => {
                    self.part.extend_from_slice(bytes);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Adds to the part that is held what it lacks; the bytes that follow.
    fn complete<'b>(
        &mut self,
        bytes: &'b [u8],
        frame: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<&'b [u8]> {
        let Some((prefix, end)) = whole(&self.part)? else {
            self.part.push(bytes[0]);
            return Ok(&bytes[1..]);
        };
        let (taken, rest) = bytes.split_at(bytes.len().min(end - self.part.len()));
        self.part.extend_from_slice(taken);
        if self.part.len() == end {
            frame(&self.part[prefix..])?;
            self.part.clear();
        }
        Ok(rest)
    }
}

/// Where the frame at the front begins and ends; `None` while its length is not all there.
fn whole(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let prefix = 1 << (first >> 6);
    if bytes.len() < prefix {
        return Ok(None);
    }
    let first = u64::from(first & 0x3f);
    let length = bytes[1..prefix].iter().fold(first, |sum, byte| sum << 8 | u64::from(*byte));
    ensure!(length > 0, "an empty frame");
    ensure!(length <= FRAME_BYTES_MAX as u64, "a frame of {length} bytes");
    Ok(Some((prefix, prefix + length as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_gives_the_same_frames() {
        let frames: Vec<Vec<u8>> = [1usize, 63, 64, 300, 16_384].iter().map(|&n| vec![n as u8; n]).collect();
        let mut stream = Vec::new();
        frames.iter().for_each(|frame| write(&mut stream, frame));
        for step in [1, 2, 3, 65, 66, 67, 400, 1_452, stream.len()] {
            let (mut reader, mut back) = (FrameReader::default(), Vec::new());
            for chunk in stream.chunks(step) {
                let take = |frame: &[u8]| {
                    back.push(frame.to_vec());
                    Ok(())
                };
                reader.push(chunk, take).expect("valid frames");
            }
            assert_eq!(back, frames, "chunks of {step}");
            assert!(reader.part.is_empty());
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut reader = FrameReader::default();
        assert!(reader.push(&[0xff; 8], |_| Ok(())).is_err());
        assert!(FrameReader::default().push(&[0], |_| Ok(())).is_err());
    }
}
