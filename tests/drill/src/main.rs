//! The drill's command line: `drill --kills N` runs faults against the real server and judges what clients saw.

use anyhow::{Result, bail};
use clap::Parser;
use drill::run::{Outcome, Plan, run};
use drill::server::Launch;
use relay_client::Transport;

#[derive(Parser)]
#[command(about = "Kills the real server under load and judges what its clients saw")]
struct Cli {
    /// Kills with SIGKILL.
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Shape of the run; random when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Devices in all, six users at least.
    #[arg(long, default_value_t = 10)]
    clients: usize,
    /// `sqlite`: one node; `postgres`: several on one PostgreSQL and one Redis.
    #[arg(long, default_value = "sqlite")]
    store: String,
    /// How many.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
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
    let program = Launch::program()?;
    let plan = Plan { kills: cli.kills, seed, clients: cli.clients, transports, program, nodes };
    println!("drill: {} kills, {} nodes on {}, seed {seed}", plan.kills, nodes.unwrap_or(1), cli.store);
    let outcome = run(&plan).await?;
    report(&outcome);
    std::fs::remove_dir_all(&outcome.folder)?;
    Ok(())
}

fn report(outcome: &Outcome) {
    let mut recoveries = outcome.toll.recoveries.clone();
    recoveries.sort();
    let p50 = recoveries.get(recoveries.len() / 2).copied().unwrap_or_default();
    let max = recoveries.last().copied().unwrap_or_default();
    print!("{}", outcome.verdict);
    println!(
        "kills {}, drains {}, pauses {}, membership changes {}, acked {}, deliveries {}, violations 0, \
         kill to first ack p50 {p50:.2?} max {max:.2?}, took {:.0?}",
        outcome.toll.kills,
        outcome.toll.drains,
        outcome.toll.pauses,
        outcome.changes,
        outcome.acked,
        outcome.delivered,
        outcome.took,
    );
    if !outcome.toll.outside.is_empty() {
        println!("around the nodes: {:?}", outcome.toll.outside);
    }
}
