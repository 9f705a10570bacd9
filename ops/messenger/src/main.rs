//! The `messenger` command: which subcommand runs, and how its failure becomes one line and an exit code.

mod account;
mod chat;
mod listen;
mod send;
mod text;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A secure messenger that a team runs itself.
#[derive(Parser)]
#[command(name = "messenger", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Talk in a conversation, at a terminal.
    Chat(chat::Options),
    /// Publish messages, and end when all are durable.
    Send(send::Options),
    /// Print a conversation's messages as they come.
    Listen(listen::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Chat(options) => account::block_on(chat::run(options)),
        Command::Send(options) => account::block_on(send::run(options)),
        Command::Listen(options) => account::block_on(listen::run(options)),
    };
    done.unwrap_or_else(|e| {
        eprintln!("messenger: {e:#}");
        ExitCode::FAILURE
    })
}
