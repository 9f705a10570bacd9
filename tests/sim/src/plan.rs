//! What the seed decides before anything runs: the shape of the world, its limits, its faults and when they strike.

use relay_proto::Limits;

use crate::clock::{MS, S};
use crate::prng::Prng;

/// A planned change of the world. Indices name nodes, users, devices and conversations.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Op {
    Crash {
        node: usize,
    },
    Restart {
        node: usize,
    },
    Drain {
        node: usize,
    },
    ClockJump {
        node: usize,
        by_ms: i64,
    },
    BusSilent {
        for_us: u64,
    },
    StoreSlow {
        for_us: u64,
    },
    StoreFull {
        for_us: u64,
    },
    StoreAway {
        for_us: u64,
    },
    Add {
        conversation: usize,
        user: usize,
        from_start: bool,
    },
    Remove {
        conversation: usize,
        user: usize,
    },
    Suspend {
        user: usize,
    },
    Ban {
        user: usize,
    },
    Reinstate {
        user: usize,
    },
    RevokeDevice {
        device: usize,
    },
    RevokeTokens {
        user: usize,
    },
    Erase {
        conversation: usize,
    },
    Rewind {
        lost: u64,
    },
    Kick {
        user: usize,
    },
    Forget {
        conversation: usize,
    },
    Block {
        user: usize,
        other: usize,
        blocked: bool,
    },
    /// A first contact is accepted without a word.
    Accept {
        conversation: usize,
    },
    /// A node reads nothing of the change log for a while, and then the log has forgotten what it has not read.
    Miss {
        node: usize,
        for_us: u64,
    },
    /// Faults stop here.
    Heal,
}

/// How often things go wrong by chance, per thousand, and how long they take, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub bus_drop: u32,
    pub bus_double: u32,
    pub bus_delay_us: u64,
    pub store_fault: u32,
    pub store_us: u64,
    pub batch_us: u64,
    pub poll_us: u64,
    pub link_us: u64,
    pub peer_us: u64,
    /// Per wake of a client.
    pub disconnect: u32,
    pub half_open: u32,
    pub stall: u32,
    pub wake_us: u64,
}

/// Which mood a world is in. Each reaches states the others seldom do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Nothing fails: the strictest checks hold.
    Calm,
    /// Small limits, fast clients.
    Tight,
    /// Nodes crash, the bus and the store fail.
    Stormy,
    /// People come, go, and are thrown out.
    Restless,
}

/// Everything a seed decides up front.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub mood: Mood,
    pub nodes: usize,
    pub shards: usize,
    pub users: usize,
    /// The user of each device.
    pub devices: Vec<usize>,
    /// The first members of each conversation.
    pub conversations: Vec<Vec<usize>>,
    pub limits: Limits,
    pub rates: Rates,
    /// Frames a link carries at once.
    pub window: usize,
    /// Lifetime of access tokens, in seconds.
    pub token_s: u64,
    /// When faults stop.
    pub heal_us: u64,
    pub ops: Vec<(u64, Op)>,
    /// Whether devices send signals.
    pub signals: bool,
    /// Whether each node reads the change log at moments of its own.
    pub polls_apart: bool,
    /// A conversation that its first member opened and the others have not accepted.
    pub waiting: Option<usize>,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        let rng = &mut Prng::new(seed);
        let mood = [Mood::Calm, Mood::Tight, Mood::Stormy, Mood::Restless][(seed % 4) as usize];
        let nodes = rng.pick(&[1, 1, 2, 2, 3]);
        let shards = rng.pick(&[1, 2, 2, 3]);
        let users = rng.between(2, 5) as usize;
        let mut devices: Vec<usize> = (0..users).collect();
        devices.extend((0..rng.between(0, 3)).map(|_| rng.index(users)));
        let mut conversations: Vec<Vec<usize>> = Vec::new();
        for _ in 0..rng.between(1, 3) {
            let members = (0..users).filter(|_| rng.chance(750)).collect::<Vec<_>>();
            conversations.push(if members.len() < 2 { vec![0, 1] } else { members });
        }
        let heal_us = rng.between(3, 7) * S;
        let mut plan = Self {
            seed,
            mood,
            nodes,
            shards,
            users,
            limits: limits(rng, mood, (nodes, nodes * shards), &conversations, devices.len()),
            rates: rates(rng, mood),
            devices,
            conversations,
            window: rng.between(2, 8) as usize,
            token_s: if rng.chance(400) { rng.between(4, 8) } else { 900 },
            heal_us,
            ops: Vec::new(),
            signals: !older_than(seed, "# Signals."),
            polls_apart: !older_than(seed, "# Newcomers."),
            waiting: None,
        };
        plan.ops = ops(rng, &plan);
        if !older_than(seed, "# Relations.") {
            relate(&mut Prng::new(seed ^ 0x7e1a_7e1a_7e1a_7e1a), &mut plan);
        }
        if plan.polls_apart {
            newcome(&mut Prng::new(seed ^ 0x2e3c_2e3c_2e3c_2e3c), &mut plan);
        }
        if plan.mood == Mood::Stormy && !older_than(seed, "# Missed changes.") {
            miss(&mut Prng::new(seed ^ 0x3c6e_f372_fe94_f82a), &mut plan);
        }
        plan
    }
}

impl Plan {
    /// There is room for everything ephemeral.
    pub fn is_roomy(&self) -> bool {
        matches!(self.mood, Mood::Calm | Mood::Stormy)
    }

    /// There are several nodes, and what they count together is never out of reach.
    pub fn counts_together(&self) -> bool {
        self.nodes > 1 && !self.ops.iter().any(|(_, op)| matches!(op, Op::BusSilent { .. }))
    }
}

/// Whether a seed was kept before something came into the worlds: its world has none of it, so that it still tells what it
/// once told.
fn older_than(seed: u64, what: &str) -> bool {
    let (older, _) = include_str!("../seeds.txt").split_once(what).expect("the line is there");
    crate::run::seeds_in(older).contains(&seed)
}

/// Who blocks whom and when, what waits to be accepted, and whether little of what is ephemeral may be sent. Drawn apart,
/// so that the rest of a plan stays as it was.
fn relate(rng: &mut Prng, plan: &mut Plan) {
    if rng.chance(300) {
        plan.waiting = Some(rng.index(plan.conversations.len()));
    }
    let mut at = || rng.between(S / 2, plan.heal_us - S / 4);
    let (accepted, mut times) = (at(), [at(), at(), at(), at()]);
    times.sort_unstable();
    if let Some(conversation) = plan.waiting
        && rng.chance(500)
    {
        plan.ops.push((accepted, Op::Accept { conversation }));
    }
    if rng.chance(400) {
        let user = rng.index(plan.users);
        let other = (user + rng.between(1, plan.users as u64 - 1) as usize) % plan.users;
        let pair = if rng.chance(500) { (other, user) } else { (user, other) };
        let blocks =
            [(user, other, true), (pair.0, pair.1, true), (user, other, false), (pair.0, pair.1, false)];
        let kept = rng.between(1, 4) as usize;
        for (at, (user, other, blocked)) in times.into_iter().zip(blocks).take(kept) {
            plan.ops.push((at, Op::Block { user, other, blocked }));
        }
    }
    plan.ops.sort_by_key(|(at, _)| *at);
    if rng.chance(300) {
        plan.limits.ephemeral_per_s = plan.limits.ephemeral_per_s.min(rng.between(2, 10) as u32);
    }
}

/// Somebody with a block comes to a conversation where the other one already is, in a session that began after the block.
/// Drawn apart as well.
fn newcome(rng: &mut Prng, plan: &mut Plan) {
    let conversation = rng.index(plan.conversations.len());
    let members = &plan.conversations[conversation];
    if !rng.chance(400) || members.len() < 3 {
        return;
    }
    let other = members[rng.between(1, members.len() as u64 - 1) as usize];
    // Whom somebody meets elsewhere is known.
    for members in plan.conversations.iter_mut().filter(|members| members.len() > 2) {
        members.retain(|member| *member != other);
    }
    let user = rng.pick(&plan.conversations[conversation]);
    let blocked_at = rng.between(S / 2, plan.heal_us - 2 * S);
    // Time to hear of the block, then to come back.
    let times = [blocked_at, blocked_at + S / 4, blocked_at + rng.between(3 * S / 4, 7 * S / 4)];
    let (blocker, blocked) = if rng.chance(500) { (user, other) } else { (other, user) };
    let ops = [
        Op::Block { user: blocker, other: blocked, blocked: true },
        Op::Kick { user },
        Op::Add { conversation, user: other, from_start: rng.chance(500) },
    ];
    plan.ops.extend(times.into_iter().zip(ops));
    plan.ops.sort_by_key(|(at, _)| *at);
    // So that some nodes still don't know who came when the newcomer is at it.
    plan.rates.poll_us = rng.between(200, 800) * MS;
}

/// A node is cut off from the change log for so long that it forgets, while people are blocked, thrown out and erased. Drawn
/// apart as well.
fn miss(rng: &mut Prng, plan: &mut Plan) {
    if !rng.chance(200) {
        return;
    }
    let (node, for_us) = (rng.index(plan.nodes), rng.between(300, 1_500) * MS);
    let at = rng.between(S / 2, plan.heal_us - 2 * S);
    plan.ops.push((at, Op::Miss { node, for_us }));
    for _ in 0..rng.between(1, 4) {
        let meanwhile = at + rng.between(0, for_us);
        let op = match rng.chance(400) {
            true => {
                let (user, other) = (rng.index(plan.users), rng.index(plan.users));
                Op::Block { user, other, blocked: rng.chance(700) }
            }
            false => people(rng, plan, 13),
        };
        plan.ops.push((meanwhile, op));
    }
    plan.ops.sort_by_key(|(at, _)| *at);
}

fn limits(
    rng: &mut Prng,
    mood: Mood,
    (nodes, shards): (usize, usize),
    talks: &[Vec<usize>],
    devices: usize,
) -> Limits {
    let mut limits = Limits {
        hello_ms: rng.between(800, 2_000),
        idle_ms: rng.between(3_000, 6_000),
        gap_ms: rng.between(20, 120),
        heads_ms: if nodes > 1 { rng.between(200, 500) } else { 0 },
        heads_sound_ms: if nodes > 1 { 2_000 } else { 0 },
        coalesce_ms: rng.between(20, 200),
        lease_ms: rng.between(1_000, 4_000),
        publish_window_s: rng.between(1, 3) as u32,
        individual_members: if rng.chance(300) { 2 } else { 100 },
        publish_limit: rng.between(8, 60) as u32,
        retry_ms: rng.between(20, 200),
        page: rng.between(2, 20) as u32,
        page_max: rng.between(2, 20) as u32,
        behind: if rng.chance(300) { rng.between(4, 15) } else { 10_000 },
        tail_publications: rng.between(1, 16) as usize,
        ..Limits::default()
    };
    if mood == Mood::Tight {
        limits = Limits {
            sessions: if rng.chance(300) && shards > 1 { devices.div_ceil(2) + 1 } else { devices * 2 },
            outbox_frames: rng.between(6, 24) as usize,
            outbox_bytes: rng.between(1_500, 6_000) as usize,
            outbox_ephemeral: rng.between(1, 3) as usize,
            subscriptions: (talks.len() - usize::from(rng.chance(300))).max(1),
            requests: rng.between(2, 6) as usize,
            resume: talks.len().max(1),
            watched_conversations: rng.between(1, 2) as usize,
            watched_users: rng.between(1, 3) as usize,
            publishes: rng.between(1, 3) as usize,
            pages: rng.between(1, 2) as usize,
            standings: rng.between(2, 6) as usize,
            appends: rng.between(3, 8) as usize,
            conversation_appends: rng.between(2, 4) as usize,
            tail_publications: rng.pick(&[1, 2, 3, 16, 32]),
            held_publications: rng.between(1, 4) as usize,
            body_bytes: 64,
            signal_bytes: 64,
            publish_limit: rng.between(4, 10) as u32,
            ephemeral_per_s: rng.between(2, 5) as u32,
            refusals_per_min: rng.between(30, 80) as u32,
            ..limits
        };
    }
    limits
}

fn rates(rng: &mut Prng, mood: Mood) -> Rates {
    let calm = Rates {
        bus_delay_us: 5 * MS,
        store_us: rng.between(300, 3_000),
        batch_us: rng.between(200, 3_000),
        poll_us: rng.between(60, 250) * MS,
        link_us: rng.between(1, 20) * MS,
        peer_us: rng.between(5, 500),
        wake_us: rng.between(60, 220) * MS,
        ..Rates::default()
    };
    match mood {
        Mood::Calm => calm,
        Mood::Tight => {
            Rates { stall: 40, disconnect: 10, wake_us: rng.between(20, 80) * MS, bus_drop: 30, ..calm }
        }
        Mood::Stormy => Rates {
            bus_drop: rng.pick(&[0, 50, 200, 500]),
            bus_double: rng.pick(&[0, 100, 300]),
            bus_delay_us: rng.pick(&[5, 50, 400]) * MS,
            store_fault: rng.pick(&[0, 20, 100]),
            store_us: rng.pick(&[1, 10, 60]) * MS,
            disconnect: 30,
            half_open: 10,
            stall: 15,
            ..calm
        },
        Mood::Restless => Rates {
            disconnect: 15,
            bus_drop: rng.pick(&[0, 50]),
            bus_delay_us: rng.pick(&[5, 60]) * MS,
            store_us: rng.pick(&[1, 20]) * MS,
            ..calm
        },
    }
}

fn ops(rng: &mut Prng, plan: &Plan) -> Vec<(u64, Op)> {
    let mut ops = vec![(plan.heal_us, Op::Heal)];
    let count = match plan.mood {
        Mood::Calm => rng.below(3),
        Mood::Tight => rng.below(3),
        Mood::Stormy => rng.between(3, 10),
        Mood::Restless => rng.between(5, 14),
    };
    for _ in 0..count {
        let at = rng.between(S / 2, plan.heal_us - S / 4);
        match plan.mood {
            Mood::Stormy => storm(rng, plan, at, &mut ops),
            Mood::Calm => ops.push((at, people(rng, plan, 2))),
            _ => ops.push((at, people(rng, plan, 14))),
        }
    }
    ops.sort_by_key(|(at, _)| *at);
    ops
}

fn storm(rng: &mut Prng, plan: &Plan, at: u64, ops: &mut Vec<(u64, Op)>) {
    let node = rng.index(plan.nodes);
    let for_us = rng.between(100, 1_500) * MS;
    match rng.below(12) {
        0..=2 => {
            ops.push((at, Op::Crash { node }));
            ops.push((at + rng.between(20, 800) * MS, Op::Restart { node }));
        }
        3 | 4 => ops.push((at, Op::Drain { node })),
        5 => ops.push((at, Op::ClockJump { node, by_ms: rng.between(0, 40_000) as i64 - 20_000 })),
        6 | 7 => ops.push((at, Op::BusSilent { for_us })),
        8 => ops.push((at, Op::StoreSlow { for_us })),
        9 => ops.push((at, Op::StoreFull { for_us })),
        10 => ops.push((at, Op::StoreAway { for_us: for_us / 2 })),
        _ => ops.push((at, Op::Rewind { lost: rng.between(0, 6) })),
    }
}

fn people(rng: &mut Prng, plan: &Plan, kinds: u64) -> Op {
    let user = rng.index(plan.users);
    let conversation = rng.index(plan.conversations.len());
    match rng.below(kinds) {
        0 | 2 | 3 => Op::Add { conversation, user, from_start: rng.chance(500) },
        1 | 4 | 5 | 6 => Op::Remove { conversation, user },
        7 => Op::Suspend { user },
        8 => Op::Reinstate { user },
        9 => Op::Ban { user },
        10 => Op::RevokeDevice { device: rng.index(plan.devices.len()) },
        11 => Op::RevokeTokens { user },
        12 => Op::Erase { conversation },
        _ => rng.pick(&[Op::Kick { user }, Op::Forget { conversation }]),
    }
}
