//! The incremental decoder: any chunking of a client's bytes in, whole messages and control frames out.
//! Sizes are checked from the header, before a payload byte is kept; an idle decoder owns no heap memory.

use bytes::Bytes;

use super::header::{FrameHeader, HeaderReader};
use super::{Close, DataKind, Opcode, Violation, unmask};

/// What a client's bytes amounted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message, fragments joined and unmasked; text is valid UTF-8.
    Message {
        /// Whether it was sent as text.
        text: bool,
        /// The unmasked payload.
        payload: Bytes,
    },
    /// Answer with a pong of the same payload.
    Ping(Bytes),
    /// A sign of life.
    Pong(Bytes),
    /// Answer with a close frame; later bytes of this connection are ignored.
    Close(Close),
}

/// Decodes one connection. After a close or a violation it ignores all further bytes.
#[derive(Debug)]
pub struct Decoder {
    kind: DataKind,
    message_bytes_max: usize,
    stage: Stage,
    header: HeaderReader,
    /// Whether a fragmented message has begun and not ended.
    open: bool,
    /// The open message's bytes so far.
    message: Vec<u8>,
    /// How much of `message` is known to be UTF-8; at most three bytes behind.
    utf8_until: usize,
    /// The payload so far of a control frame, kept apart from the message it may interrupt.
    control: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    Header,
    Payload { frame: FrameHeader, taken: u64 },
    Ended,
}

impl Decoder {
    /// A decoder for one connection that refuses messages above `message_bytes_max` bytes.
    pub fn new(kind: DataKind, message_bytes_max: usize) -> Self {
        Self {
            kind,
            message_bytes_max,
            stage: Stage::Header,
            header: HeaderReader::default(),
            open: false,
            message: Vec::new(),
            utf8_until: 0,
            control: Vec::new(),
        }
    }

    /// Takes bytes off `input` until one event is whole; `None` when all of `input` is used up.
    ///
    /// # Errors
    /// The violation that ends this connection.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        let outcome = self.advance(input);
        if matches!(outcome, Err(_) | Ok(Some(Event::Close(_)))) {
            self.end();
        }
        outcome
    }

    /// Bytes of heap memory held for an unfinished message or control frame.
    pub fn retained_bytes(&self) -> usize {
        self.message.capacity() + self.control.capacity()
    }

    /// Whether a frame or a message has begun and not ended, so that a deadline is in order.
    pub fn is_mid_message(&self) -> bool {
        self.open || self.header.is_started() || matches!(self.stage, Stage::Payload { .. })
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        loop {
            match self.stage {
                Stage::Ended => {
                    *input = &[];
                    return Ok(None);
                }
                Stage::Header => match self.header.read(input)? {
                    None => return Ok(None),
                    Some(frame) => {
                        self.check(&frame)?;
                        self.stage = Stage::Payload { frame, taken: 0 };
                    }
                },
                Stage::Payload { frame, taken } => {
                    let taken = taken + self.take(&frame, taken, input)?;
                    if taken < frame.payload_bytes {
                        self.stage = Stage::Payload { frame, taken };
                        return Ok(None);
                    }
                    self.stage = Stage::Header;
                    if let Some(event) = self.finish(&frame)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// Decides from the header alone whether the frame may come at all.
    fn check(&self, frame: &FrameHeader) -> Result<(), Violation> {
        match frame.opcode {
            Opcode::Continuation if !self.open => return Err(Violation::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if self.open => return Err(Violation::ExpectedContinuation),
            Opcode::Text if self.kind == DataKind::Binary => return Err(Violation::WrongKind),
            Opcode::Binary if self.kind == DataKind::Text => return Err(Violation::WrongKind),
            Opcode::Close | Opcode::Ping | Opcode::Pong => return Ok(()),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        let room = self.message_bytes_max - self.message.len();
        if frame.payload_bytes > room as u64 {
            return Err(Violation::TooBig);
        }
        Ok(())
    }

    /// Moves payload bytes from `input` into the right buffer, unmasked. Answers how many.
    fn take(&mut self, frame: &FrameHeader, taken: u64, input: &mut &[u8]) -> Result<u64, Violation> {
        let wanted = frame.payload_bytes - taken;
        let count = usize::try_from(wanted).map_or(input.len(), |wanted| wanted.min(input.len()));
        let (chunk, rest) = input.split_at(count);
        *input = rest;
        let is_control = frame.opcode.is_control();
        let (buffer, bytes_max) = match is_control {
            true => (&mut self.control, super::CONTROL_PAYLOAD_BYTES_MAX),
            false => (&mut self.message, self.message_bytes_max),
        };
        let start = buffer.len();
        assert!(start + count <= bytes_max, "the header was checked against the limit");
        grow(buffer, count, bytes_max);
        buffer.extend_from_slice(chunk);
        unmask(&mut buffer[start..], frame.key, taken);
        if !is_control && self.kind == DataKind::Text {
            self.check_utf8()?;
        }
        Ok(count as u64)
    }

    /// Checks what is new in the open text message; a character may still lack its last bytes.
    fn check_utf8(&mut self) -> Result<(), Violation> {
        match core::str::from_utf8(&self.message[self.utf8_until..]) {
            Ok(_) => self.utf8_until = self.message.len(),
            Err(error) if error.error_len().is_some() => return Err(Violation::NotUtf8),
            Err(error) => self.utf8_until += error.valid_up_to(),
        }
        Ok(())
    }

    fn finish(&mut self, frame: &FrameHeader) -> Result<Option<Event>, Violation> {
        match frame.opcode {
            Opcode::Ping => Ok(Some(Event::Ping(core::mem::take(&mut self.control).into()))),
            Opcode::Pong => Ok(Some(Event::Pong(core::mem::take(&mut self.control).into()))),
            Opcode::Close => {
                let payload = core::mem::take(&mut self.control);
                Close::parse(&payload).map(|close| Some(Event::Close(close)))
            }
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                self.open = !frame.fin;
                if self.open {
                    return Ok(None);
                }
                let text = self.kind == DataKind::Text;
                if text && self.utf8_until < self.message.len() {
                    return Err(Violation::NotUtf8);
                }
                self.utf8_until = 0;
                let payload = core::mem::take(&mut self.message).into();
                Ok(Some(Event::Message { text, payload }))
            }
        }
    }

    fn end(&mut self) {
        self.stage = Stage::Ended;
        self.header = HeaderReader::default();
        self.open = false;
        self.message = Vec::new();
        self.control = Vec::new();
    }
}

/// Makes room for `more` bytes: for bytes that are here, not for those a header announces, doubling to keep
/// many small fragments linear, and never above the limit.
fn grow(buffer: &mut Vec<u8>, more: usize, bytes_max: usize) {
    let needed = buffer.len() + more;
    if needed <= buffer.capacity() {
        return;
    }
    let target = needed.max((buffer.capacity() * 2).min(bytes_max));
    buffer.reserve_exact(target - buffer.len());
}
