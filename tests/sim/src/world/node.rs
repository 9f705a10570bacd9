//! One relay process: its shards, their timers, and the performing of their effects. All of it dies in a crash.

use std::collections::{BTreeMap, BTreeSet};

use relay_proto::event::{Claims, Event};
use relay_proto::{Effect, Effects, Shard, ShardConfig};
use schema_wire::bus::{Life, Subject};
use schema_wire::record::Change;
use schema_wire::{ConversationId, NodeId, Refused, SessionId, ShardId};

use crate::clock::{MS, NodeClock};
use crate::queue::{Happening, Place};

use super::World;

/// Timer rings at one moment before a shard counts as spinning.
const SPIN_MAX: u32 = 50;

/// One shard's mind and what the body around it keeps.
pub struct Slot {
    pub shard: Shard,
    /// World time the next timer is planned for.
    timer_us: Option<u64>,
    spins: (u64, u32),
    /// World time by which a drain must be over.
    pub drain_due: Option<u64>,
    pub drained: bool,
    /// When the last frame to each peer arrives: channels keep order.
    peer_us: Vec<u64>,
    next_serial: u64,
}

/// One node.
#[derive(Default)]
pub struct Node {
    pub up: bool,
    pub life: u32,
    pub started_us: u64,
    pub clock: NodeClock,
    pub slots: Vec<Slot>,
    /// The link of each session.
    pub sessions: BTreeMap<SessionId, usize>,
    pub batch: Vec<(Place, relay_proto::event::Ticket, schema_wire::record::Append)>,
    pub committing: bool,
    pub changes_read: usize,
    /// When the last change that was read reaches the shards.
    pub changed_us: u64,
    /// It reads no changes until then, and by then the log has forgotten them.
    pub misses_until: Option<u64>,
    pub draining: bool,
    /// What the bus brings to this process.
    pub listens: BTreeSet<Subject>,
}

impl World {
    /// The shard of every node that is the home of a conversation.
    pub fn home(&self, conversation: ConversationId) -> usize {
        (conversation.spread() % self.plan.shards as u64) as usize
    }

    /// Starts a process on a node.
    pub(super) fn boot(&mut self, node: usize) {
        let shards = self.plan.shards;
        let state = &mut self.nodes[node];
        state.life += 1;
        state.up = true;
        state.draining = false;
        state.committing = false;
        state.started_us = self.now;
        state.clock = state.clock.restarted(self.now);
        state.changes_read = self.store.changes.len();
        state.changed_us = 0;
        state.misses_until = None;
        state.slots.clear();
        state.listens.clear();
        for shard in 0..shards {
            let config = ShardConfig {
                shard: ShardId(shard as u16),
                shards: shards as u16,
                node: NodeId(node as u16),
                life: Life(u64::from(state.life) << 16 | node as u64),
                peers: self.plan.nodes > 1,
                limits: self.plan.limits.clone(),
            };
            let mut mind = Shard::new(config);
            if let Some(fault) = self.planted {
                mind.plant(fault);
            }
            state.slots.push(Slot {
                shard: mind,
                timer_us: None,
                spins: (0, 0),
                drain_due: None,
                drained: false,
                peer_us: vec![0; shards],
                next_serial: 0,
            });
        }
        let life = state.life;
        let period = self.plan.rates.poll_us;
        let first =
            if self.plan.polls_apart { period * (node as u64 + 1) / self.plan.nodes as u64 } else { period };
        self.queue.at(self.now + first, Happening::Poll { node, life });
        self.join_bus(node, life);
    }

    /// Kills a process: all that its shards knew is lost.
    pub(super) fn crash(&mut self, node: usize) {
        let state = &mut self.nodes[node];
        if !state.up {
            return;
        }
        state.up = false;
        state.slots.clear();
        for (_, link) in std::mem::take(&mut state.sessions) {
            self.model.ended(link);
            self.break_link(link, None);
        }
    }

    /// A fresh session id on a shard.
    pub(super) fn next_session(&mut self, node: usize, shard: usize) -> SessionId {
        let slot = &mut self.nodes[node].slots[shard];
        slot.next_serial += 1;
        SessionId::new(ShardId(shard as u16), slot.next_serial)
    }

    /// Whether that process still runs.
    pub(super) fn alive(&self, place: Place) -> bool {
        let node = &self.nodes[place.node];
        node.up && node.life == place.life
    }

    /// One event, all its effects, then the next.
    pub(super) fn shard_event(&mut self, place: Place, event: Event) {
        if !self.alive(place) {
            return;
        }
        let change = match &event {
            Event::Changed { change } => Some(change.clone()),
            _ => None,
        };
        self.trace_event(place, &event);
        self.before_event(place, &event);
        let now = self.nodes[place.node].clock.read(self.now);
        let mut effects = Effects::new();
        self.nodes[place.node].slots[place.shard].shard.handle(now, event, &mut effects);
        self.mix(effects.len() as u64 ^ (place.node as u64) << 32 ^ (place.shard as u64) << 40);
        for effect in effects {
            self.perform(place, effect);
        }
        if let Some(change) = change {
            self.after_change(place, &change);
        }
        if self.alive(place) {
            self.check_bounds(place);
            self.plan_timer(place);
        }
    }

    fn before_event(&mut self, place: Place, event: &Event) {
        if let Event::Verified { session, verdict } = event
            && let Some(link) = self.nodes[place.node].sessions.get(session)
        {
            self.model.verified(*link, self.now, verdict);
        }
    }

    fn after_change(&mut self, place: Place, change: &Change) {
        self.model.changed(self.now, place, change);
    }

    /// A shard's timer rings, unless it was moved meanwhile.
    pub(super) fn timer(&mut self, place: Place) {
        if !self.alive(place) {
            return;
        }
        let now = self.now;
        let slot = &mut self.nodes[place.node].slots[place.shard];
        if slot.timer_us != Some(now) {
            return;
        }
        slot.timer_us = None;
        slot.spins = if slot.spins.0 + MS >= now { (slot.spins.0, slot.spins.1 + 1) } else { (now, 1) };
        if slot.spins.1 > SPIN_MAX {
            let text = format!("node{} shard{}: its timer spins", place.node, place.shard);
            self.model.violate(now, "timer", text);
            return;
        }
        self.shard_event(place, Event::Timeout);
    }

    /// Plans a shard's next timer. Asked after each event and after draining outboxes.
    pub(super) fn plan_timer(&mut self, place: Place) {
        let node = &mut self.nodes[place.node];
        let slot = &mut node.slots[place.shard];
        let due = slot.shard.next_timeout().map(|mono| node.clock.world_us(mono).max(self.now));
        if due != slot.timer_us {
            slot.timer_us = due;
            if let Some(due) = due {
                self.queue.at(due, Happening::Timer { place });
            }
        }
    }

    fn perform(&mut self, place: Place, effect: Effect) {
        match effect {
            Effect::Verify { session, token } => self.verify(place, session, &token),
            Effect::Store { ticket, request } => self.store_request(place, ticket, request),
            Effect::Peer { to, frame } => self.peer(place, usize::from(to.0), frame),
            Effect::Forward { hint } => self.forward(place.node, &hint),
            Effect::Listen { subject, on } => self.listen(place, subject, on),
            Effect::Take { user, count } => self.take(place, user, count),
            Effect::Transmit { session } => {
                if let Some(link) = self.nodes[place.node].sessions.get(&session).copied() {
                    self.drain_outbox(link);
                }
            }
            Effect::Close { session, with } => self.close_session(place, session, with),
            Effect::Measured { step, .. } => self.mix(step as u64),
            Effect::Refused { .. } => {}
            Effect::Drained => self.drained(place),
        }
    }

    fn peer(&mut self, place: Place, to: usize, frame: schema_wire::peer::PeerFrame) {
        assert!(to != place.shard, "a shard does not write to itself");
        self.trace_peer(place, to, &frame);
        let at = self.now + self.rng.below(self.plan.rates.peer_us) + 1;
        let last = &mut self.nodes[place.node].slots[place.shard].peer_us[to];
        *last = at.max(*last + 1);
        let at = *last;
        let event = Event::Peer { from: ShardId(place.shard as u16), frame };
        self.queue.at(at, Happening::Shard { place: Place { shard: to, ..place }, event });
    }

    /// Tokens are `user.device.issued.expires` in clear: what is decided here is only what the claims say.
    fn verify(&mut self, place: Place, session: SessionId, token: &str) {
        let unix_s = self.nodes[place.node].clock.read(self.now).unix_ms / 1000;
        let numbers: Option<Vec<u64>> = token.split('.').map(|n| n.parse().ok()).collect();
        let verdict = match numbers.as_deref() {
            Some(&[user, device, issued_at, expires_at]) if expires_at > unix_s => Ok(Claims {
                user: crate::id::user(user as usize, self.salt),
                device: crate::id::device(device as usize, self.salt),
                issued_at,
                expires_at,
            }),
            Some(&[_, _, _, _]) => Err(Refused::TokenExpired),
            _ => Err(Refused::TokenInvalid),
        };
        let at = self.now + self.rng.between(20, 2_000);
        self.queue.at(at, Happening::Shard { place, event: Event::Verified { session, verdict } });
    }

    fn drained(&mut self, place: Place) {
        let left =
            self.nodes[place.node].sessions.keys().filter(|s| s.shard().0 as usize == place.shard).count();
        let slot = &mut self.nodes[place.node].slots[place.shard];
        let asked = slot.drain_due.take().is_some();
        slot.drained = true;
        if !asked || left > 0 {
            let text = format!("node{} shard{}: drained with {left} sessions", place.node, place.shard);
            self.model.violate(self.now, "drain", text);
        }
        if self.nodes[place.node].slots.iter().all(|s| s.drained) {
            self.queue.at(self.now + 50 * MS, Happening::Op(crate::plan::Op::Restart { node: place.node }));
        }
    }
}
