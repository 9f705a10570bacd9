//! Decides what a completion means: one turn submits what is queued, reaps what is done and hands each result on.

use io_uring::cqueue;

use super::token::{self, Operation};
use super::{Completion, Ring, RingError};

impl Ring {
    /// Submits everything queued with one system call (none if nothing is queued and nothing is done), then hands
    /// every completion to `sink`. Returns how many completions there were; zero means idle.
    pub fn turn(&mut self, sink: &mut impl FnMut(Completion<'_>)) -> Result<usize, RingError> {
        self.park.begin_turn();
        self.retry_stalled();
        self.publish_buffers();
        self.submit_and_reap()?;
        let mut harvest = std::mem::take(&mut self.harvest);
        harvest.append(&mut self.early);
        harvest.extend(self.uring.completion());
        let reaped = harvest.len();
        for entry in harvest.drain(..) {
            self.dispatch(&entry, sink);
        }
        self.harvest = harvest;
        self.publish_buffers();
        Ok(reaped)
    }

    /// Hands what is queued to the kernel at once and takes back the slabs of sends that are done. Called every few
    /// sends, it lets a burst of packets go through a few slabs that stay in cache. Other completions wait for the turn.
    pub fn send_now(&mut self) {
        // An error would come again in the turn, which reports it.
        if self.enter(0, 0).is_err() {
            return;
        }
        let mut harvest = std::mem::take(&mut self.harvest);
        harvest.extend(self.uring.completion());
        for entry in harvest.drain(..) {
            match token::decode(entry.user_data()) {
                (Operation::SendDatagrams, _) => self.dispatch(&entry, &mut |_| {}),
                _ => self.early.push(entry),
            }
        }
        self.harvest = harvest;
    }

    fn dispatch(&mut self, entry: &cqueue::Entry, sink: &mut impl FnMut(Completion<'_>)) {
        if !cqueue::more(entry.flags()) {
            let in_flight = self.counters.operations_in_flight.checked_sub(1);
            self.counters.operations_in_flight = in_flight.expect("each operation ends once");
        }
        let (operation, key) = token::decode(entry.user_data());
        match operation {
            Operation::Accept => self.on_accept(key, entry, sink),
            Operation::CancelAccept => self.on_accept_cancelled(key),
            Operation::Receive => self.on_receive(key, entry, sink),
            Operation::Send => self.on_send(key, entry.result(), sink),
            Operation::CancelStream => self.on_stream_cancelled(key),
            Operation::ReceiveDatagrams => self.on_receive_datagrams(key, entry, sink),
            Operation::SendDatagrams => self.on_send_datagrams(key, entry.result(), sink),
            Operation::CancelDatagrams => self.on_datagrams_cancelled(key),
            Operation::Wake => self.park.on_wake(),
            Operation::CancelAll => {}
        }
    }

    fn publish_buffers(&mut self) {
        self.stream_buffers.publish();
        self.datagram_buffers.publish();
    }
}
