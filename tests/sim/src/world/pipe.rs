//! Between shards and the store: latency, group commit, failing and slow periods, the change log, and commits whose
//! node died before it could hear of them.

use relay_proto::event::{Event, Ticket};
use schema_wire::record::{Append, Change, StoreFault, StoreReply, StoreRequest};

use crate::clock::{MS, unix_ms};
use crate::queue::{Happening, Place};

use super::World;

/// Appends in one group commit.
const BATCH_MAX: usize = 8;
/// Changes one poll brings at most.
const CHANGES_MAX: usize = 16;
/// How much longer everything takes in a slow period.
const SLOW: u64 = 40;

impl World {
    /// A shard asks the store.
    pub(super) fn store_request(&mut self, place: Place, ticket: Ticket, request: StoreRequest) {
        let delay = self.store_delay();
        match request {
            StoreRequest::Append(append) => {
                let node = &mut self.nodes[place.node];
                node.batch.push((place, ticket, append));
                if !node.committing {
                    node.committing = true;
                    let wait = delay + self.plan.rates.batch_us;
                    self.queue.at(self.now + wait, Happening::Commit { node: place.node, life: place.life });
                }
            }
            request => self.queue.at(self.now + delay, Happening::Ask { place, ticket, request }),
        }
    }

    fn store_delay(&mut self) -> u64 {
        let slow = if self.now < self.weather.store_slow { SLOW } else { 1 };
        self.rng.between(50, self.plan.rates.store_us.max(51)) * slow
    }

    fn store_fault(&mut self, append: bool) -> Option<StoreFault> {
        if self.now < self.weather.store_away {
            return Some(StoreFault::Unavailable);
        }
        if append && self.now < self.weather.store_full {
            return Some(StoreFault::Full);
        }
        let fault = !self.weather.healed && self.rng.chance(self.plan.rates.store_fault);
        fault.then_some(StoreFault::Unavailable)
    }

    /// The store answers a question as things are now; the answer arrives later.
    pub(super) fn ask(&mut self, place: Place, ticket: Ticket, request: &StoreRequest) {
        let reply = match self.store_fault(false) {
            Some(fault) => StoreReply::Fault(fault),
            None => self.store.ask(request, unix_ms(self.now)),
        };
        let delay = self.store_delay();
        self.queue.at(self.now + delay, Happening::Shard { place, event: Event::Stored { ticket, reply } });
    }

    /// A batch commits, or fails whole. A dead node's batch may commit too: nobody hears of it. What one node alone keeps is
    /// in its own process: nothing of the one before commits once the next one runs.
    pub(super) fn commit(&mut self, node: usize, life: u32) {
        let alive = self.nodes[node].life == life && self.nodes[node].up;
        let followed = self.plan.nodes == 1 && self.nodes[node].up;
        let batch = self.take_batch(node, life);
        if !alive && (self.rng.chance(500) || followed) {
            return;
        }
        let fault = self.store_fault(true);
        let mut delay = self.store_delay();
        for (place, ticket, append) in batch {
            let reply = match fault {
                Some(fault) => StoreReply::Fault(fault),
                None => self.commit_one(place, &append),
            };
            delay += 1;
            self.queue
                .at(self.now + delay, Happening::Shard { place, event: Event::Stored { ticket, reply } });
        }
    }

    fn take_batch(&mut self, node: usize, life: u32) -> Vec<(Place, Ticket, Append)> {
        let state = &mut self.nodes[node];
        let all = std::mem::take(&mut state.batch);
        let (mut batch, mut rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(p, _, _)| p.life == life);
        rest.extend(batch.drain(batch.len().min(BATCH_MAX)..));
        state.committing = state.up && rest.iter().any(|(p, _, _)| p.life == state.life);
        state.batch = rest;
        if state.committing && state.life == life {
            let wait = self.plan.rates.batch_us + MS / 2;
            self.queue.at(self.now + wait, Happening::Commit { node, life });
        }
        batch
    }

    fn commit_one(&mut self, place: Place, append: &Append) -> StoreReply {
        let appended = self.store.append(append, unix_ms(self.now));
        self.model.appended(self.now, place, append, &appended, &self.store);
        self.trace_append(place, append, &appended);
        StoreReply::Append(appended)
    }

    /// A node reads the change log and tells all its shards.
    pub(super) fn poll(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life || !self.nodes[node].up {
            return;
        }
        let mut next = self.now + self.plan.rates.poll_us;
        if self.now < self.weather.store_slow {
            next += self.plan.rates.poll_us;
        }
        self.queue.at(next, Happening::Poll { node, life });
        let misses = self.nodes[node].misses_until;
        if self.now < self.weather.store_away || misses.is_some_and(|until| self.now < until) {
            return;
        }
        let changes = self.read_changes(node);
        // One poll after the other: no change overtakes an earlier one.
        let mut at = (self.now + self.store_delay()).max(self.nodes[node].changed_us);
        for change in changes {
            at += 1;
            for shard in 0..self.plan.shards {
                let place = Place { node, life, shard };
                let event = Event::Changed { change: change.clone() };
                self.queue.at(at, Happening::Shard { place, event });
            }
        }
        self.nodes[node].changed_us = at;
    }

    fn read_changes(&mut self, node: usize) -> Vec<Change> {
        let (node, all) = (&mut self.nodes[node], &self.store.changes);
        let from = node.changes_read;
        if node.misses_until.take().is_some() {
            node.changes_read = all.len();
            return vec![Change::Missed];
        }
        node.changes_read = all.len().min(from + CHANGES_MAX);
        all[from..node.changes_read].to_vec()
    }
}
