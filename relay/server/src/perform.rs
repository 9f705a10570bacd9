//! What is done about each decision: one match on `Effect`.

use relay_proto::{Effect, Event};
use schema_wire::bus::Hint;
use schema_wire::{Disconnect, SessionId, Step};

use crate::shard::{Link, Shard};
use crate::store::StoreJob;

impl Shard {
    /// Performs one effect. Answers that are known at once become events after the current one.
    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Verify { session, token } => {
                let verdict =
                    self.gate.verify(&token, self.clock.now().unix_ms / 1000).map_err(|(error, refused)| {
                        self.metrics.access_refused(error);
                        refused
                    });
                self.followups.push_back(Event::Verified { session, verdict });
            }
            Effect::Store { ticket, request } => {
                if let Err((ticket, reply)) = self.store.submit(StoreJob { shard: self.id, ticket, request })
                {
                    self.followups.push_back(Event::Stored { ticket, reply });
                }
            }
            Effect::Peer { to, frame } => self.postbox.send(to, frame),
            Effect::Forward { hint } => {
                self.metrics.counters.messages_forwarded += u64::from(matches!(hint, Hint::Publication(_)));
                if let Some(bus) = &self.bus {
                    bus.forward(hint);
                }
            }
            Effect::Take { user, count } => {
                if !self.bus.as_ref().is_some_and(|bus| bus.take(self.id, user, count)) {
                    self.followups.push_back(Event::Taken { user, taken: None });
                }
            }
            Effect::Listen { subject, on } => {
                if let Some(bus) = &mut self.bus {
                    bus.listen(subject, on);
                }
            }
            Effect::Transmit { session } => self.mark(session),
            Effect::Close { session, with } => self.cut(session, with),
            Effect::Measured { step, since_us } => {
                self.metrics.step(step, self.clock.now().mono_us.saturating_sub(since_us));
                if step == Step::Ack {
                    self.metrics.counters.messages_sent += 1;
                }
            }
            Effect::Refused { refused } => self.metrics.refused(refused),
            // Nobody waits for it when the node was stopped without draining.
            Effect::Drained => drop(self.drained.send(self.id)),
        }
    }

    fn mark(&mut self, session: SessionId) {
        match self.links.get(&session) {
            Some(Link::WebSocket(stream)) => self.websockets.mark(*stream, self.proto.now_us()),
            Some(Link::Quic(handle)) => self.quic.mark(*handle),
            None => {}
        }
    }

    /// Closes a session's connection with a code, behind what its outbox still holds.
    pub(crate) fn cut(&mut self, session: SessionId, with: Disconnect) {
        let Some(link) = self.links.remove(&session) else { return };
        self.metrics.disconnected(with);
        let proto = &mut self.proto;
        match link {
            Link::WebSocket(stream) => self.websockets.close(stream, with, proto.outbox(session)),
            Link::Quic(handle) => {
                let mut events = Vec::new();
                self.quic.close(std::time::Instant::now(), handle, with, proto.outbox(session), &mut events);
            }
        }
    }
}
