//! What waits for one connection: references to shared frames, bounded in number and bytes. Ephemeral frames wait
//! apart, go last and are dropped first: they never cost a frame that may not be dropped its place.

use alloc::collections::VecDeque;

use schema_wire::Frame;
use schema_wire::frame::Lane;

use crate::limits::Limits;

/// The outbox has no room for a frame that may not be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overflow;

/// Frames of one session, oldest first.
#[derive(Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Frame>,
    ephemeral: VecDeque<Frame>,
    bytes: usize,
}

impl Outbox {
    /// Queues a frame that may not be dropped; `true` when the outbox was empty before.
    pub(crate) fn push(&mut self, frame: Frame, limits: &Limits) -> Result<bool, Overflow> {
        let was_empty = self.is_empty();
        if self.bytes + frame.body_len() > limits.outbox_bytes {
            self.drop_ephemeral();
        }
        let bytes = self.bytes + frame.body_len();
        if self.frames.len() >= limits.outbox_frames
            || (bytes > limits.outbox_bytes && !self.frames.is_empty())
        {
            return Err(Overflow);
        }
        self.bytes = bytes;
        self.frames.push_back(frame);
        Ok(was_empty)
    }

    /// Queues a frame for somebody who catches up. The caller asked `has_room`, so the bound holds but for this frame.
    pub(crate) fn fill(&mut self, frame: Frame) -> bool {
        let was_empty = self.is_empty();
        self.bytes += frame.body_len();
        self.frames.push_back(frame);
        was_empty
    }

    /// Queues a frame that may be dropped; `true` when the outbox was empty before.
    pub(crate) fn push_ephemeral(&mut self, frame: Frame, limits: &Limits) -> bool {
        let bytes = self.bytes + frame.body_len();
        // A quarter of the bytes, so that who catches up always has room besides.
        if self.ephemeral.len() >= limits.outbox_ephemeral
            || self.frames.len() >= limits.outbox_frames / 2
            || bytes > limits.outbox_bytes / 4
        {
            return false;
        }
        let was_empty = self.is_empty();
        self.bytes = bytes;
        self.ephemeral.push_back(frame);
        was_empty
    }

    /// Ephemeral frames of one lane are not wanted any more.
    pub(crate) fn forget(&mut self, lane: Lane) {
        let Self { ephemeral, bytes, .. } = self;
        ephemeral.retain(|frame| {
            let kept = frame.lane() != lane;
            *bytes -= if kept { 0 } else { frame.body_len() };
            kept
        });
    }

    fn drop_ephemeral(&mut self) {
        self.bytes -= self.ephemeral.drain(..).map(|frame| frame.body_len()).sum::<usize>();
    }

    /// The next frame to send.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front().or_else(|| self.ephemeral.pop_front())?;
        self.bytes -= frame.body_len();
        Some(frame)
    }

    /// Whether catching up may add to it: the upper half is kept for what is live.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.frames.is_empty()
            || (self.frames.len() < limits.outbox_frames / 2 && self.bytes < limits.outbox_bytes / 2)
    }

    /// How many frames may be added by catching up, where that may add any.
    pub(crate) fn room(&self, limits: &Limits) -> u32 {
        let room = (limits.outbox_frames / 2).saturating_sub(self.frames.len());
        u32::try_from(room).unwrap_or(u32::MAX).max(1)
    }

    /// Whether catching up goes on that stopped for want of room: half of what it may fill is free, so that pages are large
    /// also for slow readers.
    pub(crate) fn is_low(&self, limits: &Limits) -> bool {
        self.frames.is_empty()
            || (self.frames.len() < limits.outbox_frames / 4 && self.bytes < limits.outbox_bytes / 4)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.ephemeral.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len() + self.ephemeral.len()
    }
}
