//! Benchmarks of the relay: floors to measure against, a load generator over the public wire, and reports.
//! Decides only which of them this process is; `cargo x bench` starts it.

use clap::{Parser, Subcommand};

mod floor;
mod framing;
mod load;
mod plan;
mod report;
mod udp;

#[derive(Parser)]
#[command(about = "Benchmarks of the relay against floors measured in the same run")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serves as a floor: a server that does the least that can be done.
    Floor(floor::Arguments),
    /// Puts load on a server; the plan comes on standard input, the result goes to standard output, both JSON.
    Load,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().role {
        Role::Floor(arguments) => floor::run(&arguments),
        Role::Load => load::run(),
    }
}
