//! The reference model: what each client and shard was told, against what is true. Checks live in one file per family
//! of promises; this file takes what happened to them.

mod access;
mod ephemeral;
mod ledger;
mod relation;
mod signal;
mod stream;
mod user_stream;
mod view;

use std::collections::BTreeMap;

use relay_proto::Limits;
use relay_proto::event::Claims;
use schema_wire::record::Change;
use schema_wire::v1::{ClientFrame, ServerFrame, server_frame::Body};
use schema_wire::{ConversationId, Disconnect, Refused, UserId};

use crate::clock::{NodeClock, S};
use crate::plan::{Mood, Plan};
use crate::queue::Place;
use crate::store::SimStore;

pub use ledger::Ledger;
pub use view::View;

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// World time in microseconds.
    pub at_us: u64,
    /// The promise.
    pub check: &'static str,
    /// Who and what.
    pub text: String,
}

/// All that the model remembers.
pub struct Model {
    /// The first broken promise ends a run.
    pub violation: Option<Violation>,
    pub limits: Limits,
    /// One per link, which is one per session.
    pub views: Vec<View>,
    pub ledger: Ledger,
    access: access::Access,
    signals: signal::Signals,
    relations: relation::Relations,
    /// When each member last left, for what may still be on its way.
    left: BTreeMap<(UserId, ConversationId), u64>,
    /// When a shard last heard of an erasure.
    erased_heard: BTreeMap<(Place, ConversationId), u64>,
    /// When a shard last heard that it missed something.
    missed: BTreeMap<Place, u64>,
    calm: bool,
    /// The nodes' common count of messages never fails.
    counted_together: bool,
    /// There is room for everything ephemeral.
    roomy: bool,
    /// The store may fail.
    stormy: bool,
    /// One node alone, with a store that is quick.
    lone: bool,
}

impl Model {
    /// An empty memory.
    pub fn new(plan: &Plan) -> Self {
        Self {
            violation: None,
            limits: plan.limits.clone(),
            views: Vec::new(),
            ledger: Ledger::default(),
            access: access::Access::default(),
            signals: signal::Signals::default(),
            relations: relation::Relations::default(),
            left: BTreeMap::new(),
            erased_heard: BTreeMap::new(),
            missed: BTreeMap::new(),
            calm: plan.mood == Mood::Calm,
            counted_together: plan.counts_together(),
            roomy: plan.is_roomy(),
            stormy: plan.mood == Mood::Stormy,
            lone: plan.nodes == 1 && matches!(plan.mood, Mood::Calm | Mood::Tight),
        }
    }

    /// A promise is broken. The first one counts.
    pub fn violate(&mut self, at_us: u64, check: &'static str, text: String) {
        self.violation.get_or_insert(Violation { at_us, check, text });
    }

    /// A client dials.
    pub fn dialled(&mut self, link: usize, device: usize, user: UserId, place: Place) {
        assert_eq!(link, self.views.len(), "links are numbered as they come");
        self.views.push(View::new(link, device, user, place));
    }

    /// A node takes a connection.
    pub fn opened(&mut self, link: usize, now: u64) {
        let view = &mut self.views[link];
        (view.open, view.opened_us, view.heard_us) = (true, now, now);
    }

    /// A node hears that a connection is gone, or dies.
    pub fn ended(&mut self, link: usize) {
        self.views[link].open = false;
        self.ledger.session_ended(link);
    }

    /// The relay closes a session.
    pub fn closed(&mut self, link: usize, now: u64, with: Disconnect) {
        self.ended(link);
        self.views[link].closed = Some((now, with));
    }

    /// A shard is about to learn what a token says.
    pub fn verified(&mut self, link: usize, now: u64, verdict: &Result<Claims, Refused>) {
        let view = &mut self.views[link];
        if let Ok(claims) = verdict
            && (view.claims.is_none() || view.refreshing)
        {
            view.claims = Some(*claims);
            view.verified_us.get_or_insert(now);
        }
        view.refreshing = false;
    }

    /// A shard is about to take a client's frame.
    pub fn received(&mut self, link: usize, now: u64, sent_us: u64, frame: &ClientFrame, draining: bool) {
        self.views[link].heard_us = now;
        self.note_received(link, now, sent_us, frame, draining);
    }

    /// A shard took an entry of the change log.
    pub fn changed(&mut self, now: u64, place: Place, change: &Change) {
        if let Change::Erased { conversation } = change {
            self.erased_heard.insert((place, *conversation), now);
        }
        if *change == Change::Missed {
            self.missed.insert(place, now);
        }
        if let Change::Members { conversation, version } = change {
            self.signals.members_heard(now, place, *conversation, *version);
        }
        self.relations.heard(now, place, change);
        self.oblige(now, place, change);
    }

    /// A member left, which made the membership this version.
    pub fn member_left(&mut self, now: u64, user: UserId, conversation: ConversationId, version: u64) {
        self.left.insert((user, conversation), now);
        self.signals.member_left(user, conversation, version);
    }

    /// Whether a user is a member or was one moments ago.
    fn lately_member(&self, store: &SimStore, now: u64, user: UserId, conversation: ConversationId) -> bool {
        store.is_member(user, conversation)
            || self.left.get(&(user, conversation)).is_some_and(|at| at + 3 * S > now)
    }

    /// A frame leaves a session's outbox.
    pub fn transmitted(
        &mut self,
        link: usize,
        now: u64,
        clock: NodeClock,
        frame: &ServerFrame,
        store: &SimStore,
    ) {
        let at = At { link, now, clock, answers: frame.answers };
        let Some(body) = &frame.body else {
            return self.violate(now, "protocol", self.say(link, "a frame without a body"));
        };
        match body {
            Body::Welcome(welcome) => self.welcome(at, welcome, store),
            Body::PublishAck(ack) => self.publish_ack(at, ack),
            Body::Delivery(delivery) => self.live_delivery(at, delivery, store),
            Body::Gone(gone) => self.live_gone(at, gone, store),
            Body::Rewound(rewound) => self.rewound(at, rewound, store),
            Body::UserEvent(event) => self.user_event(at, event, store),
            Body::Subscribed(subscribed) => self.subscribed(at, subscribed),
            Body::Unsubscribed(unsubscribed) => self.unsubscribed(at, unsubscribed, store),
            Body::HistoryPage(page) => self.history_page(at, page, store),
            Body::CursorEvent(event) => self.cursor_event(at, event, store),
            Body::TypingEvent(event) => self.typing_event(at, event, store),
            Body::PresenceEvent(event) => self.presence_event(at, event, store),
            Body::SignalEvent(event) => self.signal_event(at, event, store),
            Body::Refreshed(_) | Body::Done(_) | Body::Pong(_) => self.answered(at),
            Body::Notice(_) => self.views[link].noticed = true,
            Body::Refusal(refusal) => self.refusal(at, refusal),
        }
    }

    /// Names a session in a report.
    fn say(&self, link: usize, what: impl std::fmt::Display) -> String {
        let view = &self.views[link];
        let Place { node, shard, .. } = view.place;
        let user = crate::id::index(&view.user.0);
        format!("u{user} d{} on node{node} shard{shard} (link {link}): {what}", view.device)
    }
}

/// Where and when a frame left.
#[derive(Clone, Copy)]
pub struct At {
    pub link: usize,
    pub now: u64,
    pub clock: NodeClock,
    pub answers: u64,
}
