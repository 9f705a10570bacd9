//! The drill's command line: runs faults against the real server and judges what clients saw.

mod report;

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use drill::order::Counts;
use drill::outside::Files;
use drill::run::{Plan, run};
use drill::server::Launch;
use relay_client::Transport;

/// Messages that a device sends in one burst, on average.
const BURST: u64 = 4;

#[derive(Parser)]
#[command(about = "Kills the real server under load and judges what its clients saw")]
struct Cli {
    /// Kills of nodes with SIGKILL.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Kills of PostgreSQL, all its processes.
    #[arg(long, default_value_t = 0)]
    postgres_kills: u64,
    /// Kills of Redis.
    #[arg(long, default_value_t = 0)]
    redis_kills: u64,
    /// Times that a node is cut off PostgreSQL or Redis.
    #[arg(long, default_value_t = 0)]
    partitions: u64,
    /// Times that PostgreSQL's disk is full.
    #[arg(long, default_value_t = 0)]
    disk_full: u64,
    /// Nothing but what is counted above: no drains, pauses, crashes of clients or other faults in between.
    #[arg(long)]
    only: bool,
    /// What is killed (the node on SQLite, otherwise PostgreSQL) loses its power: what was not synced is gone.
    #[arg(long)]
    power: bool,
    /// Shape of the run; random when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Devices in all, six users at least.
    #[arg(long, default_value_t = 10)]
    clients: usize,
    /// Messages per second that all devices try for together.
    #[arg(long, default_value_t = 195)]
    rate: u64,
    /// Longest time between two faults, and of a fault that is undone, in milliseconds.
    #[arg(long, default_value_t = 3_000)]
    quiet_ms: u64,
    /// Faults in one history; each is judged by itself, so that memory is bounded.
    #[arg(long, default_value_t = 100)]
    piece: u64,
    /// `sqlite`: one node; `postgres`: several on one PostgreSQL and one Redis.
    #[arg(long, default_value = "sqlite")]
    store: String,
    /// How many.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// A program of the version before: the last node runs it.
    #[arg(long)]
    previous: Option<std::path::PathBuf>,
    /// `both`, `quic` or `ws`.
    #[arg(long, default_value = "both")]
    transport: String,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(drill(&cli))
}

async fn drill(cli: &Cli) -> Result<()> {
    let plan = plan(cli)?;
    println!(
        "drill: {:?}, {} nodes on {}, seed {}",
        plan.counts,
        plan.nodes.unwrap_or(1),
        cli.store,
        plan.seed
    );
    let outcome = run(&plan, report::piece).await?;
    report::all(&outcome, plan.seed);
    std::fs::remove_dir_all(&outcome.folder)?;
    Ok(())
}

fn plan(cli: &Cli) -> Result<Plan> {
    let transports = match cli.transport.as_str() {
        "both" => vec![Transport::Quic, Transport::WebSocket],
        "quic" => vec![Transport::Quic],
        "ws" => vec![Transport::WebSocket],
        other => bail!("--transport {other}: both, quic or ws"),
    };
    let seed = cli.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::from(now.subsec_nanos())
    });
    let nodes = match cli.store.as_str() {
        "sqlite" => None,
        "postgres" => Some(cli.nodes.max(1)),
        other => bail!("--store {other}: sqlite or postgres"),
    };
    let counts = Counts {
        kills: cli.kills,
        postgres_kills: cli.postgres_kills,
        redis_kills: cli.redis_kills,
        partitions: cli.partitions,
        disk_full: cli.disk_full,
    };
    ensure!(
        nodes.is_some() || !counts.any_outside(),
        "on SQLite there is nothing but --kills; add --store postgres"
    );
    ensure!(
        !cli.power || counts.disk_full == 0,
        "--power and --disk-full are not one machine; run them one by one"
    );
    let files = match (cli.power, cli.only && counts.disk_full == 0) {
        (true, _) => Files::Machine,
        (false, true) => Files::Here,
        (false, false) => Files::Small,
    };
    let mean_ms = (cli.clients as u64 * BURST * 1_000) / cli.rate.max(1);
    Ok(Plan {
        counts,
        only: cli.only,
        seed,
        clients: cli.clients,
        transports,
        program: Launch::program()?,
        previous: cli.previous.clone(),
        nodes,
        files,
        quiet: Duration::from_millis(cli.quiet_ms),
        wait_ms: (mean_ms / 20, 2 * mean_ms + 1),
        piece: cli.piece.max(1),
    })
}
