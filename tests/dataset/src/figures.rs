//! What three nodes left behind in thirty days: their rows, and their figures as the console keeps them, hours of thirty
//! days and five minutes of two.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_postgres::{Client, Error};

use crate::copy::Rows;
use crate::random::mix;
use crate::{DAY_MS, Shape};

const NODES: u64 = 3;
/// Of each node.
const SHARDS: u64 = 4;
const FINE_S: u32 = 300;
const COARSE_S: u32 = 3_600;
/// A product from so many users on is full: its histograms have many buckets.
const FULL_USERS: u64 = 500_000;
/// Every step of a message's life, as nodes count them.
const STEPS: [&str; 9] =
    ["decode", "admit", "authorise", "append", "fan_out", "forward", "deliver", "ack", "turn"];
/// Counts of nodes, by name and labels; a node has some hundred.
const COUNTS: [&str; 14] = [
    "messages_sent_total",
    "messages_received_total",
    "relay_messages_delivered_total",
    "relay_bytes_in_total",
    "relay_bytes_out_total",
    "relay_refusals_total{code=\"rate\"}",
    "relay_refusals_total{code=\"size\"}",
    "relay_refusals_total{code=\"not_member\"}",
    "relay_disconnects_total{code=\"slow\"}",
    "relay_cache_hits_total{cache=\"recent\"}",
    "relay_cache_misses_total{cache=\"recent\"}",
    "process_cpu_seconds_total{node=\"1\"}",
    "process_cpu_seconds_total{node=\"2\"}",
    "process_cpu_seconds_total{node=\"3\"}",
];
/// The same of what goes up and down.
const LEVELS: [&str; 8] = [
    "relay_connections{transport=\"quic\"}",
    "relay_connections{transport=\"websocket\"}",
    "relay_sessions_active{node=\"1\"}",
    "relay_sessions_active{node=\"2\"}",
    "relay_sessions_active{node=\"3\"}",
    "process_resident_memory_bytes{node=\"1\"}",
    "process_resident_memory_bytes{node=\"2\"}",
    "process_resident_memory_bytes{node=\"3\"}",
];
/// Figures besides: what a page reads past.
const MORE: u64 = 150;

/// Loads it.
pub async fn load(client: &Client, shape: &Shape) -> Result<(), Error> {
    nodes(client, shape).await?;
    let mut rows = Rows::begin(client, "metric_spans", "length_s, began_at, figures").await?;
    for (length_s, kept_ms) in [(COARSE_S, 30 * DAY_MS), (FINE_S, 2 * DAY_MS)] {
        let length_ms = u64::from(length_s) * 1_000;
        let last = shape.now_ms - shape.now_ms % length_ms;
        for n in 1..=kept_ms / length_ms {
            let began_at = last - n * length_ms;
            let written = span(shape, began_at, u64::from(length_s));
            rows.row().await?.int(length_s).time(began_at).bytes(written.as_bytes());
        }
    }
    rows.end().await
}

/// Two that are there, and one that is drained. Nobody answers at their addresses.
async fn nodes(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, name, address, version, state, started_at, seen_at";
    let mut rows = Rows::begin(client, "relay_nodes", columns).await?;
    for n in 1..=NODES {
        let state = if n == NODES { "DRAINING" } else { "READY" };
        let row = rows.row().await?.big(n).text(&format!("relay-{n}")).text(&format!("127.0.0.1:{n}"));
        row.text("0.1.0").text(state).time(shape.now_ms - n * DAY_MS).time(shape.now_ms + DAY_MS);
    }
    rows.end().await
}

/// A stretch, in the console's own form.
fn span(shape: &Shape, began_at: u64, length_s: u64) -> String {
    let figure = |n: u64| 1 + mix(shape.seed, began_at / 1_000, n) % (10 * length_s);
    let mut out = String::from("{\"counts\":{");
    let more = (0..MORE).map(|n| format!("relay_other_{n}_total"));
    table(&mut out, COUNTS.map(str::to_owned).into_iter().chain(more), figure);
    out.push_str("},\"levels\":{");
    let more = (0..MORE).map(|n| format!("relay_other_{n}"));
    table(&mut out, LEVELS.map(str::to_owned).into_iter().chain(more), |n| figure(1_000 + n));
    out.push_str("},\"steps\":{},\"times\":{");
    let steps = STEPS.into_iter().enumerate().map(|(n, step)| (step.to_owned(), n as u64));
    times(&mut out, shape, began_at, steps);
    out.push_str("},\"shards\":{");
    let shards = (0..NODES * SHARDS).map(|n| (format!("{}/{}", 1 + n / SHARDS, n % SHARDS), 100 + n));
    times(&mut out, shape, began_at, shards);
    out.push_str("}}");
    out
}

fn table(out: &mut String, names: impl Iterator<Item = String>, figure: impl Fn(u64) -> u64) {
    for (n, name) in names.enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\"{}\":{}.0", name.replace('"', "\\\""), figure(n as u64));
    }
}

fn times(out: &mut String, shape: &Shape, began_at: u64, all: impl Iterator<Item = (String, u64)>) {
    for (n, (name, purpose)) in all.enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(out, "{comma}\"{name}\":\"{}\"", histogram(shape, began_at, purpose));
    }
}

/// A histogram as the console keeps it: steps from bucket to bucket and counts, seven bits a byte.
fn histogram(shape: &Shape, began_at: u64, purpose: u64) -> String {
    let buckets = if shape.users >= FULL_USERS { 250 } else { 12 };
    let mut bytes = Vec::new();
    for n in 0..buckets {
        let drawn = mix(shape.seed ^ purpose, began_at / 1_000, n);
        // Durations are dense where most are, and rare where they are long.
        put(&mut bytes, if n < buckets * 4 / 5 { 1 + drawn % 3 } else { 50 + drawn % 2_000 });
        put(&mut bytes, 1 + (drawn >> 32) % (1 + 2_000 / (n + 1)));
    }
    STANDARD.encode(bytes)
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
