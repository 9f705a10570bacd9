//! The UDP sockets of the load generator: waiting, receiving many packets at once, sending.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, anyhow, ensure};
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSocketState};

use crate::udp;

/// A server of several shards spreads new connections by the client's port.
const SOCKETS: usize = 8;
/// Room for one receive, in bytes: the longest run of packets that the kernel joins, and an odd rest, so that the
/// beginnings of all buffers do not share the same places of the cache.
const RECEIVE_BYTES: usize = 65_536 + 1_088;

/// Sockets connected to one server.
pub struct Sockets {
    peer: SocketAddr,
    sockets: Vec<(UdpSocket, UdpSocketState)>,
    polls: Vec<libc::pollfd>,
    storage: Vec<u8>,
}

impl Sockets {
    /// # Errors
    /// The system gives no sockets.
    pub fn open(peer: SocketAddr) -> Result<Self> {
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let open = |_| {
            let socket = udp::open(any)?;
            // Connected, it hears that nothing listens there.
            socket.connect(peer).with_context(|| format!("UDP address {peer}"))?;
            let state = UdpSocketState::new((&socket).into())?;
            Ok((socket, state))
        };
        let sockets = (0..SOCKETS).map(open).collect::<Result<Vec<_>>>()?;
        let poll = |(socket, _): &(UdpSocket, _)| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let polls = sockets.iter().map(poll).collect();
        Ok(Self { peer, sockets, polls, storage: vec![0; BATCH_SIZE * RECEIVE_BYTES] })
    }

    /// How many there are; they are named by number.
    pub fn count(&self) -> usize {
        self.sockets.len()
    }

    /// Waits until a socket has packets, but no longer than `nanoseconds`.
    ///
    /// # Errors
    /// The system can't wait.
    pub fn wait(&mut self, nanoseconds: u64) -> Result<()> {
        let time = libc::timespec {
            tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
            tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
        };
        let count = self.polls.len() as libc::nfds_t;
        // SAFETY: the pointer and the count describe the vector, and the time is a local that outlives the call.
        let ready = unsafe { libc::ppoll(self.polls.as_mut_ptr(), count, &time, std::ptr::null()) };
        let error = io::Error::last_os_error();
        ensure!(ready >= 0 || error.kind() == io::ErrorKind::Interrupted, "waiting for packets: {error}");
        Ok(())
    }

    /// True when the last wait found packets on this socket.
    pub fn is_ready(&self, socket: usize) -> bool {
        self.polls[socket].revents != 0
    }

    /// Takes one batch of packets of a socket; `take` gets each run of them.
    ///
    /// # Errors
    /// Nothing listens at the server's address, or what `take` says.
    pub fn receive(
        &mut self,
        socket: usize,
        mut take: impl FnMut(&RecvMeta, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let (socket, state) = &self.sockets[socket];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut storage = self.storage.chunks_mut(RECEIVE_BYTES);
        let mut slices: [IoSliceMut; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(storage.next().expect("a buffer for each message")));
        let received = match state.recv(socket.into(), &mut slices, &mut metas) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(explain(error, self.peer)),
        };
        for (meta, slice) in metas.iter().zip(&slices).take(received) {
            take(meta, &slice[..meta.len])?;
        }
        Ok(())
    }

    /// Packets that one send may carry.
    pub fn segments_max(&self, socket: usize) -> usize {
        self.sockets[socket].1.max_gso_segments()
    }

    /// Sends packets. Those that the kernel has no room for are lost, as the network may lose any.
    ///
    /// # Errors
    /// Nothing listens at the server's address.
    pub fn send(&self, socket: usize, transmit: &quinn_proto::Transmit, contents: &[u8]) -> Result<()> {
        let (socket, state) = &self.sockets[socket];
        let transmit = Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents,
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        match state.try_send(socket.into(), &transmit) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(explain(error, self.peer)),
            // A packet that only tries how much the path carries may be too long.
            _ => Ok(()),
        }
    }
}

fn explain(error: io::Error, peer: SocketAddr) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            anyhow!("nothing listens at UDP address {peer}: no server was started there, or it has ended")
        }
        _ => anyhow!(error).context(format!("receiving from {peer}")),
    }
}
