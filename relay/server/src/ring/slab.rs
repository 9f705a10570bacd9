//! Decides where outgoing bytes wait: slabs that the ring owns while the kernel reads them
//! and that return to the shard's pool by themselves, so that a steady state allocates nothing.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Slabs that grew beyond this are freed instead of kept, so that one large send does not stay in memory.
const KEPT_CAPACITY_MAX: usize = 64 * 1024;

struct Pool {
    idle: Vec<Vec<u8>>,
    idle_bytes: usize,
    idle_bytes_max: usize,
    slab_bytes: usize,
    outstanding: usize,
}

/// A shard's send buffers; cloning shares the pool.
#[derive(Clone)]
pub struct SlabPool(Rc<RefCell<Pool>>);

impl SlabPool {
    /// `slab_bytes` is what a fresh slab holds before it grows, `idle_bytes_max` what the pool keeps for reuse.
    pub fn new(slab_bytes: usize, idle_bytes_max: usize) -> Self {
        Self(Rc::new(RefCell::new(Pool {
            idle: Vec::new(),
            idle_bytes: 0,
            idle_bytes_max,
            slab_bytes,
            outstanding: 0,
        })))
    }

    /// An empty slab.
    pub fn take(&self) -> Slab {
        let mut pool = self.0.borrow_mut();
        pool.outstanding += 1;
        let bytes = match pool.idle.pop() {
            Some(bytes) => {
                pool.idle_bytes -= bytes.capacity();
                bytes
            }
            None => Vec::with_capacity(pool.slab_bytes),
        };
        Slab { bytes, pool: self.clone() }
    }

    /// Slabs that are neither idle nor freed.
    pub fn outstanding(&self) -> usize {
        self.0.borrow().outstanding
    }

    /// Bytes that wait for reuse.
    pub fn idle_bytes(&self) -> usize {
        self.0.borrow().idle_bytes
    }
}

/// A growable send buffer; dropped, it goes back to its pool.
pub struct Slab {
    bytes: Vec<u8>,
    pool: SlabPool,
}

impl Deref for Slab {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Slab {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut pool = self.pool.0.borrow_mut();
        pool.outstanding -= 1;
        let kept = pool.idle_bytes + bytes.capacity();
        if bytes.capacity() <= KEPT_CAPACITY_MAX && kept <= pool.idle_bytes_max {
            pool.idle_bytes = kept;
            pool.idle.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slab_is_taken_again_empty() {
        let pool = SlabPool::new(100, 1000);
        let mut slab = pool.take();
        slab.extend_from_slice(b"bytes");
        let address = slab.as_ptr();
        drop(slab);
        assert_eq!(pool.outstanding(), 0);
        let again = pool.take();
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty());
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound() {
        let pool = SlabPool::new(100, 250);
        let slabs: Vec<_> = (0..5).map(|_| pool.take()).collect();
        assert_eq!(pool.outstanding(), 5);
        drop(slabs);
        assert_eq!(pool.idle_bytes(), 200);
        let mut large = pool.take();
        large.reserve(KEPT_CAPACITY_MAX + 1);
        drop(large);
        assert_eq!(pool.idle_bytes(), 100);
        assert_eq!(pool.outstanding(), 0);
    }
}
