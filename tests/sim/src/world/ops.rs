//! Planned changes and faults, when their time comes.

use relay_proto::event::{Control, Event};
use schema_wire::Disconnect;
use schema_wire::record::UserStatus;
use schema_wire::v1::Role;

use crate::clock::{MS, unix_ms};
use crate::id;
use crate::plan::Op;
use crate::queue::{Happening, Place};

use super::World;

/// How long a drain may take, in milliseconds.
const DRAIN_MS: u32 = 800;

impl World {
    pub(super) fn op(&mut self, op: Op) {
        self.trace.note(self.now, || format!("{op:?}"));
        let now = self.now;
        match op {
            Op::Crash { node } => self.crash(node),
            Op::Restart { node } => self.restart(node),
            Op::Drain { node } => self.drain(node),
            Op::ClockJump { node, by_ms } => self.nodes[node].clock.jump(by_ms),
            Op::BusSilent { for_us } => self.silence_bus(for_us),
            Op::StoreSlow { for_us } => self.weather.store_slow = now + for_us,
            Op::StoreFull { for_us } => self.weather.store_full = now + for_us,
            Op::StoreAway { for_us } => self.weather.store_away = now + for_us,
            Op::Miss { node, for_us } => self.nodes[node].misses_until = Some(now + for_us),
            Op::Rewind { lost } => {
                let rng = &mut self.rng;
                self.store.rewind(|| rng.between(0, lost));
            }
            Op::Heal => self.heal(),
            op => self.people(op),
        }
    }

    fn people(&mut self, op: Op) {
        let (now, at) = (self.now, unix_ms(self.now));
        let salt = self.salt;
        match op {
            Op::Add { conversation, user, from_start } => {
                let (conversation, user) = (id::conversation(conversation, salt), id::user(user, salt));
                self.store.add_member(conversation, user, Role::Member, from_start, at);
            }
            Op::Remove { conversation, user } => {
                let (conversation, user) = (id::conversation(conversation, salt), id::user(user, salt));
                if self.store.is_member(user, conversation) {
                    self.store.remove_member(conversation, user, at);
                    let version = self.store.logs[&conversation].version;
                    self.model.member_left(now, user, conversation, version);
                }
            }
            Op::Suspend { user } => self.sanction(user, UserStatus::Suspended { until: None }),
            Op::Ban { user } => self.sanction(user, UserStatus::Banned),
            Op::Reinstate { user } => {
                self.store.set_status(id::user(user, salt), UserStatus::Active);
            }
            Op::RevokeDevice { device } => {
                let user = self.clients[device].user;
                self.store.revoke_device(user, id::device(device, salt));
                self.model.barred(now, user, Some(id::device(device, salt)));
            }
            Op::RevokeTokens { user } => {
                self.store.revoke_tokens(id::user(user, salt), at / 1000);
                self.model.barred(now, id::user(user, salt), None);
            }
            Op::Erase { conversation } => {
                let conversation = id::conversation(conversation, salt);
                let head = self.store.logs[&conversation].head();
                if head > 0 {
                    let offset = self.rng.between(head.saturating_sub(4).max(1), head);
                    self.store.erase(conversation, offset);
                    self.model.erased(now, conversation, offset);
                }
            }
            Op::Block { user, other, blocked } => {
                let (user, other) = (id::user(user, salt), id::user(other, salt));
                self.store.set_block(user, other, blocked, at);
                self.model.block_changed(now, user, other, &self.store);
            }
            Op::Accept { conversation } => {
                let conversation = id::conversation(conversation, salt);
                let log = &self.store.logs[&conversation];
                let asked = log.members.keys().copied().find(|user| Some(*user) != log.waiting);
                if let Some(user) = asked {
                    self.store.accept(conversation, user, at);
                }
            }
            Op::Kick { user } => {
                let (user, with) = (id::user(user, salt), Disconnect::Kicked);
                self.control(&Control::DisconnectUser { user, with });
            }
            Op::Forget { conversation } => {
                self.control(&Control::Forget { conversation: id::conversation(conversation, salt) });
            }
            _ => {}
        }
    }

    fn sanction(&mut self, user: usize, status: UserStatus) {
        let user = id::user(user, self.salt);
        self.store.set_status(user, status);
        self.model.barred(self.now, user, None);
    }

    /// Operator control reaches every shard of every node.
    fn control(&mut self, control: &Control) {
        for node in 0..self.nodes.len() {
            for shard in 0..self.plan.shards {
                let place = Place { node, life: self.nodes[node].life, shard };
                if !self.alive(place) {
                    continue;
                }
                if let Control::DisconnectUser { user, .. } = control {
                    self.model.oblige_sessions(self.now, place, "kick", |u, _| u == *user);
                }
                self.shard_event(place, Event::Control { control: control.clone() });
            }
        }
    }

    fn drain(&mut self, node: usize) {
        if !self.nodes[node].up || self.nodes[node].draining {
            return;
        }
        self.nodes[node].draining = true;
        for shard in 0..self.plan.shards {
            let place = Place { node, life: self.nodes[node].life, shard };
            self.nodes[node].slots[shard].drain_due = Some(self.now + u64::from(DRAIN_MS + 300) * MS);
            let control =
                Control::Drain { reconnect_after_ms: 100, alternate: String::new(), deadline_ms: DRAIN_MS };
            self.shard_event(place, Event::Control { control });
        }
    }

    fn restart(&mut self, node: usize) {
        let drained = self.nodes[node].slots.iter().all(|s| s.drained);
        if self.nodes[node].up && drained {
            self.crash(node);
        }
        if !self.nodes[node].up {
            self.boot(node);
        }
    }

    fn heal(&mut self) {
        self.weather = super::Weather { healed: true, ..super::Weather::default() };
        for node in 0..self.nodes.len() {
            self.nodes[node].clock.correct();
            if !self.nodes[node].up {
                self.queue.at(self.now + 1, Happening::Op(Op::Restart { node }));
            }
        }
    }
}
