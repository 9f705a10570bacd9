//! The bus between nodes: frames that may be dropped, doubled, delayed, reordered, or silent for a while. It brings what a
//! node listens to, to the node that sent it too, and a node finds out only after a while that it is silent.

use bytes::Bytes;
use relay_proto::event::{Event, Taken};
use schema_wire::UserId;
use schema_wire::bus::{BusFrame, Hint, Life, Subject, decode, encode};

use crate::clock::MS;
use crate::queue::{Happening, Place};

use super::World;

/// How long a question to the count of all nodes is on its way, and its answer, in microseconds.
const TAKE_US: u64 = 2_000;
/// A node hears its own sign of life at least this often, in microseconds.
const NOTICED_US: u64 = 150 * MS;

impl World {
    /// A node tells all that listen, as bytes.
    pub(super) fn forward(&mut self, from: usize, hint: &Hint) {
        self.trace_forward(from, hint);
        let life = Life(u64::from(self.nodes[from].life) << 16 | from as u64);
        let bytes = Bytes::from(encode(life, &BusFrame::Hint(hint.clone())));
        self.mix(bytes.len() as u64);
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up || !self.nodes[node].listens.contains(&hint.subject()) {
                continue;
            }
            let life = self.nodes[node].life;
            for _ in 0..self.copies() {
                let at = self.now + 1 + self.rng.below(self.plan.rates.bus_delay_us);
                self.queue.at(at, Happening::Bus { node, life, bytes: bytes.clone() });
            }
        }
    }

    fn copies(&mut self) -> u32 {
        if self.weather.healed {
            return 1;
        }
        if self.now < self.weather.bus_silent || self.rng.chance(self.plan.rates.bus_drop) {
            return 0;
        }
        1 + u32::from(self.rng.chance(self.plan.rates.bus_double))
    }

    /// A frame arrives: the server brings it to the home of what it concerns.
    pub(super) fn bus_arrives(&mut self, node: usize, life: u32, bytes: &Bytes) {
        let (from, frame) = decode(bytes).expect("decodes what was encoded above");
        let BusFrame::Hint(hint) = frame else { return };
        let shard = (hint.subject().spread() % self.plan.shards as u64) as usize;
        self.shard_event(Place { node, life, shard }, Event::Forwarded { from, hint });
    }

    /// A home wants to listen, or has heard enough. Taken note of in the order it was said.
    pub(super) fn listen(&mut self, place: Place, subject: Subject, on: bool) {
        let at = self.now + self.plan.rates.bus_delay_us + 1;
        self.queue.at(at, Happening::Listening { place, subject, on });
    }

    pub(super) fn listening(&mut self, place: Place, subject: Subject, on: bool) {
        if !self.alive(place) {
            return;
        }
        let listens = &mut self.nodes[place.node].listens;
        if on {
            listens.insert(subject);
            self.shard_event(place, Event::Listening { subject });
        } else {
            listens.remove(&subject);
        }
    }

    /// A shard takes from the count of all nodes, which is silent with the bus.
    pub(super) fn take(&mut self, place: Place, user: UserId, count: u32) {
        let limits = &self.plan.limits;
        let (window_us, most) = (limits.shared_window_us(), limits.publish_limit);
        let (asked, now) = (self.now, self.now + 1 + self.rng.below(TAKE_US));
        let taken = (asked >= self.weather.bus_silent).then(|| {
            let counted = self.counted.entry(user).or_default();
            counted.retain(|(at, _)| at + window_us > now);
            let used: u32 = counted.iter().map(|(_, count)| count).sum();
            let granted = count.min(most.saturating_sub(used));
            match counted.front() {
                Some((oldest, _)) if granted == 0 => Taken::Dry(oldest + window_us - now),
                _ => {
                    counted.push_back((now, granted));
                    Taken::Granted(granted)
                }
            }
        });
        let answer = Event::Taken { user, taken };
        let at = now + 1 + self.rng.below(TAKE_US);
        self.queue.at(at, Happening::Shard { place, event: answer });
    }

    /// A process that began finds the bus, if it is not silent just now.
    pub(super) fn join_bus(&mut self, node: usize, life: u32) {
        if self.plan.nodes > 1 {
            let at = self.now.max(self.weather.bus_silent) + NOTICED_US;
            self.queue.at(at, Happening::BusSound { node, life, sound: true });
        }
    }

    /// Nothing passes for a while. That the bus is gone is noticed, and that it is back.
    pub(super) fn silence_bus(&mut self, for_us: u64) {
        let until = self.now + for_us;
        self.weather.bus_silent = until;
        for node in 0..self.nodes.len() {
            let life = self.nodes[node].life;
            self.queue.at(self.now + NOTICED_US, Happening::BusSound { node, life, sound: false });
            self.queue.at(until + NOTICED_US, Happening::BusSound { node, life, sound: true });
        }
    }

    pub(super) fn bus_sound(&mut self, node: usize, life: u32, sound: bool) {
        for shard in 0..self.plan.shards {
            self.shard_event(Place { node, life, shard }, Event::Bus { sound });
        }
    }
}
