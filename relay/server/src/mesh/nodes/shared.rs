//! What shards and the bus's thread both touch: two bounded queues towards it, the shards' inboxes from it, figures.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_queue::ArrayQueue;
use relay_proto::Limits;
use schema_store::redis::SharedLimit;
use schema_wire::bus::{BusFrame, Hint, Life, Subject};
use schema_wire::{ShardId, UserId};
use tokio::sync::Notify;

use super::figures::Figures;
use super::heard::Heard;
use crate::mesh::cores::{Inbox, Mail};

/// Frames on their way out; beyond, the oldest is dropped: it is a hint.
const OUTGOING_MAX: usize = 16_384;
/// Wishes to listen that wait for the bus's thread; beyond, a shard keeps them and reads nothing from clients.
const LISTENS_MAX: usize = 65_536;

/// Questions to the count of all nodes that wait; beyond, the shard counts alone.
const TAKES_MAX: usize = 4_096;

pub(super) struct Shared {
    pub(super) life: Life,
    pub(super) began: Instant,
    pub(super) outgoing: ArrayQueue<BusFrame>,
    pub(super) listens: ArrayQueue<(Subject, bool)>,
    pub(super) takes: ArrayQueue<(ShardId, UserId, u32)>,
    /// The message limit of all nodes.
    limit: Mutex<SharedLimit>,
    pub(super) wake: Notify,
    pub(super) figures: Figures,
    /// A node spoke that was not known: it should hear of this one.
    pub(super) greet: AtomicBool,
    /// Touched by the bus's thread only.
    pub(super) heard: Mutex<Heard>,
    pub(super) inboxes: Vec<Inbox>,
    /// The change log grew elsewhere.
    pub(super) nudge: Box<dyn Fn() + Send + Sync>,
}

impl Shared {
    pub(super) fn new(
        life: Life,
        inboxes: Vec<Inbox>,
        limits: &Limits,
        nudge: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self {
            life,
            began: Instant::now(),
            outgoing: ArrayQueue::new(OUTGOING_MAX),
            listens: ArrayQueue::new(LISTENS_MAX),
            takes: ArrayQueue::new(TAKES_MAX),
            limit: Mutex::new(counted(limits)),
            wake: Notify::new(),
            figures: Figures::default(),
            greet: AtomicBool::new(false),
            heard: Mutex::default(),
            inboxes,
            nudge,
        }
    }

    /// The message limit of all nodes.
    pub(super) fn limit(&self) -> SharedLimit {
        *self.limit.lock().expect("nothing panics while it is set")
    }

    pub(super) fn send(&self, frame: BusFrame) {
        if self.outgoing.force_push(frame).is_some() {
            Figures::add(&self.figures.lost_out, 1);
        }
        self.wake.notify_one();
    }

    /// The inbox of the home of what a frame concerns.
    pub(super) fn home(&self, subject: Subject) -> &Inbox {
        &self.inboxes[(subject.spread() % self.inboxes.len() as u64) as usize]
    }

    /// Brings a hint to its home, unless the home has more to do than it can.
    pub(super) fn deliver(&self, from: Life, hint: Hint) {
        let inbox = self.home(hint.subject());
        if !inbox.offer(Mail::Forwarded { from, hint }) {
            Figures::add(&self.figures.lost_in, 1);
            self.heard.lock().expect("nothing panics while it listens").dropped();
        }
    }
}

/// What all nodes count together.
fn counted(limits: &Limits) -> SharedLimit {
    SharedLimit { max: limits.publish_limit, window_ms: limits.shared_window_us().div_ceil(1_000) }
}

/// One shard's way to the bus. Never blocks.
pub struct BusPost {
    pub(super) shared: Arc<Shared>,
    kept: VecDeque<(Subject, bool)>,
}

impl BusPost {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, kept: VecDeque::new() }
    }

    /// Tells the other nodes, if the bus works.
    pub fn forward(&self, hint: Hint) {
        self.shared.send(BusFrame::Hint(hint));
    }

    /// Wants to hear what concerns a subject, or no longer.
    pub fn listen(&mut self, subject: Subject, on: bool) {
        self.kept.push_back((subject, on));
        self.flush();
    }

    /// Asks what all nodes have left of a user's message limit; false when too much is asked already.
    pub fn take(&self, shard: ShardId, user: UserId, count: u32) -> bool {
        let asked = self.shared.takes.push((shard, user, count)).is_ok();
        self.shared.wake.notify_one();
        asked
    }

    /// Another message limit is counted from now on.
    pub fn limit(&self, limits: &Limits) {
        *self.shared.limit.lock().expect("nothing panics while it is set") = counted(limits);
    }

    /// By which the node knows its own frames.
    pub fn life(&self) -> Life {
        self.shared.life
    }

    /// Whether no wish is kept back.
    pub fn is_clear(&self) -> bool {
        self.kept.is_empty()
    }

    /// Tries again what had no room; true when nothing is kept any more. While false, the shard takes no client input.
    pub fn flush(&mut self) -> bool {
        if self.kept.is_empty() {
            return true;
        }
        while let Some(wish) = self.kept.pop_front() {
            if let Err(wish) = self.shared.listens.push(wish) {
                self.kept.push_front(wish);
                break;
            }
        }
        self.shared.wake.notify_one();
        self.kept.is_empty()
    }
}
