//! The two faces of a conversation on a shard: `Home` puts its publications in order for this node, `Feed` brings them
//! to the shard's own subscribers.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use schema_wire::bus::Life;
use schema_wire::peer::{Ephemeral, Sender};
use schema_wire::publication::Shared;
use schema_wire::{Frame, Generation, Offset, SessionId, ShardId, UserId};

use super::subscription::Subscription;
use crate::limits::Limits;

/// Lives of other nodes that a home tells apart; beyond, one is forgotten.
const LIVES_MAX: usize = 64;

/// Orders the publications of one conversation for the shards of this node that follow it.
#[derive(Default)]
pub(crate) struct Home {
    /// Tells this home from an earlier one of the same conversation, whose answers come too early.
    pub(crate) serial: u64,
    pub(crate) followers: BTreeSet<ShardId>,
    pub(crate) generation: Generation,
    /// The next offset to fan out; `None` while the store is asked for the head.
    pub(crate) due: Option<Offset>,
    /// Durable, but something before them is missing.
    pub(crate) held: BTreeMap<Offset, Shared>,
    /// The store is being asked for the head or for what is missing.
    pub(crate) reading: bool,
    /// A look at the gap is planned.
    pub(crate) gap_timer: bool,
    /// The newest ephemeral frame of each other node, so that none comes twice or after a newer one.
    pub(crate) heard: BTreeMap<Life, u64>,
}

impl Home {
    /// Keeps a publication that came before its turn; the furthest goes when there are too many.
    pub(crate) fn hold(&mut self, publication: Shared, limits: &Limits) {
        let known = self.held.get(&publication.offset).is_some_and(|held| held.origin.is_some());
        if !known {
            self.held.insert(publication.offset, publication);
        }
        if self.held.len() > limits.held_publications {
            self.held.pop_last();
        }
    }

    /// Whether an ephemeral frame of another node is newer than what came from there.
    pub(crate) fn in_turn(&mut self, from: Life, serial: u64) -> bool {
        let newest = self.heard.entry(from).or_default();
        let is_newer = serial > *newest;
        *newest = serial.max(*newest);
        if self.heard.len() > LIVES_MAX {
            self.heard.pop_first();
        }
        is_newer
    }

    /// Begins anew in another life of the store.
    pub(crate) fn reset(&mut self) {
        self.due = None;
        self.held.clear();
    }
}

/// One place of the tail.
#[derive(Clone)]
pub(crate) enum Recent {
    Publication(Shared),
    /// Deleted since.
    Deleted,
}

/// Recent publications without a hole, for those who catch up.
#[derive(Default)]
pub(crate) struct Tail {
    entries: VecDeque<Recent>,
    /// One past the newest.
    end: Offset,
}

impl Tail {
    /// Offset of the oldest entry, or of the next one to come.
    pub(crate) fn start(&self) -> Offset {
        Offset(self.end.0 - self.entries.len() as u64)
    }

    pub(crate) fn get(&self, offset: Offset) -> Option<&Recent> {
        let index = offset.0.checked_sub(self.start().0)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    /// Forgets everything and begins at `next`.
    pub(crate) fn restart(&mut self, next: Offset) {
        self.entries.clear();
        self.end = next;
    }

    pub(crate) fn push(&mut self, publication: Shared, limits: &Limits) {
        assert_eq!(publication.offset, self.end, "the tail has no hole");
        self.end = self.end.next();
        self.entries.push_back(Recent::Publication(publication));
        if self.entries.len() > limits.tail_publications {
            self.entries.pop_front();
        }
    }

    /// What was deleted for everyone may not be read here any more.
    pub(crate) fn purge(&mut self, offset: Offset) {
        let start = self.start();
        let index = offset.0.checked_sub(start.0).and_then(|i| usize::try_from(i).ok());
        if let Some(entry) = index.and_then(|i| self.entries.get_mut(i)) {
            *entry = Recent::Deleted;
        }
    }
}

/// Brings one conversation to the subscribers and watchers of this shard.
#[derive(Default)]
pub(crate) struct Feed {
    /// The home was asked to send publications.
    pub(crate) asked: bool,
    pub(crate) generation: Generation,
    /// The next offset the home will send; `None` until it answered.
    pub(crate) due: Option<Offset>,
    pub(crate) tail: Tail,
    /// Every subscriber's standing, and whom the sessions here are kept apart from, is right as of this membership version.
    pub(crate) members_version: u64,
    /// The newest membership version heard of.
    pub(crate) members_heard: u64,
    pub(crate) member_count: u32,
    /// A first contact that was not accepted: nothing ephemeral passes. Never comes back.
    pub(crate) waiting: bool,
    /// Members are being looked up.
    pub(crate) looking: bool,
    /// Publications that wait for the members, oldest first.
    pub(crate) paused: VecDeque<Shared>,
    pub(crate) subscribers: BTreeMap<SessionId, Subscription>,
    pub(crate) watchers: BTreeMap<SessionId, UserId>,
    /// Sessions whose standing is being asked for.
    pub(crate) joining: usize,
    /// The furthest cursor each user shared here, so that one that was overtaken on its way is not shown after it.
    pub(crate) shared_cursors: BTreeMap<UserId, Offset>,
    /// Ephemeral events gathered since the last went out.
    pub(crate) gathered: Vec<Gathered>,
    /// Signals that wait for the members.
    pub(crate) signals: Vec<(Sender, Frame)>,
}

/// The newest ephemeral event of a kind and user.
#[derive(Clone, Copy)]
pub(crate) struct Gathered {
    pub(crate) sender: Sender,
    pub(crate) event: Ephemeral,
}

impl Feed {
    /// Whether anybody on this shard wants its publications.
    pub(crate) fn wanted(&self) -> bool {
        !self.subscribers.is_empty() || !self.watchers.is_empty()
    }

    /// Whether the members are known as far as a sender's membership needs it, so that it is known who may see them.
    pub(crate) fn knows(&self, sender: Sender) -> bool {
        sender.members_version <= self.members_version
    }

    /// Whether nothing would be lost by dropping it.
    pub(crate) fn idle(&self) -> bool {
        !self.wanted() && self.joining == 0
    }
}
