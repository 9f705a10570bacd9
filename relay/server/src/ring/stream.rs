//! Decides the life of a TCP stream on the ring: one multishot receive, one send in flight,
//! and a socket that closes only after everything in flight has completed.

use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::types::CancelBuilder;
use io_uring::{cqueue, opcode, types};

use super::slab::Slab;
use super::slots::SlotKey;
use super::token::{self, Operation};
use super::{Completion, Ring, RingError, SendRefusal, StreamKey};

pub(super) struct Stream {
    socket: OwnedFd,
    sending: Option<Sending>,
    receiving: bool,
    cancels: u8,
    /// Back-pressure: the owner wants no more input for now.
    paused: bool,
    ended: bool,
    failed: bool,
    /// No send follows the one in flight; then the write side is shut.
    finished: bool,
    closing: bool,
}

struct Sending {
    slab: Slab,
    sent: usize,
}

impl Stream {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            sending: None,
            receiving: false,
            cancels: 0,
            paused: false,
            ended: false,
            failed: false,
            finished: false,
            closing: false,
        }
    }

    fn wants_receive(&self) -> bool {
        !(self.receiving || self.paused || self.ended || self.failed || self.closing)
    }

    fn is_idle(&self) -> bool {
        !self.receiving && self.sending.is_none() && self.cancels == 0
    }

    fn shut(&self, how: libc::c_int) {
        // SAFETY: the descriptor is open as long as the stream exists. A peer that is gone already makes this fail,
        // which the receive in flight reports.
        unsafe { libc::shutdown(self.socket.as_raw_fd(), how) };
    }
}

impl Ring {
    /// Takes a connected socket over and starts to receive on it.
    pub fn add_stream(&mut self, socket: OwnedFd) -> Result<StreamKey, RingError> {
        let key =
            self.streams.insert(Stream::new(socket)).map_err(|_| super::too_many("carry more streams"))?;
        self.arm_receive(key);
        Ok(StreamKey(key))
    }

    /// Sends all bytes of the slab, which returns to its pool when the kernel is done with it.
    pub fn send(&mut self, stream: StreamKey, slab: Slab) -> Result<(), (SendRefusal, Slab)> {
        assert!(!slab.is_empty(), "an empty send would be mistaken for a closed connection");
        let Some(state) = self.streams.get_mut(stream.0).filter(|it| !it.closing && !it.failed) else {
            return Err((SendRefusal::Gone, slab));
        };
        if state.finished {
            return Err((SendRefusal::Finished, slab));
        }
        if state.sending.is_some() {
            return Err((SendRefusal::Busy, slab));
        }
        state.sending = Some(Sending { slab, sent: 0 });
        self.push_send(stream.0);
        Ok(())
    }

    /// Whether [`Ring::send`] would take a slab now.
    pub fn can_send(&self, stream: StreamKey) -> bool {
        let state = self.streams.get(stream.0);
        state.is_some_and(|it| it.sending.is_none() && !it.finished && !it.closing && !it.failed)
    }

    /// Stops receiving, so that the peer is slowed down by TCP. What the kernel has already handed over still
    /// arrives: at most as much as there are receive buffers.
    pub fn pause_recv(&mut self, stream: StreamKey) {
        let Some(state) = self.streams.get_mut(stream.0).filter(|it| !it.closing) else { return };
        state.paused = true;
        self.cancel_receive_if_paused(stream.0);
    }

    pub fn resume_recv(&mut self, stream: StreamKey) {
        let Some(state) = self.streams.get_mut(stream.0) else { return };
        state.paused = false;
        self.arm_receive(stream.0);
    }

    /// Shuts the write side once the send in flight is done. The peer's remaining bytes and its end still arrive.
    pub fn finish(&mut self, stream: StreamKey) {
        let Some(state) = self.streams.get_mut(stream.0).filter(|it| !it.finished) else { return };
        state.finished = true;
        if state.sending.is_none() {
            state.shut(libc::SHUT_WR);
        }
    }

    /// Cancels what is in flight; the socket closes when that has completed. Nothing is reported for it any more.
    pub fn close(&mut self, stream: StreamKey) {
        let Some(state) = self.streams.get_mut(stream.0).filter(|it| !it.closing) else { return };
        state.closing = true;
        if state.receiving || state.sending.is_some() {
            state.cancels += 1;
            let of_socket = CancelBuilder::fd(types::Fd(state.socket.as_raw_fd())).all();
            let cancel = opcode::AsyncCancel2::new(of_socket).build();
            self.push(cancel.user_data(token::encode(Operation::CancelStream, stream.0)));
        }
        self.settle_stream(stream.0);
    }

    fn arm_receive(&mut self, key: SlotKey) {
        let Some(stream) = self.streams.get_mut(key).filter(|it| it.wants_receive()) else { return };
        stream.receiving = true;
        let socket = types::Fd(stream.socket.as_raw_fd());
        let receive = opcode::RecvMulti::new(socket, self.stream_buffers.group()).build();
        self.push(receive.user_data(token::encode(Operation::Receive, key)));
    }

    fn push_send(&mut self, key: SlotKey) {
        let stream = self.streams.get(key).expect("the caller has just looked it up");
        let sending = stream.sending.as_ref().expect("the caller has just set it");
        let rest = &sending.slab[sending.sent..];
        // The kernel takes at most 2 GiB at once; what is left follows like any short send.
        let len = u32::try_from(rest.len()).unwrap_or(u32::MAX >> 2);
        let send = opcode::Send::new(types::Fd(stream.socket.as_raw_fd()), rest.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL);
        self.push(send.build().user_data(token::encode(Operation::Send, key)));
    }

    fn cancel_receive_if_paused(&mut self, key: SlotKey) {
        let stream = self.streams.get_mut(key);
        let due = |it: &&mut Stream| it.paused && it.receiving && it.cancels == 0 && !it.closing;
        let Some(stream) = stream.filter(due) else { return };
        stream.cancels += 1;
        let cancel = opcode::AsyncCancel::new(token::encode(Operation::Receive, key)).build();
        self.push(cancel.user_data(token::encode(Operation::CancelStream, key)));
    }

    pub(super) fn on_receive(
        &mut self,
        key: SlotKey,
        entry: &cqueue::Entry,
        sink: &mut impl FnMut(Completion<'_>),
    ) {
        let stream = self.streams.get_mut(key).expect("a stream outlives its operations");
        stream.receiving = cqueue::more(entry.flags());
        let silent = stream.closing || stream.failed;
        let buffer = cqueue::buffer_select(entry.flags());
        match entry.result() {
            0 => {
                stream.ended = true;
                if !silent {
                    sink(Completion::Eof { stream: StreamKey(key) });
                }
            }
            len if len > 0 => {
                let id = buffer.expect("received bytes lie in a provided buffer");
                if !silent {
                    let bytes = self.stream_buffers.filled(id, len as usize);
                    sink(Completion::Received { stream: StreamKey(key), bytes });
                }
            }
            error if error == -libc::ENOBUFS => self.counters.receives_starved += 1,
            error if is_passing(-error) => {}
            error => self.fail_stream(key, -error, sink),
        }
        if let Some(id) = buffer {
            self.stream_buffers.give_back(id);
        }
        self.arm_receive(key);
        self.settle_stream(key);
    }

    pub(super) fn on_send(&mut self, key: SlotKey, result: i32, sink: &mut impl FnMut(Completion<'_>)) {
        let stream = self.streams.get_mut(key).expect("a stream outlives its operations");
        let mut sending = stream.sending.take().expect("a send in flight has its slab");
        if stream.closing {
            return self.settle_stream(key);
        }
        match result {
            sent if sent > 0 => {
                sending.sent += sent as usize;
                if sending.sent < sending.slab.len() {
                    stream.sending = Some(sending);
                    return self.push_send(key);
                }
                if stream.finished {
                    stream.shut(libc::SHUT_WR);
                }
                if !stream.failed {
                    sink(Completion::Sent { stream: StreamKey(key), bytes: sending.sent });
                }
            }
            error if is_passing(-error) && !stream.failed => {
                stream.sending = Some(sending);
                self.push_send(key);
            }
            0 => self.fail_stream(key, libc::EPIPE, sink),
            error => self.fail_stream(key, -error, sink),
        }
    }

    fn fail_stream(&mut self, key: SlotKey, errno: i32, sink: &mut impl FnMut(Completion<'_>)) {
        let stream = self.streams.get_mut(key).expect("the caller has just looked it up");
        if !stream.failed && !stream.closing {
            stream.failed = true;
            sink(Completion::Failed { stream: StreamKey(key), errno });
        }
    }

    pub(super) fn on_stream_cancelled(&mut self, key: SlotKey) {
        let stream = self.streams.get_mut(key).expect("a stream outlives its operations");
        stream.cancels -= 1;
        if stream.closing && stream.cancels == 0 && !stream.is_idle() {
            // An operation that was running while the cancel looked for it ends by this instead.
            stream.shut(libc::SHUT_RDWR);
        }
        self.cancel_receive_if_paused(key);
        self.settle_stream(key);
    }

    fn settle_stream(&mut self, key: SlotKey) {
        if self.streams.get(key).is_some_and(|it| it.closing && it.is_idle()) {
            self.streams.remove(key);
        }
    }
}

/// Results after which the same operation is simply asked for again.
fn is_passing(errno: i32) -> bool {
    matches!(errno, libc::ECANCELED | libc::EINTR | libc::EAGAIN)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::super::{RingConfig, SendRefusal};
    use super::*;

    fn pair(ring: &mut Ring) -> (StreamKey, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (ring.add_stream(ours.into()).unwrap(), theirs)
    }

    fn slab(ring: &Ring, bytes: &[u8]) -> Slab {
        let mut slab = ring.slab();
        slab.extend_from_slice(bytes);
        slab
    }

    /// Turns until the ring is idle.
    fn settle(ring: &mut Ring) -> Vec<String> {
        let mut seen = Vec::new();
        let mut note = |completion: Completion<'_>| match completion {
            Completion::Received { bytes, .. } => seen.push(String::from_utf8(bytes.to_vec()).unwrap()),
            Completion::Eof { .. } => seen.push("eof".to_owned()),
            Completion::Sent { bytes, .. } => seen.push(format!("sent {bytes}")),
            Completion::Failed { errno, .. } => seen.push(format!("failed {errno}")),
            _ => unreachable!("only a stream is on this ring"),
        };
        let mut idle = 0;
        while idle < 2 {
            idle = if ring.turn(&mut note).unwrap() > 0 { 0 } else { idle + 1 };
            ring.wait(Some(std::time::Duration::from_millis(1))).unwrap();
        }
        seen
    }

    #[test]
    fn a_second_send_waits_for_the_first() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let (key, mut peer) = pair(&mut ring);
        ring.send(key, slab(&ring, b"one")).map_err(|(refusal, _)| refusal).unwrap();
        let (refusal, back) = ring.send(key, slab(&ring, b"two")).err().unwrap();
        assert_eq!((refusal, &back[..]), (SendRefusal::Busy, &b"two"[..]));
        assert_eq!(settle(&mut ring), ["sent 3"]);
        ring.send(key, back).map_err(|(refusal, _)| refusal).unwrap();
        ring.finish(key);
        assert_eq!(ring.send(key, slab(&ring, b"three")).err().unwrap().0, SendRefusal::Finished);
        assert_eq!(settle(&mut ring), ["sent 3"]);
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        assert_eq!(all, "onetwo");
        assert_eq!(ring.counters().slabs_outstanding, 0);
    }

    #[test]
    fn a_paused_stream_receives_only_after_it_is_resumed() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let (key, mut peer) = pair(&mut ring);
        assert!(settle(&mut ring).is_empty());
        for _ in 0..3 {
            ring.pause_recv(key);
            ring.resume_recv(key);
            ring.pause_recv(key);
            assert!(settle(&mut ring).is_empty());
            peer.write_all(b"waits").unwrap();
            assert!(settle(&mut ring).is_empty());
            ring.resume_recv(key);
            assert_eq!(settle(&mut ring), ["waits"]);
        }
        drop(peer);
        assert_eq!(settle(&mut ring), ["eof"]);
    }

    #[test]
    fn a_key_that_outlives_its_stream_is_refused() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let (old, old_peer) = pair(&mut ring);
        assert!(settle(&mut ring).is_empty());
        ring.close(old);
        ring.close(old);
        assert_eq!(ring.counters().streams, 1, "the receive is still in flight");
        assert!(settle(&mut ring).is_empty());
        assert_eq!(ring.counters().streams, 0);
        let (new, mut peer) = pair(&mut ring);
        assert_eq!(old.slot().index(), new.slot().index());
        ring.close(old);
        assert_eq!(ring.send(old, slab(&ring, b"lost")).err().unwrap().0, SendRefusal::Gone);
        peer.write_all(b"mine").unwrap();
        assert_eq!(settle(&mut ring), ["mine"]);
        drop(old_peer);
    }

    #[test]
    fn a_send_that_the_peer_never_reads_ends_with_its_stream() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let (key, peer) = pair(&mut ring);
        ring.send(key, slab(&ring, &vec![0; 8 << 20])).map_err(|(refusal, _)| refusal).unwrap();
        assert!(settle(&mut ring).is_empty());
        ring.close(key);
        assert!(settle(&mut ring).is_empty());
        assert_eq!((ring.counters().streams, ring.counters().operations_in_flight), (0, 0));
        drop(peer);
    }
}
