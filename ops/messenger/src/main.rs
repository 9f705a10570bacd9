//! The `messenger` command: which subcommand runs, and how its failure becomes one line and an exit code.

mod account;
mod chat;
mod create_admin;
mod failure;
mod listen;
mod send;
mod text;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use failure::Failure;

/// Variables of this program itself, and what they mean.
pub const VARIABLES: &[(&str, &str)] = &[
    ("LOG_LEVEL", "error, warn, info, debug or trace; `info` when not set."),
    ("LOG_FORMAT", "`json` for one object per line; text when not set."),
];

/// A secure messenger that a team runs itself.
#[derive(Parser)]
#[command(name = "messenger", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run relay and account API on this machine, with nothing installed.
    Up(up::UpOptions),
    /// Make an account that may use the console.
    CreateAdmin(create_admin::CreateAdminOptions),
    /// Talk in a conversation, at a terminal.
    Chat(chat::Options),
    /// Publish messages, and end when all are durable.
    Send(send::Options),
    /// Print a conversation's messages as they come.
    Listen(listen::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up(options) => {
            log();
            up::run(&options)
        }
        Command::CreateAdmin(options) => create_admin::run(&options),
        Command::Chat(options) => account::block_on(chat::run(options)).map_err(Failure::other),
        Command::Send(options) => account::block_on(send::run(options)).map_err(Failure::other),
        Command::Listen(options) => account::block_on(listen::run(options)).map_err(Failure::other),
    };
    done.unwrap_or_else(|failure| failure.report())
}

/// Logs go to standard error; standard output belongs to the command.
fn log() {
    let level = std::env::var("LOG_LEVEL").unwrap_or_else(|_| "info".into());
    let filter = EnvFilter::try_new(&level).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::env::var("LOG_FORMAT").is_ok_and(|format| format == "json") {
        subscriber.json().flatten_event(true).with_current_span(false).init();
    } else {
        subscriber.with_target(false).init();
    }
}

/// A random password of so many letters, six bits each, that survive a terminal and a shell.
fn random_password(letters: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = vec![0u8; letters];
    getrandom::fill(&mut random).expect("the kernel has randomness");
    random.iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect()
}
