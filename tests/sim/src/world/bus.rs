//! The bus between nodes: hints that may be dropped, doubled, delayed, reordered, or silent for a while.

use std::sync::Arc;

use relay_proto::event::Event;
use schema_wire::publication::{Publication, Shared};

use crate::queue::{Happening, Place};

use super::World;

impl World {
    /// A node forwards a publication to every other node.
    pub(super) fn forward(&mut self, from: usize, publication: &Shared) {
        self.trace_forward(from, publication);
        // A session of another process means nothing over there.
        let publication = Arc::new(Publication { origin: None, ..Publication::clone(publication) });
        for node in (0..self.nodes.len()).filter(|n| *n != from) {
            let copies = self.copies();
            for _ in 0..copies {
                let at = self.now + 1 + self.rng.below(self.plan.rates.bus_delay_us);
                self.queue.at(at, Happening::Bus { node, publication: publication.clone() });
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

    /// A hint arrives: the server brings it to the conversation's home.
    pub(super) fn bus_arrives(&mut self, node: usize, publication: Shared) {
        if !self.nodes[node].up {
            return;
        }
        let life = self.nodes[node].life;
        let shard = self.home(publication.conversation);
        self.shard_event(Place { node, life, shard }, Event::Forwarded { publication });
    }
}
