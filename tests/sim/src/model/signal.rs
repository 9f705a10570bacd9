//! Signals. Promises: only to sessions that are subscribed, never to the one that sent it, never to those whom the
//! relay knows to have left, as it was sent, at most once, and none that is too large.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use schema_wire::v1::{Signal, SignalEvent};
use schema_wire::{ConversationId, UserId};

use super::view::talk;
use super::{At, Model};
use crate::queue::Place;
use crate::store::SimStore;

/// What this family of promises has to remember.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// The session that sent a body, and where to. Devices never use a body twice.
    sent: BTreeMap<Bytes, (usize, ConversationId)>,
    /// Who got which.
    got: BTreeSet<(usize, Bytes)>,
    /// The membership version at which somebody last left.
    left: BTreeMap<(UserId, ConversationId), u64>,
    /// When a shard heard of a membership version.
    heard: BTreeMap<(Place, ConversationId), BTreeMap<u64, u64>>,
}

impl Signals {
    pub(super) fn member_left(&mut self, user: UserId, conversation: ConversationId, version: u64) {
        self.left.insert((user, conversation), version);
    }

    pub(super) fn members_heard(
        &mut self,
        now: u64,
        place: Place,
        conversation: ConversationId,
        version: u64,
    ) {
        self.heard.entry((place, conversation)).or_default().entry(version).or_insert(now);
    }

    /// When a shard first knew that somebody had left.
    fn known_since(&self, place: Place, user: UserId, conversation: ConversationId) -> Option<u64> {
        let left = *self.left.get(&(user, conversation))?;
        self.heard.get(&(place, conversation))?.range(left..).map(|(_, now)| *now).min()
    }
}

impl Model {
    pub(super) fn signal_sent(&mut self, link: usize, signal: &Signal) {
        let most = self.limits.signal_bytes;
        if signal.body.len() <= most {
            self.signals.sent.insert(signal.body.clone(), (link, talk(&signal.conversation)));
        }
    }

    pub(super) fn signal_event(&mut self, at: At, event: &SignalEvent, store: &SimStore) {
        self.check_accepted(at, talk(&event.conversation), store);
        if let Some(sender) = UserId::from_slice(&event.sender) {
            self.check_apart(at, sender, store);
        }
        let wrong = self.wrong_with(at, event, store);
        if let Some(what) = wrong {
            let text = format!("signal {:?}: {what}", String::from_utf8_lossy(&event.body));
            self.violate(at.now, "signals", self.say(at.link, text));
        }
    }

    fn wrong_with(&mut self, at: At, event: &SignalEvent, store: &SimStore) -> Option<&'static str> {
        let conversation = talk(&event.conversation);
        let Some((from, to)) = self.signals.sent.get(&event.body).copied() else {
            return Some("nobody sent it, or it is too large");
        };
        let (view, sender) = (&self.views[at.link], &self.views[from]);
        let claims = sender.claims.expect("only who was let in sends signals");
        // It may have waited in the outbox since.
        let queued_us = view.emptied_us;
        let known_since = self.signals.known_since(view.place, view.user, conversation);
        if at.answers != 0 || to != conversation {
            Some("it was sent elsewhere")
        } else if event.sender[..] != claims.user.0[..] || event.device[..] != claims.device.0[..] {
            Some("somebody else is named as its sender")
        } else if from == at.link {
            Some("it comes back")
        } else if !view.live.contains_key(&conversation) {
            Some("without a subscription")
        } else if !self.lately_member(store, queued_us, view.user, conversation) {
            Some("to somebody who is no member")
        } else if !self.lately_member(store, queued_us, sender.user, conversation) {
            Some("from somebody who is no member")
        } else if !store.is_member(view.user, conversation) && known_since.is_some_and(|at| at < queued_us) {
            Some("to somebody who was known to have left")
        } else if !self.signals.got.insert((at.link, event.body.clone())) {
            Some("twice")
        } else {
            None
        }
    }
}
