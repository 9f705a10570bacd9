//! Frames of one lane that leave together: joined once, then shared by every connection that sends the same ones.

use bytes::{Bytes, BytesMut};
use schema_wire::Frame;
use schema_wire::frame::Lane;

/// Frames of one run.
pub(super) const RUN_FRAMES_MAX: usize = 32;
/// Bytes that are joined; a longer frame is a run by itself and is not copied.
const RUN_BYTES_MAX: usize = 16 * 1024;

/// Collects a run and remembers the last one.
#[derive(Default)]
pub(super) struct Runs {
    frames: Vec<Frame>,
    bytes: usize,
    /// The last run of several frames, and its bytes. Holding the frames keeps their addresses from being used anew.
    last: (Vec<Frame>, Bytes),
}

impl Runs {
    /// True when the frame may follow those collected.
    pub(super) fn fits(&self, frame: &Frame) -> bool {
        let Some(first) = self.frames.first() else { return true };
        first.lane() == frame.lane()
            && self.frames.len() < RUN_FRAMES_MAX
            && self.bytes + frame.quic().len() <= RUN_BYTES_MAX
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.quic().len();
        self.frames.push(frame);
    }

    pub(super) fn lane(&self) -> Option<Lane> {
        self.frames.first().map(Frame::lane)
    }

    /// The run as it travels on a stream, with the frames it is made of. Begins the next run when it is dropped.
    pub(super) fn joined(&mut self) -> (Bytes, &[Frame]) {
        (self.join(), &self.frames)
    }

    /// Ends the run: hands out all frames but the first `taken`.
    pub(super) fn rest(&mut self, taken: usize) -> impl Iterator<Item = Frame> {
        self.bytes = 0;
        self.frames.drain(..).skip(taken)
    }

    /// Forgets the last run; its frames need not live on.
    pub(super) fn forget(&mut self) {
        self.last.0.clear();
        self.last.1 = Bytes::new();
    }

    fn join(&mut self) -> Bytes {
        if let [only] = &self.frames[..] {
            return only.quic().clone();
        }
        let (frames, bytes) = &mut self.last;
        let address = |frame: &Frame| frame.quic().as_ptr();
        if !frames.iter().map(address).eq(self.frames.iter().map(address)) {
            let mut joined = BytesMut::with_capacity(self.bytes);
            self.frames.iter().for_each(|frame| joined.extend_from_slice(frame.quic()));
            *bytes = joined.freeze();
            frames.clone_from(&self.frames);
        }
        bytes.clone()
    }
}

#[cfg(test)]
mod tests {
    use schema_wire::v1::{Pong, ServerFrame, server_frame};

    use super::*;

    fn frame(lane: Lane) -> Frame {
        let pong = server_frame::Body::Pong(Pong::default());
        Frame::new(&ServerFrame { body: Some(pong), ..ServerFrame::default() }, lane)
    }

    fn joined(runs: &mut Runs, frames: &[Frame]) -> Bytes {
        frames.iter().for_each(|frame| runs.push(frame.clone()));
        let (bytes, collected) = runs.joined();
        assert_eq!(collected.len(), frames.len());
        bytes
    }

    #[test]
    fn equal_runs_share_their_bytes_and_others_do_not() {
        let mut runs = Runs::default();
        let frames: Vec<_> = (0..3).map(|_| frame(Lane::Control)).collect();
        let whole: Vec<u8> = frames.iter().flat_map(|frame| frame.quic().to_vec()).collect();
        let first = joined(&mut runs, &frames);
        assert_eq!(first, whole);
        assert_eq!(runs.rest(1).count(), 2);
        let second = joined(&mut runs, &frames);
        assert_eq!(second.as_ptr(), first.as_ptr());
        assert_eq!(runs.rest(3).count(), 0);
        let other = joined(&mut runs, &[frames[0].clone(), frames[2].clone()]);
        assert_ne!(other.as_ptr(), first.as_ptr());
        runs.forget();
        assert_eq!(runs.rest(0).count(), 2);
        assert_eq!(frames[1].references(), 1, "nothing is held back");
    }

    #[test]
    fn one_frame_is_not_copied_and_lanes_do_not_mix() {
        let mut runs = Runs::default();
        let one = frame(Lane::Conversation(1));
        assert!(runs.fits(&one));
        assert_eq!(joined(&mut runs, std::slice::from_ref(&one)).as_ptr(), one.quic().as_ptr());
        assert!(runs.fits(&one) && !runs.fits(&frame(Lane::Control)));
        assert_eq!(runs.lane(), Some(Lane::Conversation(1)));
        (1..RUN_FRAMES_MAX).for_each(|_| runs.push(one.clone()));
        assert!(!runs.fits(&one));
    }
}
