//! Decides which memory the kernel receives into: one ring of provided buffers per group,
//! each lent for the length of one completion and handed back at once.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// A group of equally sized receive buffers, shared by all sockets of its kind.
pub(super) struct BufferRing {
    group: u16,
    entries: u16,
    buffer_bytes: usize,
    ring: Mapping,
    memory: Mapping,
    /// The next tail to publish; the kernel sees it after [`BufferRing::publish`].
    tail: u16,
}

impl BufferRing {
    /// Maps and registers `entries` (a power of two) buffers of `buffer_bytes`.
    pub(super) fn register(
        submitter: &Submitter<'_>,
        group: u16,
        entries: u16,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        assert!(
            entries.is_power_of_two() && entries <= 1 << 15,
            "the kernel wants a power of two up to 32768"
        );
        let ring = Mapping::new(usize::from(entries) * size_of::<BufRingEntry>())?;
        let memory = Mapping::new(usize::from(entries) * buffer_bytes)?;
        // SAFETY: the mapping is page aligned, large enough, and lives until the ring is gone.
        unsafe { submitter.register_buf_ring_with_flags(ring.start.as_ptr() as u64, entries, group, 0)? };
        let mut buffers = Self { group, entries, buffer_bytes, ring, memory, tail: 0 };
        for id in 0..entries {
            buffers.give_back(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    /// The first `len` bytes of buffer `id`, which the kernel has just filled.
    pub(super) fn filled(&mut self, id: u16, len: usize) -> &mut [u8] {
        assert!(id < self.entries && len <= self.buffer_bytes, "the kernel names buffers that it was given");
        // SAFETY: in bounds by the assertion; the kernel does not touch a buffer between its completion and
        // `give_back`, and `&mut self` keeps this the only reference.
        unsafe {
            let start = self.memory.start.as_ptr().add(usize::from(id) * self.buffer_bytes);
            std::slice::from_raw_parts_mut(start, len)
        }
    }

    /// Lends buffer `id` to the kernel again from the next `publish` on.
    pub(super) fn give_back(&mut self, id: u16) {
        assert!(id < self.entries, "the kernel names buffers that it was given");
        let place = usize::from(self.tail & (self.entries - 1));
        // SAFETY: `place` is below `entries`, and entries past the published tail belong to us. The tail shares
        // memory with the first entry's reserved field, which these setters do not write.
        unsafe {
            let entry = &mut *self.ring.start.as_ptr().cast::<BufRingEntry>().add(place);
            entry.set_addr(self.memory.start.as_ptr().add(usize::from(id) * self.buffer_bytes) as u64);
            entry.set_len(u32::try_from(self.buffer_bytes).expect("a buffer is far below 4 GiB"));
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    pub(super) fn publish(&mut self) {
        // SAFETY: the address is that of the ring's tail, which is 2-byte aligned and lives with the mapping.
        let tail = unsafe {
            let tail = BufRingEntry::tail(self.ring.start.as_ptr().cast::<BufRingEntry>());
            AtomicU16::from_ptr(tail.cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }

    /// Gives up the memory for good; for a ring whose operations could not be awaited.
    pub(super) fn leak(&mut self) {
        self.ring.leak();
        self.memory.leak();
    }
}

/// Zeroed pages that the kernel may hold on to.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    leaked: bool,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing of ours.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("mmap reports failure as MAP_FAILED, not null");
        Ok(Self { start, bytes, leaked: false })
    }

    fn leak(&mut self) {
        self.leaked = true;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: the range is the one mapped in `new`, and nothing refers to it any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        }
    }
}
