//! Heap allocations of the relay per delivered message. The relay runs inside this program, whose allocator counts;
//! what a longer run allocates beyond a shorter one is what steady state costs, and what more subscribers add is what
//! a delivery costs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use super::cell::{self, Bench};
use super::pairs::Settings;
use super::row;
use super::shape::{Goal, Shape};
use super::stage::Stage;
use crate::plan::{Dialect, Room};
use crate::report::Row;

/// Counts, and lets the system's allocator do the work.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Where the counted relay finds its people and keys.
#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long)]
    data: PathBuf,
}

/// Serves as a relay whose allocations are counted: prints its address, then the count for each line it reads.
pub fn serve(arguments: &Arguments) -> Result<()> {
    let lookup = |name: &str| match name {
        "DATA_DIR" => Some(arguments.data.display().to_string()),
        "RELAY_LISTEN" => Some("127.0.0.1:0".into()),
        "RELAY_SHARDS" => Some("1".into()),
        "JWT_JWKS_FILE" => Some(arguments.data.join("keys/jwks.json").display().to_string()),
        _ => std::env::var(name).ok(),
    };
    let config = relay_server::config::RelayConfig::from_env(lookup)?;
    let store = schema_store::SqliteStore::open(&arguments.data.join("messenger.db"))?;
    let (config, _) = relay_server::prepare::prepare(config)?;
    let mut node = relay_server::node::Node::start(config, store)?;
    println!("listening {}", node.address);
    for line in std::io::stdin().lock().lines() {
        line?;
        println!("{}", ALLOCATIONS.load(Ordering::Relaxed));
        std::io::stdout().flush()?;
    }
    node.stop();
    Ok(())
}

/// One counted cell: allocations, publications and deliveries of everything from start to end.
struct Count {
    allocations: f64,
    publications: f64,
}

/// Measures the slopes.
pub fn measure(shape: &Shape, stage: &Stage, settings: &Settings) -> Result<Row> {
    let few = shape.seats.subscribers / 10;
    let many = shape.seats.subscribers;
    let of_many = slope(shape, stage, settings, many)?;
    let of_few = slope(shape, stage, settings, few)?;
    let mut row = row::frame(shape, 1);
    row.ratio = ((of_many - of_few) / (many - few) as f64).max(0.0);
    // A thousandth: what a publication itself allocates differs by a few between two runs.
    let most = match shape.goal {
        Some(Goal::Allocations(most)) => most + 0.001,
        _ => 0.001,
    };
    row.goal = format!("0 per delivery ({of_many:.1} per publication, whatever the number of subscribers)");
    row.met = Some(row.ratio <= most);
    Ok(row)
}

/// Allocations per publication in steady state, with that many subscribers.
fn slope(shape: &Shape, stage: &Stage, settings: &Settings, subscribers: usize) -> Result<f64> {
    let short = count(shape, stage, settings, subscribers, 1.0)?;
    let long = count(shape, stage, settings, subscribers, 3.0)?;
    Ok((long.allocations - short.allocations) / (long.publications - short.publications))
}

fn count(shape: &Shape, stage: &Stage, settings: &Settings, subscribers: usize, times: f64) -> Result<Count> {
    let rooms: Vec<Room> = stage
        .rooms
        .iter()
        .map(|room| Room { subscribers: room.subscribers[..subscribers].to_vec(), ..room.clone() })
        .collect();
    let mut server = stage.counted()?;
    let settings = &Settings { brevity: settings.brevity * times, ..settings.clone() };
    let bench = Bench { shape, rooms: &rooms, pace: shape.pace, stopped: 0.0, settings };
    let outcome = cell::measure(&bench, Dialect::Relay, &mut server).context("the counted relay")?;
    Ok(Count { allocations: server.ask()?.parse::<f64>()?, publications: outcome.published as f64 })
}
