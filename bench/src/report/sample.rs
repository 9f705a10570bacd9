//! A run and a history as real ones look, to try the page on. The numbers are made up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};

use super::row::{Figure, Row, Run};

/// Pseudo-random numbers from 0 to 1.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Latencies around a median with a tail, in nanoseconds.
fn hdr(seed: u64, median_us: f64, tail_us: f64) -> String {
    let mut dice = Dice(seed * 0x9E37_79B9 + 1);
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds are valid");
    for _ in 0..50_000 {
        let spread = (dice.roll() + dice.roll() + dice.roll() - 1.5) * 0.9;
        let tail = if dice.roll() < 0.012 { tail_us * dice.roll().powi(3) } else { 0.0 };
        histogram.saturating_record(((median_us * spread.exp() + tail) * 1e3) as u64);
    }
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(&histogram, &mut bytes).expect("a Vec takes every byte");
    STANDARD.encode(bytes)
}

type Shape =
    (&'static str, &'static str, u64, (f64, f64), (f64, f64), (f64, f64), (Figure, f64), &'static str);

/// Name, transport, connections, CPU, rate, memory (relay and floor each), the goal.
const SHAPES: [Shape; 12] = [
    (
        "unbatched",
        "websocket",
        1000,
        (7.9, 7.4),
        (50e3, 50e3),
        (0.0, 0.0),
        (Figure::CpuRatio, 1.1),
        "CPU at most 1.10 x the floor's",
    ),
    (
        "saturated",
        "websocket",
        1000,
        (0.61, 0.56),
        (1.63e6, 1.78e6),
        (0.0, 0.0),
        (Figure::DpsRatio, 0.9),
        "at least 0.9 x the floor's rate",
    ),
    (
        "batched",
        "websocket",
        100,
        (0.142, 0.094),
        (5.4e6, 10.9e6),
        (0.0, 0.0),
        (Figure::Dps, 5e6),
        "at least 5 M deliveries/s on one core",
    ),
    (
        "rooms",
        "websocket",
        2000,
        (11.9, 9.6),
        (4e3, 4e3),
        (0.0, 0.0),
        (Figure::CpuRatio, 1.2),
        "CPU at most 1.2 x the floor's, p50 and p99 within 1.15 x",
    ),
    (
        "quic-unbatched",
        "quic",
        200,
        (14.1, 18.2),
        (20e3, 20e3),
        (0.0, 0.0),
        (Figure::CpuRatio, 0.85),
        "CPU at most 0.85 x stock quinn's",
    ),
    (
        "quic-batched",
        "quic",
        200,
        (2.2, 3.4),
        (452e3, 247e3),
        (0.0, 0.0),
        (Figure::CpuRatio, 0.85),
        "CPU at most 0.85 x stock quinn's",
    ),
    (
        "two-shards",
        "websocket",
        1000,
        (8.1, 7.9),
        (50e3, 50e3),
        (0.0, 0.0),
        (Figure::CpuRatio, 1.1),
        "CPU at most 1.1 x one shard's",
    ),
    (
        "idle",
        "websocket",
        10_000,
        (0.0, 0.0),
        (0.0, 0.0),
        (5.6, 2.1),
        (Figure::RssKib, 6.0),
        "at most 6 KiB of server memory",
    ),
    (
        "quic-idle",
        "quic",
        2000,
        (0.0, 0.0),
        (0.0, 0.0),
        (17.3, 31.0),
        (Figure::RssKib, 15.0),
        "at most 15 KiB of server memory",
    ),
    (
        "connect-storm",
        "websocket",
        5000,
        (0.0, 0.0),
        (4710.0, 6020.0),
        (0.0, 0.0),
        (Figure::Dps, 4500.0),
        "at least 4,500 connects/s and core",
    ),
    (
        "durable",
        "store",
        100,
        (21.0, 0.0),
        (14_200.0, 18_900.0),
        (0.0, 0.0),
        (Figure::DpsRatio, 0.7),
        "at least 0.7 x the store's own rate",
    ),
    (
        "slow-readers",
        "websocket",
        1000,
        (8.3, 7.5),
        (50e3, 50e3),
        (0.0, 0.0),
        (Figure::P99Ratio, 1.5),
        "p99 of the others at most 1.5 x",
    ),
];

fn row(index: usize, wobble: f64) -> Row {
    let (shape, transport, n, cpu, dps, rss, goal, words) = SHAPES[index];
    let idle = cpu.0 == 0.0;
    let mut row = Row {
        shape: shape.into(),
        transport: transport.into(),
        n,
        payload: if idle { 0 } else { 128 },
        kind: if transport == "store" { "durable".into() } else { "ephemeral".into() },
        cpu_us_per_delivery: cpu.0 * wobble,
        floor: ["sealed", "quinn", "commit"]
            [usize::from(transport == "quic") + 2 * usize::from(transport == "store")]
        .into(),
        floor_cpu_us: cpu.1,
        dps: dps.0 / wobble,
        floor_dps: dps.1,
        rss_kib_per_conn: rss.0 * wobble,
        floor_rss_kib_per_conn: rss.1,
        runs: 5,
        spread: 1.0 + (wobble - 1.0).abs(),
        noisy: shape == "two-shards",
        goal: words.into(),
        goal_figure: Some(goal.0),
        goal_limit: goal.1,
        ..Row::default()
    };
    if !idle {
        (row.p50_us, row.p99_us, row.p999_us, row.max_us) =
            (59.0 * wobble, 312.0 * wobble, 2_100.0, 11_300.0);
        (row.floor_p50_us, row.floor_p99_us, row.floor_p999_us, row.floor_max_us) =
            (57.0, 303.0, 1_900.0, 9_800.0);
        (row.hdr, row.floor_hdr) =
            (hdr(index as u64, 59.0 * wobble, 9e3), hdr(index as u64 + 100, 57.0, 8e3));
    }
    row.ratio = goal.0.of(&row).unwrap_or_default();
    let (reached, limit) = (row.ratio, row.goal_limit);
    row.met =
        Some(if row.better() == super::row::Better::Lower { reached <= limit } else { reached >= limit });
    row
}

/// The run of one commit; later ones are a little faster.
pub fn run(number: u64) -> Run {
    let mut dice = Dice(number + 77);
    dice.roll();
    let rows = 0..SHAPES.len();
    Run {
        commit: format!(
            "{:08x}f00dfeed00d1e5e1f00dfeed00d1e5e1",
            0x3a9c_51d7_u64.wrapping_mul(number + 1) & 0xffff_ffff
        ),
        dirty: number % 7 == 5,
        date: format!("2025-11-{:02}T09:30:00Z", number + 1),
        machine: "Intel Xeon Platinum 8481C, 2 cores, 23 GiB".into(),
        kernel: "Linux 6.12.8".into(),
        command: "cargo x bench --all --html report.html".into(),
        profile: "release".into(),
        rows: rows
            .map(|index| {
                row(index, 1.0 + 0.02 * (14.0 - number as f64).max(0.0) + 0.06 * (dice.roll() - 0.5))
            })
            .collect(),
    }
}

/// Earlier commits.
pub fn history() -> Vec<Run> {
    (0..16).map(run).collect()
}
