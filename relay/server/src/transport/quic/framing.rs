//! Frames on a QUIC stream: a length prefix (variable-length integer, RFC 9000 section 16, shortest
//! form) and that many bytes of protobuf. Reads split and joined chunks, holds at most one part frame.

use super::error::Violation;
use bytes::{Bytes, BytesMut};

/// Longest prefix, in bytes.
const PREFIX_BYTES_MAX: usize = 8;

/// The protobuf inside a frame that begins with its length prefix; shares the same memory.
pub(super) fn body(wire: &Bytes) -> Bytes {
    let prefix = wire.first().map_or(0, |first| 1 << (first >> 6));
    wire.slice(prefix.min(wire.len())..)
}

/// Cuts the bytes of one stream into frames.
pub(super) struct FrameReader {
    frame_bytes_max: usize,
    prefix: [u8; PREFIX_BYTES_MAX],
    prefix_len: usize,
    /// Length of the frame being collected; None while its prefix is incomplete.
    need: Option<usize>,
    part: BytesMut,
}

impl FrameReader {
    pub(super) fn new(frame_bytes_max: usize) -> FrameReader {
        FrameReader {
            frame_bytes_max,
            prefix: [0; PREFIX_BYTES_MAX],
            prefix_len: 0,
            need: None,
            part: BytesMut::new(),
        }
    }

    /// Takes the next bytes of the stream and hands out every frame they complete. A frame that lies
    /// whole in `chunk` is a slice of it, not a copy.
    pub(super) fn push(&mut self, mut chunk: Bytes, mut frame: impl FnMut(Bytes)) -> Result<(), Violation> {
        while !chunk.is_empty() {
            let Some(need) = self.need else {
                self.read_prefix(&mut chunk)?;
                continue;
            };
            let missing = need - self.part.len();
            if self.part.is_empty() && chunk.len() >= need {
                frame(chunk.split_to(need));
                self.need = None;
            } else if chunk.len() >= missing {
                self.part.extend_from_slice(&chunk.split_to(missing));
                frame(std::mem::take(&mut self.part).freeze());
                self.need = None;
            } else {
                self.part.extend_from_slice(&chunk);
                return Ok(());
            }
        }
        Ok(())
    }

    /// Says whether the stream may end here.
    pub(super) fn finish(&self) -> Result<(), Violation> {
        let between_frames = self.need.is_none() && self.prefix_len == 0;
        if between_frames { Ok(()) } else { Err(Violation::FrameCutShort) }
    }

    /// Bytes held for a frame that is not complete.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.part.len()
    }

    fn read_prefix(&mut self, chunk: &mut Bytes) -> Result<(), Violation> {
        if self.prefix_len == 0 {
            self.prefix[0] = chunk.split_to(1)[0];
            self.prefix_len = 1;
        }
        let size = 1 << (self.prefix[0] >> 6);
        let take = (size - self.prefix_len).min(chunk.len());
        self.prefix[self.prefix_len..self.prefix_len + take].copy_from_slice(&chunk.split_to(take));
        self.prefix_len += take;
        if self.prefix_len == size {
            self.need = Some(self.checked_length(size)?);
            self.prefix_len = 0;
        }
        Ok(())
    }

    fn checked_length(&self, size: usize) -> Result<usize, Violation> {
        let first = u64::from(self.prefix[0] & 0x3f);
        let length = self.prefix[1..size].iter().fold(first, |sum, byte| sum << 8 | u64::from(*byte));
        let shortest = match size {
            1 => 0,
            2 => 1 << 6,
            4 => 1 << 14,
            _ => 1 << 30,
        };
        if length < shortest {
            return Err(Violation::LengthNotMinimal);
        }
        match usize::try_from(length) {
            Ok(0) => Err(Violation::EmptyFrame),
            Ok(length) if length <= self.frame_bytes_max => Ok(length),
            _ => Err(Violation::FrameTooLarge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: &mut FrameReader, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Violation> {
        let mut out = Vec::new();
        reader.push(Bytes::copy_from_slice(bytes), |frame| out.push(frame.to_vec()))?;
        Ok(out)
    }

    fn framed(body: &[u8]) -> Bytes {
        let mut wire = Vec::new();
        schema_wire::frame::write_quic_varint(&mut wire, body.len() as u64);
        wire.extend_from_slice(body);
        wire.into()
    }

    #[test]
    fn the_body_is_what_follows_the_prefix() {
        for size in [0, 1, 63, 64, 16_383, 16_384] {
            assert_eq!(body(&framed(&vec![7; size])), vec![7; size]);
        }
        assert_eq!(body(&Bytes::new()), Bytes::new());
        assert_eq!(body(&Bytes::from_static(&[0xff])), Bytes::new());
    }

    #[test]
    fn any_split_gives_the_same_frames() {
        let bodies: Vec<Vec<u8>> = [1usize, 63, 64, 300].iter().map(|&n| vec![n as u8; n]).collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body).to_vec()).collect();
        for step in 1..=stream.len() {
            let mut reader = FrameReader::new(1_000);
            let mut frames = Vec::new();
            for chunk in stream.chunks(step) {
                frames.extend(read(&mut reader, chunk).unwrap());
            }
            assert_eq!(frames, bodies, "chunks of {step}");
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes() {
        let mut reader = FrameReader::new(100);
        assert_eq!(read(&mut reader, &[0x40, 100]).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(read(&mut FrameReader::new(100), &[0x40, 101]), Err(Violation::FrameTooLarge));
        let huge = [0xff; 8];
        assert_eq!(read(&mut FrameReader::new(100), &huge), Err(Violation::FrameTooLarge));
    }

    #[test]
    fn a_long_form_of_a_short_length_is_refused() {
        for bytes in [&[0x40, 63][..], &[0x80, 0, 0x3f, 0xff], &[0xc0, 0, 0, 0, 0x3f, 0xff, 0xff, 0xff]] {
            assert_eq!(read(&mut FrameReader::new(usize::MAX), bytes), Err(Violation::LengthNotMinimal));
        }
        assert_eq!(read(&mut FrameReader::new(100), &[0]), Err(Violation::EmptyFrame));
    }

    #[test]
    fn holds_no_more_than_what_came() {
        let mut reader = FrameReader::new(1 << 20);
        read(&mut reader, &[0x80, 0x10, 0, 0, 1, 2, 3]).unwrap();
        assert_eq!(reader.held(), 3);
        assert!(reader.part.capacity() < 1_024);
        assert_eq!(reader.finish(), Err(Violation::FrameCutShort));
    }

    #[test]
    fn any_bytes_end_in_frames_or_a_violation_and_hold_at_most_one_frame() {
        let mut state = 0x5eed_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let (mut frames, mut violations) = (0, 0);
        for _ in 0..2_000 {
            let mut reader = FrameReader::new(1_000);
            for _ in 0..20 {
                let bytes: Vec<u8> = (0..random() % 300)
                    .map(|_| (1 + random() % 62 + random() % 400 / 399 * 64) as u8)
                    .collect();
                let Ok(read) = read(&mut reader, &bytes) else {
                    violations += 1;
                    break;
                };
                assert!(read.iter().all(|frame| (1..=1_000).contains(&frame.len())));
                assert!(reader.held() < 1_000);
                frames += read.len();
            }
        }
        assert!(frames > 1_000 && violations > 100, "{frames} frames, {violations} violations");
    }

    #[test]
    fn an_end_inside_the_prefix_is_an_end_inside_a_frame() {
        let mut reader = FrameReader::new(100);
        read(&mut reader, &[0x40]).unwrap();
        assert_eq!(reader.finish(), Err(Violation::FrameCutShort));
    }
}
