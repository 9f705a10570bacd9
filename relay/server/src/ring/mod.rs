//! The raw io_uring driver of one shard: TCP listeners, TCP streams and UDP sockets on one ring.
//! It decides when the kernel is asked and which memory it may touch; it knows no protocol and no executor.
//!
//! The owner calls [`Ring::turn`] in a loop, acts on the [`Completion`]s, queues sends, and turns again: everything
//! queued between two turns is submitted with one system call. When nothing is left, [`Ring::wait`] puts the shard to
//! sleep.

mod accept;
mod buffers;
mod cmsg;
mod complete;
mod datagram;
mod error;
mod park;
mod slab;
mod slots;
pub mod socket;
mod stream;
mod submit;
mod token;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use io_uring::{IoUring, cqueue, squeue};

use self::accept::Listener;
use self::buffers::BufferRing;
use self::datagram::{Outbound, UdpSocket};
use self::park::Park;
use self::slots::Slots;
use self::stream::Stream;

pub use self::datagram::{Datagram, OutgoingDatagrams};
pub use self::error::{MEMLOCK_BYTES_MIN, RingError, check_host};
pub use self::park::Waker;
pub use self::slab::{Slab, SlabPool};
pub use self::slots::SlotKey;

/// Names a TCP listener of this ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerKey(SlotKey);

/// Names a TCP stream of this ring; a key that outlives its stream is refused, never mistaken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey(SlotKey);

impl StreamKey {
    /// The stream's slot: dense, and reused only after everything in flight for it has completed.
    pub fn slot(self) -> SlotKey {
        self.0
    }
}

/// Names a UDP socket of this ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UdpKey(SlotKey);

/// How large a shard's ring is. The defaults suit some thousand busy connections.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// Entries of the submission queue; more are submitted in several system calls.
    pub submissions: u32,
    /// Entries of the completion queue; the kernel keeps what exceeds it until there is room.
    pub completions: u32,
    /// Receive buffers shared by all TCP streams (a power of two); at least four per busy connection.
    pub receive_buffers: u16,
    /// Bytes of each of these buffers.
    pub receive_buffer_bytes: usize,
    /// Receive buffers shared by all UDP sockets (a power of two), each as large as the largest GRO batch.
    pub datagram_buffers: u16,
    /// UDP sends in flight at a time, over all sockets.
    pub datagram_sends_max: usize,
    /// Bytes that a fresh send slab holds before it grows.
    pub slab_bytes: usize,
    /// Bytes of idle slabs kept for reuse.
    pub slab_pool_bytes_max: usize,
    /// TCP streams at a time.
    pub streams_max: usize,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self {
            submissions: 4096,
            completions: 16384,
            receive_buffers: 2048,
            receive_buffer_bytes: 4096,
            datagram_buffers: 128,
            datagram_sends_max: 1024,
            slab_bytes: 4096,
            slab_pool_bytes_max: 32 * 1024 * 1024,
            streams_max: 1 << 20,
        }
    }
}

/// Sockets at a time that listen or carry datagrams.
const SERVICE_SOCKETS_MAX: usize = 64;

/// What the kernel has finished. Bytes are lent until the sink returns.
pub enum Completion<'a> {
    /// A peer connected; add the socket with [`Ring::add_stream`] or drop it.
    Accepted { listener: ListenerKey, socket: OwnedFd, peer: SocketAddr },
    /// The process or host is out of what a connection needs; the ring tries again by itself a little later.
    AcceptFailed { listener: ListenerKey, errno: i32 },
    /// Bytes arrived. They may be changed in place.
    Received { stream: StreamKey, bytes: &'a mut [u8] },
    /// The peer sends no more.
    Eof { stream: StreamKey },
    /// All bytes of the send were taken by the kernel; the next may follow.
    Sent { stream: StreamKey, bytes: usize },
    /// The connection is broken, reported once; only [`Ring::close`] remains.
    Failed { stream: StreamKey, errno: i32 },
    /// One or more datagrams from one peer.
    Datagram(Datagram<'a>),
    /// A datagram send ended. Errors are those of sendmsg; `segmented` says that it used GSO.
    DatagramSent { udp: UdpKey, error: Option<i32>, segmented: bool },
}

/// Why a send was not taken. The bytes come back with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRefusal {
    /// The key names nothing any more, or the socket is closing or broken.
    Gone,
    /// This stream has a send in flight; its `Sent` comes first.
    Busy,
    /// As many datagram sends are in flight as are allowed; `DatagramSent` comes first.
    Full,
    /// [`Ring::finish`] was called.
    Finished,
    /// More segments or bytes than the kernel takes in one send.
    Oversized,
}

/// What the ring holds right now and what it met so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    pub listeners: usize,
    pub streams: usize,
    pub udp_sockets: usize,
    /// Entries handed to the kernel whose last completion is still due.
    pub operations_in_flight: usize,
    pub datagram_sends_in_flight: usize,
    pub slabs_outstanding: usize,
    /// Receives that found no buffer and were armed again, since the start.
    pub receives_starved: u64,
    /// Datagrams dropped because they did not fit or could not be read, since the start.
    pub datagrams_dropped: u64,
    /// System calls to submit and reap, since the start.
    pub enters: u64,
}

/// One shard's sockets. Lives and dies on the thread that made it.
pub struct Ring {
    uring: IoUring,
    /// Entries that found the submission queue full, in order.
    backlog: VecDeque<squeue::Entry>,
    /// Reused by every turn.
    harvest: Vec<cqueue::Entry>,
    /// Completions that were found between two turns and wait for the next.
    early: Vec<cqueue::Entry>,
    listeners: Slots<Listener>,
    streams: Slots<Stream>,
    udp_sockets: Slots<UdpSocket>,
    datagram_sends: Slots<Box<Outbound>>,
    #[expect(clippy::vec_box, reason = "the boxes move between the two as they are")]
    spare_sends: Vec<Box<Outbound>>,
    stream_buffers: BufferRing,
    datagram_buffers: BufferRing,
    slabs: SlabPool,
    park: Park,
    /// When sockets that could not accept or receive are tried again.
    retry_at: Option<Instant>,
    counters: RingCounters,
    /// Bound to its thread: the kernel takes submissions from no other.
    _thread_bound: std::marker::PhantomData<Rc<()>>,
}

const STREAM_GROUP: u16 = 0;
const DATAGRAM_GROUP: u16 = 1;

fn builder() -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_taskrun_flag();
    builder.setup_submit_all();
    builder
}

impl Ring {
    /// Sets the ring up on the calling thread, which is the only one that may use it.
    pub fn new(config: &RingConfig) -> Result<Self, RingError> {
        let mut builder = builder();
        builder.setup_cqsize(config.completions);
        let uring = error::set_up(&builder, config.submissions)?;
        let submitter = uring.submitter();
        let buffers = |group, entries, bytes| {
            BufferRing::register(&submitter, group, entries, bytes)
                .map_err(RingError::kernel("register receive buffers"))
        };
        let stream_buffers = buffers(STREAM_GROUP, config.receive_buffers, config.receive_buffer_bytes)?;
        let datagram_buffers =
            buffers(DATAGRAM_GROUP, config.datagram_buffers, datagram::RECEIVE_BUFFER_BYTES)?;
        let park = Park::new()?;
        Ok(Self {
            backlog: VecDeque::new(),
            harvest: Vec::new(),
            early: Vec::new(),
            listeners: Slots::new(SERVICE_SOCKETS_MAX),
            streams: Slots::new(config.streams_max),
            udp_sockets: Slots::new(SERVICE_SOCKETS_MAX),
            datagram_sends: Slots::new(config.datagram_sends_max),
            spare_sends: Vec::new(),
            stream_buffers,
            datagram_buffers,
            slabs: SlabPool::new(config.slab_bytes, config.slab_pool_bytes_max),
            park,
            retry_at: None,
            counters: RingCounters::default(),
            uring,
            _thread_bound: std::marker::PhantomData,
        })
    }

    /// The pool that send slabs come from and return to; it may be used while completions are handled.
    pub fn slabs(&self) -> &SlabPool {
        &self.slabs
    }

    /// An empty send slab.
    pub fn slab(&self) -> Slab {
        self.slabs.take()
    }

    pub fn counters(&self) -> RingCounters {
        RingCounters {
            listeners: self.listeners.len(),
            streams: self.streams.len(),
            udp_sockets: self.udp_sockets.len(),
            datagram_sends_in_flight: self.datagram_sends.len(),
            slabs_outstanding: self.slabs.outstanding(),
            // The read that wakers end belongs to the ring itself.
            operations_in_flight: self.counters.operations_in_flight - usize::from(self.park.armed),
            ..self.counters
        }
    }
}

impl Drop for Ring {
    /// The kernel must be done with our memory before it is freed; if it does not let go, the memory is leaked.
    fn drop(&mut self) {
        if !self.cancel_everything() {
            self.stream_buffers.leak();
            self.datagram_buffers.leak();
            self.park.leak();
            std::mem::forget(std::mem::replace(&mut self.streams, Slots::new(0)));
            std::mem::forget(std::mem::replace(&mut self.datagram_sends, Slots::new(0)));
        }
    }
}

fn too_many(doing: &'static str) -> RingError {
    RingError::Kernel { doing, source: std::io::Error::from_raw_os_error(libc::EMFILE) }
}
