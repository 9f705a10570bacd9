//! Post between the cores of one node: a bounded queue per shard that any thread may fill, and a wake-up.
//! A full queue makes the sender wait with its input, never lose or reorder what it has to say.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use relay_proto::event::{Control, Taken, Ticket};
use schema_wire::bus::{Hint, Life, Subject};
use schema_wire::peer::PeerFrame;
use schema_wire::record::{Change, StoreReply};
use schema_wire::{AddressSet, ShardId, UserId};

use crate::consumers::Consumer;
use crate::metrics::Snapshot;
use crate::ring::Waker;

/// Mails one shard may have waiting. The sum of all bounds that can lead to a mail stays below it in practice;
/// beyond, senders keep their post and stop reading from clients.
const INBOX_MAX: usize = 65_536;

/// Something for a shard from another thread.
#[derive(Debug)]
pub enum Mail {
    Peer {
        from: ShardId,
        frame: PeerFrame,
    },
    Stored {
        ticket: Ticket,
        reply: StoreReply,
    },
    Changed {
        change: Change,
    },
    /// What is banned from now on.
    Banned {
        banned: Arc<AddressSet>,
    },
    Control {
        control: Control,
    },
    /// Another node said something that this shard is the home of.
    Forwarded {
        from: Life,
        hint: Hint,
    },
    /// The bus brings from now on what concerns this.
    Listening {
        subject: Subject,
    },
    /// What all nodes have left of a user's message limit.
    Taken {
        user: UserId,
        taken: Option<Taken>,
    },
    /// Whether the bus is thought to bring everything.
    Bus {
        sound: bool,
    },
    /// Somebody wants this shard's figures.
    Snapshot {
        answer: futures_channel::oneshot::Sender<Snapshot>,
    },
    /// Somebody wants to know who is slow.
    Consumers {
        answer: futures_channel::oneshot::Sender<Vec<Consumer>>,
    },
    /// End at once.
    Stop,
}

/// One shard's queue and the way to wake it.
#[derive(Clone)]
pub struct Inbox {
    queue: Arc<ArrayQueue<Mail>>,
    waker: Waker,
}

impl Inbox {
    /// An empty inbox for the shard that `waker` wakes.
    pub fn new(waker: Waker) -> Self {
        Self { queue: Arc::new(ArrayQueue::new(INBOX_MAX)), waker }
    }

    /// Next mail, oldest first.
    pub fn take(&self) -> Option<Mail> {
        self.queue.pop()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts a mail in and wakes the shard; gives it back when the queue is full.
    #[expect(clippy::result_large_err, reason = "a full queue is rare, and the mail must come back whole")]
    pub fn put(&self, mail: Mail) -> Result<(), Mail> {
        self.queue.push(mail)?;
        self.waker.wake();
        Ok(())
    }

    /// Puts in what may be left out: false when the inbox is half full, so that answers and order find room.
    pub fn offer(&self, mail: Mail) -> bool {
        self.queue.len() < INBOX_MAX / 2 && self.put(mail).is_ok()
    }
}

/// The outgoing post of one shard to its siblings: order per sibling is kept even while that sibling is full.
pub struct Postbox {
    own: ShardId,
    inboxes: Vec<Inbox>,
    kept: Vec<VecDeque<Mail>>,
}

impl Postbox {
    /// Post from shard `own` to all `inboxes` of the node, by shard number.
    pub fn new(own: ShardId, inboxes: Vec<Inbox>) -> Self {
        let kept = inboxes.iter().map(|_| VecDeque::new()).collect();
        Self { own, inboxes, kept }
    }

    /// Sends, or keeps for later when the sibling is full or older post is still kept.
    pub fn send(&mut self, to: ShardId, frame: PeerFrame) {
        let at = usize::from(to.0);
        assert!(to != self.own && at < self.inboxes.len(), "peer frames go to other shards of this node");
        let mail = Mail::Peer { from: self.own, frame };
        if !self.kept[at].is_empty() {
            self.kept[at].push_back(mail);
        } else if let Err(mail) = self.inboxes[at].put(mail) {
            self.kept[at].push_back(mail);
        }
    }

    /// Whether no post is kept back.
    pub fn is_clear(&self) -> bool {
        self.kept.iter().all(VecDeque::is_empty)
    }

    /// Tries again; true when nothing is kept any more. While false, the shard takes no client input.
    pub fn flush(&mut self) -> bool {
        for (inbox, kept) in self.inboxes.iter().zip(&mut self.kept) {
            while let Some(mail) = kept.pop_front() {
                if let Err(mail) = inbox.put(mail) {
                    kept.push_front(mail);
                    break;
                }
            }
        }
        self.is_clear()
    }
}
