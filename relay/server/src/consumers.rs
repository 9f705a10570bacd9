//! Who takes what is sent to them most slowly: asked for by an operator, gathered on the shard, the worst of a node put
//! together on the internal listener's thread. Names a connection and an account by their numbers, nothing else.

use std::cmp::Reverse;

use hashbrown::HashMap;
use schema_wire::{SessionId, UserId};
use serde::Serialize;

use crate::shard::{Link, Shard};

/// Consumers told of, of a shard and of a node.
pub const CONSUMERS_MAX: usize = 10;

/// A connection for which something waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Consumer {
    /// The connection's session on this node, for as long as the node runs.
    pub session: SessionId,
    pub user: UserId,
    /// `websocket` or `quic`.
    pub transport: &'static str,
    pub frames: usize,
    pub bytes: usize,
    /// Since when it has not had all.
    pub waited_us: u64,
}

/// As it is told; numbers beyond 2^53 are text.
#[derive(Serialize)]
struct Told {
    session: String,
    shard: u16,
    user: String,
    transport: &'static str,
    frames: usize,
    bytes: usize,
    waited_ms: u64,
}

/// The worst of them first.
pub fn slowest(mut all: Vec<Consumer>) -> Vec<Consumer> {
    all.sort_unstable_by_key(|one| (Reverse((one.bytes, one.waited_us)), one.session));
    all.truncate(CONSUMERS_MAX);
    all
}

/// As JSON.
pub fn consumers_json(all: Vec<Consumer>) -> String {
    let told = slowest(all).into_iter().map(|one| Told {
        session: one.session.0.to_string(),
        shard: one.session.shard().0,
        user: one.user.to_string(),
        transport: one.transport,
        frames: one.frames,
        bytes: one.bytes,
        waited_ms: one.waited_us / 1_000,
    });
    let told: Vec<Told> = told.collect();
    serde_json::to_string(&told).expect("numbers and names can be written") + "\n"
}

impl Shard {
    /// The slowest of this shard. Walks over its sessions once.
    pub(crate) fn consumers(&self) -> Vec<Consumer> {
        let now_us = self.clock.now().mono_us;
        let mut found: HashMap<SessionId, Consumer> = HashMap::new();
        for reader in self.proto.waiting_readers() {
            let (transport, since_us) = match self.links.get(&reader.session) {
                Some(Link::WebSocket(stream)) => ("websocket", self.websockets.waiting_since_us(*stream)),
                Some(Link::Quic(_)) => ("quic", None),
                None => continue,
            };
            let waited_us = since_us.map_or(0, |since| now_us.saturating_sub(since));
            let (frames, bytes) = (reader.frames, reader.bytes);
            let consumer =
                Consumer { session: reader.session, user: reader.user, transport, frames, bytes, waited_us };
            found.insert(reader.session, consumer);
        }
        for (session, frames, bytes, since) in self.quic.behind() {
            let Some(reader) = self.proto.reader(session) else { continue };
            let waited_us = since.elapsed().as_micros() as u64;
            let (frames, bytes) = (frames + reader.frames, bytes + reader.bytes);
            let user = reader.user;
            found.insert(session, Consumer { session, user, transport: "quic", frames, bytes, waited_us });
        }
        slowest(found.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use schema_wire::ShardId;

    use super::*;

    #[test]
    fn the_worst_come_first_and_only_so_many() {
        let consumer = |n: u64, bytes, waited_us| Consumer {
            session: SessionId::new(ShardId(1), n),
            user: UserId([n as u8; 16]),
            transport: "quic",
            frames: 1,
            bytes,
            waited_us,
        };
        let mut all: Vec<Consumer> = (0..20).map(|n| consumer(n, 5, n)).collect();
        all.push(consumer(30, 900, 0));
        let told = slowest(all.clone());
        let order: Vec<u64> = told.iter().map(|one| one.session.0 & 0xff).collect();
        assert_eq!(order, [30, 19, 18, 17, 16, 15, 14, 13, 12, 11]);
        let json: serde_json::Value = serde_json::from_str(&consumers_json(all)).unwrap();
        assert_eq!((&json[0]["session"], &json[0]["shard"]), (&"281474976710686".into(), &1.into()));
        assert_eq!((&json[0]["bytes"], &json[9]["waited_ms"]), (&900.into(), &0.into()));
    }
}
