//! What is going to happen, by virtual time; at the same time, in the order it was planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use relay_proto::event::{Event, Ticket};
use schema_wire::Disconnect;
use schema_wire::bus::Subject;
use schema_wire::record::StoreRequest;
use schema_wire::v1::ClientFrame;

use crate::plan::Op;

/// A shard of one life of a node. What is under way to an earlier life is lost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub node: usize,
    pub life: u32,
    pub shard: usize,
}

/// Something that happens in the world.
#[derive(Debug)]
pub enum Happening {
    /// An event reaches a shard.
    Shard { place: Place, event: Event },
    /// A shard's timer rings.
    Timer { place: Place },
    /// A node's batch of appends commits.
    Commit { node: usize, life: u32 },
    /// The store answers one request other than an append.
    Ask { place: Place, ticket: Ticket, request: StoreRequest },
    /// A node polls the change log.
    Poll { node: usize, life: u32 },
    /// A frame of the bus arrives.
    Bus { node: usize, life: u32, bytes: Bytes },
    /// The bus has taken note of what a node listens to.
    Listening { place: Place, subject: Subject, on: bool },
    /// A node finds out whether the bus brings anything.
    BusSound { node: usize, life: u32, sound: bool },
    /// A client's connection reaches its node.
    Connect { link: usize },
    /// A client's frame reaches its node; with the time it was sent.
    Up { link: usize, frame: ClientFrame, sent_us: u64 },
    /// The node learns that a connection is gone.
    Cut { link: usize },
    /// The oldest frame under way on a link reaches the client.
    Down { link: usize },
    /// The client learns that its connection is gone.
    Closed { link: usize, with: Option<Disconnect> },
    /// A client looks at what it should do next.
    Wake { device: usize },
    /// A planned change or fault.
    Op(Op),
    /// The model looks at everything.
    Sweep,
}

/// Happenings by time.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Happening>>,
    free: Vec<usize>,
    planned: u64,
}

impl Queue {
    /// Plans something for a world time in microseconds.
    pub fn at(&mut self, world_us: u64, happening: Happening) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(happening);
                slot
            }
            None => {
                self.slots.push(Some(happening));
                self.slots.len() - 1
            }
        };
        self.planned += 1;
        self.heap.push(Reverse((world_us, self.planned, slot)));
    }

    /// The next happening and its time.
    pub fn take(&mut self) -> Option<(u64, Happening)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((at, std::mem::take(&mut self.slots[slot]).expect("a planned slot is filled until it is due")))
    }
}
