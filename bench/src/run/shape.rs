//! The shapes that are measured: what load, against which floor, and which goal it has to reach.

use super::crowd::Seats;
use crate::floor;
use crate::plan::{Carrier, Kind, Pace};

/// What a shape is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// A server that does the least that can be done.
    Floor(floor::Kind),
    /// The relay itself on one shard.
    OneShard,
    /// The relay itself when everybody reads.
    AllRead,
    /// Committing the same rows, without anything around it.
    Commit,
    /// Nothing: the goal is a number.
    Alone,
}

/// Which figure decides whether the goal is met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// CPU per delivery, as a multiple of the floor's, at most.
    CpuRatio(f64),
    /// Deliveries (or acks) per second, as a multiple of the floor's, at least.
    RateRatio(f64),
    /// Deliveries per second, at least.
    Rate(f64),
    /// p50 and p99, as multiples of the floor's, at most.
    LatencyRatio(f64),
    /// p99, as a multiple of the floor's, at most.
    P99Ratio(f64),
    /// Resident KiB per connection, at most.
    Memory(f64),
    /// Connects per second of server CPU, at least.
    Connects(f64),
    /// p99 of acks, as a multiple of one commit's median, at most.
    CommitRatio(f64),
    /// Allocations per delivered message, at most.
    Allocations(f64),
}

/// One shape.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub says: &'static str,
    pub carrier: Carrier,
    pub kind: Kind,
    pub seats: Seats,
    pub pace: Pace,
    pub payload: usize,
    pub shards: u16,
    pub stopped: f64,
    /// Load generators, each on a core of its own with its part of the conversations.
    pub generators: usize,
    /// Variables of the relay beside the usual ones.
    pub env: &'static [(&'static str, &'static str)],
    pub against: Against,
    pub goal: Option<Goal>,
    pub measure_s: f64,
    /// Part of the smoke run.
    pub smoke: bool,
}

const fn seats(rooms: usize, subscribers: usize) -> Seats {
    Seats { rooms, subscribers, publishers: 1 }
}

const BASE: Shape = Shape {
    name: "",
    says: "",
    carrier: Carrier::Websocket,
    kind: Kind::Ephemeral,
    seats: seats(1, 1_000),
    pace: Pace::Open { per_second: 50.0 },
    payload: 128,
    shards: 1,
    stopped: 0.0,
    generators: 1,
    env: &[],
    against: Against::Floor(floor::Kind::Sealed),
    goal: None,
    measure_s: 4.0,
    smoke: false,
};

const QUIC: Shape = Shape {
    carrier: Carrier::Quic,
    seats: seats(1, 200),
    against: Against::Floor(floor::Kind::Quinn),
    goal: Some(Goal::CpuRatio(0.85)),
    ..BASE
};

/// As much as the server carries, from so many load generators that it is never they who are the limit.
const SCALING: Shape =
    Shape { seats: seats(16, 128), pace: Pace::Closed { window: 16 }, against: Against::OneShard, ..BASE };

impl Shape {
    /// Cores that it takes: each shard and each load generator has its own. Two suffice for all but those that scale.
    pub fn cores(&self) -> usize {
        if self.generators == 1 { 2 } else { usize::from(self.shards) + self.generators }
    }
}

/// Every shape, in the order of the table.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "unbatched",
        says: "1,000 subscribers, 50,000 deliveries/s, every publication by itself",
        goal: Some(Goal::CpuRatio(1.10)),
        smoke: true,
        ..BASE
    },
    Shape {
        name: "saturated",
        says: "1,000 subscribers, 16 publications in flight",
        pace: Pace::Closed { window: 16 },
        goal: Some(Goal::RateRatio(0.9)),
        smoke: true,
        ..BASE
    },
    Shape {
        name: "batched",
        says: "100 subscribers, 1,024 publications in flight",
        seats: seats(1, 100),
        pace: Pace::Closed { window: 1_024 },
        goal: Some(Goal::Rate(5e6)),
        ..BASE
    },
    Shape {
        name: "rooms",
        says: "500 conversations of 4 subscribers, 50,000 deliveries/s",
        seats: seats(500, 4),
        pace: Pace::Open { per_second: 12_500.0 },
        goal: Some(Goal::CpuRatio(1.2)),
        ..BASE
    },
    Shape {
        name: "rooms-quiet",
        says: "500 conversations of 4 subscribers, 2,000 deliveries/s: latency",
        seats: seats(500, 4),
        pace: Pace::Open { per_second: 500.0 },
        goal: Some(Goal::LatencyRatio(1.15)),
        measure_s: 6.0,
        ..BASE
    },
    Shape {
        name: "idle",
        says: "10,000 idle connections: resident memory of the server",
        seats: Seats { rooms: 1, subscribers: 10_000, publishers: 0 },
        pace: Pace::Idle,
        goal: Some(Goal::Memory(6.0)),
        measure_s: 2.0,
        ..BASE
    },
    Shape {
        name: "connects",
        says: "full TLS 1.3 + WebSocket + Hello, 64 at once, per second of server CPU",
        seats: Seats { rooms: 1, subscribers: 4_000, publishers: 0 },
        pace: Pace::Storm { at_once: 64 },
        goal: Some(Goal::Connects(4_500.0)),
        ..BASE
    },
    Shape { name: "quic-unbatched", says: "200 QUIC subscribers, 10,000 deliveries/s", smoke: true, ..QUIC },
    Shape {
        name: "quic-unbatched-1000",
        says: "1,000 QUIC subscribers, 10,000 deliveries/s",
        seats: seats(1, 1_000),
        pace: Pace::Open { per_second: 10.0 },
        ..QUIC
    },
    Shape {
        name: "quic-batched",
        says: "200 QUIC subscribers, 16 publications in flight",
        pace: Pace::Closed { window: 16 },
        ..QUIC
    },
    Shape {
        name: "quic-batched-1000",
        says: "1,000 QUIC subscribers, 16 publications in flight",
        seats: seats(1, 1_000),
        pace: Pace::Closed { window: 16 },
        ..QUIC
    },
    Shape {
        name: "quic-idle",
        says: "1,000 idle QUIC connections: resident memory of the server",
        seats: Seats { rooms: 1, subscribers: 1_000, publishers: 0 },
        pace: Pace::Idle,
        goal: Some(Goal::Memory(15.0)),
        measure_s: 2.0,
        ..QUIC
    },
    Shape {
        name: "two-shards",
        says: "1,000 subscribers over two shards, 50,000 deliveries/s, against one shard",
        shards: 2,
        against: Against::OneShard,
        goal: Some(Goal::CpuRatio(1.1)),
        ..BASE
    },
    Shape {
        name: "shards-4",
        says: "16 conversations of 128, 16 publications in flight each: four shards against one (8 cores)",
        shards: 4,
        generators: 4,
        goal: Some(Goal::RateRatio(3.2)),
        ..SCALING
    },
    Shape {
        name: "shards-8",
        says: "the same: eight shards against one (16 cores)",
        shards: 8,
        generators: 8,
        goal: Some(Goal::RateRatio(6.4)),
        ..SCALING
    },
    Shape {
        name: "durable",
        says: "durable publishes, 16 conversations with 64 in flight each, against committing the same rows",
        kind: Kind::Durable,
        seats: seats(16, 1),
        pace: Pace::Closed { window: 64 },
        against: Against::Commit,
        goal: Some(Goal::RateRatio(0.7)),
        smoke: true,
        ..BASE
    },
    Shape {
        name: "durable-half",
        says: "durable publishes at half of what `durable` reaches: p99 of acks against one commit",
        kind: Kind::Durable,
        seats: seats(16, 1),
        // The rate is half of what `durable` reached in the same run.
        pace: Pace::Open { per_second: 0.0 },
        against: Against::Commit,
        goal: Some(Goal::CommitRatio(2.0)),
        ..BASE
    },
    Shape {
        name: "durable-fan-out",
        says: "1,000 subscribers, durable publications, 50,000 deliveries/s",
        kind: Kind::Durable,
        ..BASE
    },
    Shape {
        name: "slow-readers",
        says: "1,000 subscribers of whom 10 % stop reading, are cut with 4001 and recover: p99 of the others",
        kind: Kind::Durable,
        stopped: 0.1,
        // So small that they overflow while it is measured, at a load that leaves both cores room.
        env: &[("RELAY_OUTBOX_FRAMES", "100"), ("RELAY_OUTBOX_BYTES", "262144")],
        payload: 1_024,
        against: Against::AllRead,
        goal: Some(Goal::P99Ratio(1.5)),
        measure_s: 10.0,
        ..BASE
    },
    Shape {
        name: "allocations",
        says: "heap allocations of the shard per delivered message, counted",
        against: Against::Alone,
        goal: Some(Goal::Allocations(0.0)),
        ..BASE
    },
];

/// The shape of a name.
pub fn named(name: &str) -> Option<&'static Shape> {
    SHAPES.iter().find(|shape| shape.name == name)
}
