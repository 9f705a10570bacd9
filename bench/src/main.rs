//! Benchmarks: the relay against floors, with a load generator and reports, and backups against pgBackRest.
//! Decides only which of them this process is; `cargo x bench` starts it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod backup;
mod floor;
mod framing;
mod load;
mod plan;
mod report;
mod run;
mod udp;

#[derive(Parser)]
#[command(about = "Benchmarks of the relay and of backups, against what is measured in the same run")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Measures shapes: relay and floor in turn.
    Run(run::Arguments),
    /// Serves as a relay whose allocations are counted.
    Counted(run::CountedArguments),
    /// Serves as a floor: a server that does the least that can be done.
    Floor(floor::Arguments),
    /// Commits the rows of durable publications, nothing else; the result goes to standard output as JSON.
    Commit(floor::commit::Arguments),
    /// Puts load on a server; the plan comes on standard input, the result goes to standard output, both JSON.
    Load(load::Arguments),
    /// Measures backups of PostgreSQL against pgBackRest.
    Backup(backup::Arguments),
    /// Makes a measured run into a page.
    Report(report::Arguments),
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One message with its causes; where in the code it arose helps nobody who reads it.
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(role: Role) -> anyhow::Result<()> {
    match role {
        Role::Run(arguments) => run::run(&arguments),
        Role::Counted(arguments) => run::serve_counted(&arguments),
        Role::Floor(arguments) => floor::run(&arguments),
        Role::Commit(arguments) => floor::commit::run(&arguments),
        Role::Load(arguments) => load::run(&arguments),
        Role::Backup(arguments) => backup::run(&arguments),
        Role::Report(arguments) => report::run(&arguments),
    }
}
