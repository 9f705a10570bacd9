//! Who may see what, and until when. Promises: nothing outside a member's stay, nothing deleted, erased or expired to
//! those who ask later; the thrown out are cut within a second.

use std::collections::BTreeMap;

use relay_proto::event::Claims;
use schema_wire::record::{Change, UserStatus};
use schema_wire::v1::Welcome;
use schema_wire::{DeviceId, Disconnect, UserId};

use super::{At, Model};
use crate::clock::{MS, S, unix_ms};
use crate::queue::Place;
use crate::store::SimStore;

/// How long a shard may take to close what must be closed, in microseconds.
pub const CUT_US: u64 = S;

/// On a node without others and with a store that is quick, every shard knows of a deletion this long after its ack,
/// in microseconds.
const SETTLED_US: u64 = 200 * MS;

/// Sessions that must be closed soon.
#[derive(Debug, Default)]
pub(super) struct Access {
    /// Deadline, link and why.
    due: Vec<(u64, usize, &'static str)>,
    /// Since when a user, or one device, may not come in.
    barred: BTreeMap<(UserId, Option<DeviceId>), u64>,
}

impl Model {
    /// The store bars a user or a device from now on.
    pub fn barred(&mut self, now: u64, user: UserId, device: Option<DeviceId>) {
        self.access.barred.insert((user, device), now);
    }

    fn access_barred_since(&self, user: UserId, device: DeviceId) -> Option<u64> {
        let since = |key| self.access.barred.get(&key).copied();
        since((user, None)).max(since((user, Some(device))))
    }

    /// Whether this session may be shown a record it asked for at a time.
    pub(super) fn check_may_read(&mut self, at: At, record: usize, sent_us: u64, store: &SimStore) {
        let view = &self.views[at.link];
        let record = &self.ledger.records[record];
        let conversation = record.append.conversation;
        let offset = record.offset;
        let Some(log) = store.logs.get(&conversation) else { return };
        let reads = log.members.get(&view.user).is_some_and(|m| m.reads(offset));
        if !reads && !record.members.contains(&view.user) {
            let text = self.say(at.link, format!("reads {offset}, outside its stay"));
            return self.violate(at.now, "members only", text);
        }
        let slot = log.slots.get(offset as usize - 1);
        let same = slot.is_some_and(|s| s.message.publish_key == record.append.publish_key);
        let gone = same && slot.is_some_and(|s| s.gone.is_some());
        let deleted = log.deleted_by(offset);
        if gone && record.deleted.is_some_and(|(place, at)| deleted == Some(place) && at < sent_us) {
            let text = self.say(at.link, format!("asked after the deletion of {offset} was acked, got it"));
            return self.violate(at.now, "nothing deleted", text);
        }
        let heard = self.erased_heard.get(&(view.place, conversation)).copied();
        let heard = heard.max(self.missed.get(&view.place).copied());
        if gone && record.erased_us.is_some_and(|e| heard.is_some_and(|h| e < h && h < sent_us)) {
            let text = self.say(at.link, format!("asked after {offset} was erased, got it"));
            return self.violate(at.now, "nothing deleted", text);
        }
        // What was put into the outbox once it had been empty was put there after that.
        let queued_us = view.emptied_us.max(sent_us);
        let expired = record.expires_at.is_some_and(|expires| expires < unix_ms(queued_us));
        if expired && at.clock.honest() {
            let text = self.say(at.link, format!("{offset} expired before it was queued, or asked for"));
            return self.violate(at.now, "nothing expired", text);
        }
        let settled = |at: u64| at + SETTLED_US < view.emptied_us;
        let acked = record.deleted.is_some_and(|(place, at)| deleted == Some(place) && settled(at));
        if gone && acked && self.lone {
            let text = self.say(at.link, format!("{offset} was deleted well before it was queued"));
            self.violate(at.now, "nothing deleted", text);
        }
    }

    /// A shard heard of something that ends sessions.
    pub(super) fn oblige(&mut self, now: u64, place: Place, change: &Change) {
        match change {
            Change::UserStatus { user, status } if *status != UserStatus::Active => {
                self.oblige_sessions(now, place, "sanction", |u, _| u == *user);
            }
            Change::DeviceRevoked { user, device } => {
                self.oblige_sessions(now, place, "revoked device", |u, c| u == *user && c.device == *device);
            }
            Change::TokensRevoked { user, not_before } => {
                self.oblige_sessions(now, place, "revoked tokens", |u, c| {
                    u == *user && c.issued_at < *not_before
                });
            }
            Change::Missed => self.oblige_sessions(now, place, "missed changes", |_, _| true),
            _ => {}
        }
    }

    /// Every session of a shard that fits must be closed within a second.
    pub fn oblige_sessions(
        &mut self,
        now: u64,
        place: Place,
        why: &'static str,
        fits: impl Fn(UserId, Claims) -> bool,
    ) {
        for view in self.views.iter().filter(|v| v.open && v.place == place) {
            if view.claims.is_some_and(|claims| fits(claims.user, claims)) {
                self.access.due.push((now + CUT_US, view.link, why));
            }
        }
    }

    /// Looks whether those who had to go are gone.
    pub fn check_due(&mut self, now: u64) {
        let (over, due): (Vec<_>, _) = self.access.due.iter().copied().partition(|(at, _, _)| *at <= now);
        self.access.due = due;
        for (_, link, why) in over {
            if self.views[link].open {
                let text = self.say(link, format!("still open a second after: {why}"));
                self.violate(now, "cut within a second", text);
            }
        }
    }

    /// Silence, late Hello, and tokens that ran out. `honest` clocks only for the last.
    pub fn check_session_age(&mut self, link: usize, now: u64, honest: bool) {
        let view = &self.views[link];
        let idle_us = self.limits.idle_ms * MS + CUT_US;
        let hello_us = self.limits.hello_ms * MS + CUT_US;
        let expired = view.claims.is_some_and(|c| honest && c.expires_at * 1000 + CUT_US / MS < unix_ms(now));
        let why = if view.heard_us + idle_us < now {
            "was silent for too long"
        } else if view.verified_us.is_none() && view.opened_us + hello_us < now {
            "never said Hello"
        } else if expired && view.welcomed_us.is_some_and(|at| at + CUT_US < now) && !view.refreshing {
            "outlived its token"
        } else {
            return;
        };
        let text = self.say(link, format!("still open: {why}"));
        self.violate(now, "cut within a second", text);
    }

    pub(super) fn welcome(&mut self, at: At, welcome: &Welcome, store: &SimStore) {
        let view = &self.views[at.link];
        let Some(claims) = view.claims.filter(|_| view.welcomed_us.is_none()) else {
            let text = self.say(at.link, "Welcome without a verified token, or twice");
            return self.violate(at.now, "answers", text);
        };
        let (link, place, user, opened_us) = (view.link, view.place, view.user, view.opened_us);
        if welcome.user[..] != claims.user.0[..] || welcome.device[..] != claims.device.0[..] {
            let text = self.say(at.link, "Welcome names somebody else");
            self.violate(at.now, "answers", text);
        }
        let head = store.accounts[&user].events.len() as u64;
        if welcome.user_head > head {
            let text =
                self.say(at.link, format!("Welcome names user head {}, it is {head}", welcome.user_head));
            self.violate(at.now, "user events", text);
        }
        let view = &mut self.views[link];
        view.welcomed_us = Some(at.now);
        view.user_next.get_or_insert(welcome.user_head + 1);
        self.check_welcome_allowed(at, claims, opened_us, store);
        self.oblige_older(at.now, link, place, claims.device);
    }

    fn check_welcome_allowed(&mut self, at: At, claims: Claims, opened_us: u64, store: &SimStore) {
        let account = &store.accounts[&claims.user];
        let barred = self.access_barred_since(claims.user, claims.device);
        let out = account.status != UserStatus::Active
            || account.devices.get(&claims.device) != Some(&true)
            || claims.issued_at < account.tokens_not_before;
        if out && barred.is_some_and(|since| since < opened_us) {
            let text = self.say(at.link, "welcomed although barred before it came");
            self.violate(at.now, "cut within a second", text);
        }
    }

    /// A newer session of a device ends the older ones on the same node.
    fn oblige_older(&mut self, now: u64, link: usize, place: Place, device: DeviceId) {
        for view in self.views.iter().filter(|v| v.open && v.link < link) {
            let same_life = view.place.node == place.node && view.place.life == place.life;
            let older = view.welcomed_us.is_some() && view.claims.is_some_and(|c| c.device == device);
            if same_life && older {
                self.access.due.push((now + CUT_US, view.link, "a newer session of its device"));
            }
        }
    }

    /// A session closed: the code must fit what happened to it.
    pub fn check_goodbye(&mut self, link: usize, now: u64, with: Disconnect, unread: bool) {
        let view = &self.views[link];
        if with == Disconnect::Draining && view.welcomed_us.is_some() && !view.noticed && !unread {
            let text = self.say(link, "drained without a notice");
            self.violate(now, "drain", text);
        }
        let fault = with == Disconnect::InternalFault && !self.stormy;
        let bug = fault || with == Disconnect::ProtocolError;
        if bug {
            let text = self.say(link, format!("closed with {}", with.name()));
            self.violate(now, "goodbyes fit", text);
        }
    }
}
