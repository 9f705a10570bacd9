//! Decides how connections come in: one multishot accept per listener, tried again by itself when the host is
//! short of what a connection needs.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, types};
use socket2::SockRef;

use super::slots::SlotKey;
use super::token::{self, Operation};
use super::{Completion, ListenerKey, Ring, RingError};

/// How long a socket rests that failed for a reason that would only repeat at once.
const RETRY_AFTER: Duration = Duration::from_millis(100);

pub(super) struct Listener {
    socket: OwnedFd,
    accepting: bool,
    cancels: u8,
    closing: bool,
}

impl Ring {
    /// Accepts on a listening socket until [`Ring::close_listener`].
    pub fn add_listener(&mut self, socket: OwnedFd) -> Result<ListenerKey, RingError> {
        let listener = Listener { socket, accepting: false, cancels: 0, closing: false };
        let key = self.listeners.insert(listener).map_err(|_| super::too_many("listen on more sockets"))?;
        self.arm_accept(key);
        Ok(ListenerKey(key))
    }

    /// Stops accepting and closes the listening socket.
    pub fn close_listener(&mut self, listener: ListenerKey) {
        let Some(state) = self.listeners.get_mut(listener.0).filter(|state| !state.closing) else { return };
        state.closing = true;
        if state.accepting {
            state.cancels += 1;
            let cancel = opcode::AsyncCancel::new(token::encode(Operation::Accept, listener.0));
            self.push(cancel.build().user_data(token::encode(Operation::CancelAccept, listener.0)));
        }
        self.settle_listener(listener.0);
    }

    pub(super) fn arm_accept(&mut self, key: SlotKey) {
        let Some(listener) = self.listeners.get_mut(key) else { return };
        if listener.accepting || listener.closing {
            return;
        }
        listener.accepting = true;
        let accept =
            opcode::AcceptMulti::new(types::Fd(listener.socket.as_raw_fd())).flags(libc::SOCK_CLOEXEC);
        self.push(accept.build().user_data(token::encode(Operation::Accept, key)));
    }

    pub(super) fn on_accept(
        &mut self,
        key: SlotKey,
        entry: &cqueue::Entry,
        sink: &mut impl FnMut(Completion<'_>),
    ) {
        let listener = self.listeners.get_mut(key).expect("a listener outlives its operations");
        listener.accepting = cqueue::more(entry.flags());
        let closing = listener.closing;
        let mut rest = false;
        if entry.result() >= 0 {
            // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
            let socket = unsafe { OwnedFd::from_raw_fd(entry.result()) };
            let peer = SockRef::from(&socket).peer_addr().ok().and_then(|address| address.as_socket());
            // A peer that is gone again has no address, and nobody misses it.
            if let Some(peer) = peer.filter(|_| !closing) {
                let peer = super::socket::canonical(peer);
                sink(Completion::Accepted { listener: ListenerKey(key), socket, peer });
            }
        } else if !closing && !is_passing(-entry.result()) {
            rest = true;
            sink(Completion::AcceptFailed { listener: ListenerKey(key), errno: -entry.result() });
        }
        if rest {
            self.retry_later();
        } else {
            self.arm_accept(key);
        }
        self.settle_listener(key);
    }

    pub(super) fn on_accept_cancelled(&mut self, key: SlotKey) {
        let listener = self.listeners.get_mut(key).expect("a listener outlives its operations");
        listener.cancels -= 1;
        self.settle_listener(key);
    }

    fn settle_listener(&mut self, key: SlotKey) {
        let done = self.listeners.get(key).is_some_and(|it| it.closing && !it.accepting && it.cancels == 0);
        if done {
            self.listeners.remove(key);
        }
    }

    pub(super) fn retry_later(&mut self) {
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY_AFTER);
    }

    pub(super) fn retry_stalled(&mut self) {
        if self.retry_at.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.retry_at = None;
        for key in self.listeners.keys().collect::<Vec<_>>() {
            self.arm_accept(key);
        }
        for key in self.udp_sockets.keys().collect::<Vec<_>>() {
            self.arm_receive_datagrams(key);
        }
    }
}

/// Errors of one connection, or of an operation that is armed again at once.
fn is_passing(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECANCELED | libc::EINTR | libc::EAGAIN | libc::ECONNABORTED | libc::EPROTO | libc::ENETDOWN
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;

    use super::super::{RingConfig, socket};
    use super::*;

    fn listening(ring: &mut Ring) -> (ListenerKey, TcpStream) {
        let listener = socket::open_tcp("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = socket::local_address(&listener).unwrap();
        let key = ring.add_listener(listener).unwrap();
        ring.turn(&mut |_| {}).unwrap();
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        (key, client)
    }

    #[test]
    fn connections_that_nobody_took_are_closed_with_the_ring() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let (_, mut client) = listening(&mut ring);
        drop(ring);
        let end = client.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{end:?}");
    }

    #[test]
    fn a_closed_listener_takes_nobody() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        let (key, mut client) = listening(&mut ring);
        ring.close_listener(key);
        ring.close_listener(key);
        while ring.counters().listeners > 0 {
            ring.turn(&mut |_| unreachable!("nothing is reported for it")).unwrap();
        }
        assert_eq!(ring.counters().operations_in_flight, 0);
        let end = client.read(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(end, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{end:?}");
    }
}
