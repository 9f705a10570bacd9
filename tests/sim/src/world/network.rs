//! Links between clients and nodes: latency, a bounded number of frames under way, stalls, cuts and half-open death.

use std::collections::VecDeque;

use relay_proto::event::{Event, Transport};
use schema_wire::v1::ClientFrame;
use schema_wire::{Disconnect, Encoding, Frame, SessionId};

use crate::queue::{Happening, Place};

use super::World;

/// One connection of one device to one shard.
#[derive(Debug)]
pub struct Link {
    pub device: usize,
    pub place: Place,
    pub session: SessionId,
    /// The node has it in its table.
    pub server_open: bool,
    /// The client still uses it.
    pub client_open: bool,
    /// Nothing passes any more and nobody was told.
    pub half_open: bool,
    /// The client's process reads nothing before this.
    pub stalled_until: u64,
    pub ever_stalled: bool,
    /// Under way to the client, oldest first.
    in_flight: VecDeque<Frame>,
    up_us: u64,
    down_us: u64,
}

impl World {
    /// A client dials a shard of a node.
    pub fn connect(&mut self, device: usize, node: usize, shard: usize) -> usize {
        let life = self.nodes[node].life;
        let link = self.links.len();
        let at = self.now + self.link_delay();
        self.links.push(Link {
            device,
            place: Place { node, life, shard },
            session: SessionId::default(),
            server_open: false,
            client_open: true,
            half_open: false,
            stalled_until: 0,
            ever_stalled: false,
            in_flight: VecDeque::new(),
            up_us: at,
            down_us: at,
        });
        self.model.dialled(link, device, self.clients[device].user, Place { node, life, shard });
        self.queue.at(at, Happening::Connect { link });
        link
    }

    fn link_delay(&mut self) -> u64 {
        1 + self.rng.below(self.plan.rates.link_us)
    }

    pub(super) fn connect_arrives(&mut self, link: usize) {
        let place = self.links[link].place;
        if !self.alive(place) || self.nodes[place.node].slots[place.shard].drained {
            self.break_link(link, None);
            return;
        }
        let session = self.next_session(place.node, place.shard);
        self.links[link].session = session;
        self.links[link].server_open = true;
        self.nodes[place.node].sessions.insert(session, link);
        self.model.opened(link, self.now);
        let event = Event::Connected {
            session,
            transport: Transport::WebSocket,
            encoding: Encoding::Proto,
            address: None,
            bearer: None,
        };
        self.shard_event(place, event);
    }

    /// A client sends a frame.
    pub fn send_up(&mut self, link: usize, frame: ClientFrame) {
        if !self.links[link].client_open || self.links[link].half_open {
            return;
        }
        let at = (self.now + self.link_delay()).max(self.links[link].up_us + 1);
        self.links[link].up_us = at;
        self.queue.at(at, Happening::Up { link, frame, sent_us: self.now });
    }

    pub(super) fn up_arrives(&mut self, link: usize, frame: ClientFrame, sent_us: u64) {
        let Link { server_open, half_open, session, place, .. } = self.links[link];
        if !server_open || half_open {
            return;
        }
        let draining = self.nodes[place.node].slots[place.shard].drain_due.is_some();
        self.model.received(link, self.now, sent_us, &frame, draining);
        self.trace_received(link, &frame);
        self.shard_event(place, Event::Received { session, frame, early: false });
    }

    /// Moves frames from a session's outbox onto its link while there is room.
    pub(super) fn drain_outbox(&mut self, link: usize) {
        let Link { session, place, .. } = self.links[link];
        while self.links[link].server_open && self.links[link].in_flight.len() < self.plan.window {
            let slot = &mut self.nodes[place.node].slots[place.shard];
            let Some(frame) = slot.shard.poll_transmit(session) else {
                self.model.views[link].emptied_us = self.now;
                break;
            };
            self.transmit(link, frame);
        }
    }

    fn transmit(&mut self, link: usize, frame: Frame) {
        let body = schema_wire::codec::decode_server(&frame.body(), Encoding::Proto);
        let body = body.expect("the relay sends frames that decode");
        self.mix(frame.body_len() as u64);
        self.trace_transmitted(link, &body);
        let clock = self.nodes[self.links[link].place.node].clock;
        self.model.transmitted(link, self.now, clock, &body, &self.store);
        let delay = self.link_delay();
        let state = &mut self.links[link];
        state.in_flight.push_back(frame);
        if state.half_open {
            return;
        }
        let at = (self.now + delay).max(state.down_us + 1).max(state.stalled_until);
        state.down_us = at;
        self.queue.at(at, Happening::Down { link });
    }

    pub(super) fn down_arrives(&mut self, link: usize) {
        let state = &mut self.links[link];
        if state.half_open {
            return;
        }
        if self.now < state.stalled_until {
            let at = state.stalled_until;
            self.queue.at(at, Happening::Down { link });
            return;
        }
        let frame = state.in_flight.pop_front().expect("one arrival for each frame under way");
        if state.client_open {
            let body = schema_wire::codec::decode_server(&frame.body(), Encoding::Proto);
            self.client_receives(link, body.expect("checked when it was sent"));
        }
        let place = self.links[link].place;
        if self.links[link].server_open && self.alive(place) {
            self.drain_outbox(link);
            self.plan_timer(place);
        }
    }

    /// The relay closes a session: what fits goes out first.
    pub(super) fn close_session(&mut self, place: Place, session: SessionId, with: Disconnect) {
        let Some(link) = self.nodes[place.node].sessions.get(&session).copied() else { return };
        self.drain_outbox(link);
        self.nodes[place.node].sessions.remove(&session);
        self.model.closed(link, self.now, with);
        let stalled = self.links[link].ever_stalled || self.links[link].half_open;
        self.model.check_goodbye(link, self.now, with, stalled);
        self.break_link(link, Some(with));
        // The transport reports its own end, as a real one does.
        self.queue.at(self.now + 1, Happening::Shard { place, event: Event::Disconnected { session } });
    }

    /// The node's side is gone; the client learns it later, unless nothing passes.
    pub(super) fn break_link(&mut self, link: usize, with: Option<Disconnect>) {
        self.links[link].server_open = false;
        if self.links[link].half_open {
            return;
        }
        let delay = self.link_delay();
        let at = (self.now + delay).max(self.links[link].down_us + 1);
        self.links[link].down_us = at;
        self.queue.at(at, Happening::Closed { link, with });
    }

    /// A client drops its connection. What it sent and had not arrived may be lost with it.
    pub fn hang_up(&mut self, link: usize) {
        if !self.links[link].client_open {
            return;
        }
        self.links[link].client_open = false;
        if self.links[link].half_open {
            return;
        }
        let abrupt = self.rng.chance(500);
        let at = if abrupt { self.now + 1 } else { self.links[link].up_us.max(self.now) + 1 };
        self.queue.at(at, Happening::Cut { link });
    }

    pub(super) fn cut_arrives(&mut self, link: usize) {
        let Link { session, place, server_open, .. } = self.links[link];
        if !server_open {
            return;
        }
        self.links[link].server_open = false;
        self.nodes[place.node].sessions.remove(&session);
        self.model.ended(link);
        self.shard_event(place, Event::Disconnected { session });
    }
}
