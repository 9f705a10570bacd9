//! Blocks and first contacts. Promises: nothing ephemeral passes between two people once the shard knows of a block between
//! them, or to a session that began after it, nor in a conversation that waits to be accepted.

use std::collections::BTreeMap;

use schema_wire::record::Change;
use schema_wire::{ConversationId, UserId};

use super::{At, Model};
use crate::queue::Place;
use crate::store::SimStore;

/// What each shard heard of each pair last, the smaller id first: when, and whether a block stands.
#[derive(Debug, Default)]
pub(super) struct Relations {
    heard: BTreeMap<(Place, UserId, UserId), (u64, bool)>,
    /// Since when a block stands between two, the smaller id first.
    stands: BTreeMap<(UserId, UserId), u64>,
}

impl Relations {
    pub(super) fn heard(&mut self, now: u64, place: Place, change: &Change) {
        if let Change::Block { user, other, stands } = change {
            self.heard.insert((place, *user.min(other), *user.max(other)), (now, *stands));
        }
        if *change == Change::Missed {
            // Who comes from now on is told what stands.
            self.heard.retain(|(heard, _, _), _| *heard != place);
        }
    }
}

impl Model {
    /// One of two people blocked or unblocked the other.
    pub fn block_changed(&mut self, now: u64, user: UserId, other: UserId, store: &SimStore) {
        let pair = (user.min(other), user.max(other));
        if store.blocked(user, other) {
            self.relations.stands.entry(pair).or_insert(now);
        } else {
            self.relations.stands.remove(&pair);
        }
    }

    /// Somebody's session is about to see something ephemeral of a user. A block that is older than the session is known
    /// to it from whatever it asked, unless its shard hears late of the end of one before; of a later one its shard must have
    /// heard. Where the block is gone again the store may have
    /// said so to a session that asked before the shard heard of it.
    pub(super) fn check_apart(&mut self, at: At, of: UserId, store: &SimStore) {
        let view = &self.views[at.link];
        let pair = (view.place, view.user.min(of), view.user.max(of));
        // What was put into the outbox once it had been empty was put there after that.
        let queued_us = view.emptied_us;
        let heard = self.relations.heard.get(&pair);
        let stood = heard.is_some_and(|(heard_us, stands)| *stands && *heard_us < queued_us);
        let since = self.relations.stands.get(&(pair.1, pair.2));
        let older =
            since.is_some_and(|since| *since < view.opened_us) && heard.is_none_or(|(_, stands)| *stands);
        if older || stood && store.blocked(view.user, of) {
            let text = self.say(at.link, format!("sees something of u{}, apart", crate::id::index(&of.0)));
            self.violate(at.now, "kept apart", text);
        }
    }

    /// A session is about to see something ephemeral of a conversation.
    pub(super) fn check_accepted(&mut self, at: At, conversation: ConversationId, store: &SimStore) {
        if store.logs.get(&conversation).is_some_and(|log| log.waiting.is_some()) {
            let text = self.say(at.link, "something ephemeral in a conversation that was not accepted");
            self.violate(at.now, "first contacts are quiet", text);
        }
    }
}
