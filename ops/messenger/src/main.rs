//! The `messenger` command: which subcommand runs, and how its failure becomes one line and an exit code.

// `println!` ends a program whose reader went away; `say!` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod say;

mod account;
mod audit;
mod backup;
mod change_role;
mod chat;
mod create_admin;
mod delete_user_gdpr;
mod failure;
mod forget_factors;
mod health;
mod hidden;
mod listen;
mod migrate;
mod restore;
mod send;
mod text;
mod up;
mod variables;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use failure::Failure;

/// Values of `LOG_LEVEL`.
const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

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
    /// Give an account another role in the console, or none any more.
    ChangeRole(change_role::ChangeRoleOptions),
    /// Forget an account's second factors: whoever lost them signs in with the password and sets up others.
    ForgetFactors(forget_factors::ForgetFactorsOptions),
    /// Erase an account for good, as its owner may ask.
    DeleteUserGdpr(delete_user_gdpr::DeleteUserOptions),
    /// Check the audit trail's chain, and print its head.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Bring the database's schema up to date.
    Migrate(migrate::MigrateOptions),
    /// Back up the database, and look after backups.
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Bring a backup back.
    Restore(restore::RestoreOptions),
    /// Look once at everything the product stands on; the exit code tells the worst.
    Health(health::HealthOptions),
    /// Give a sealed file of the log to a PostgreSQL server that recovers; its `restore_command` calls this.
    WalFetch(backup::postgres::WalFetchOptions),
    /// Talk in a conversation, at a terminal.
    Chat(chat::Options),
    /// Publish messages, and end when all are durable.
    Send(send::Options),
    /// Print a conversation's messages as they come.
    Listen(listen::Options),
}

fn main() -> ExitCode {
    forget_empty_variables(&Cli::command());
    let done = match Cli::parse().command {
        Command::Up(options) => log().and_then(|()| up::run(&options)),
        Command::CreateAdmin(options) => create_admin::run(&options),
        Command::ChangeRole(options) => change_role::run(&options),
        Command::ForgetFactors(options) => forget_factors::run(&options),
        Command::DeleteUserGdpr(options) => delete_user_gdpr::run(&options),
        Command::Audit(command) => audit::run(&command),
        Command::Migrate(options) => log().and_then(|()| migrate::run(&options)),
        Command::Backup(command) => log().and_then(|()| backup::run(&command)),
        Command::Health(options) => health::run(&options),
        Command::WalFetch(options) => Ok(backup::postgres::wal_fetch(&options)),
        Command::Restore(options) => log().and_then(|()| restore::run(&options)),
        Command::Chat(options) => account::block_on(chat::run(options)).map_err(Failure::other),
        Command::Send(options) => account::block_on(send::run(options)).map_err(Failure::other),
        Command::Listen(options) => account::block_on(listen::run(options)).map_err(Failure::other),
    };
    let code = done.unwrap_or_else(|failure| failure.report());
    if say::is_lost() && code == ExitCode::SUCCESS {
        ExitCode::from(failure::Code::Other as u8)
    } else {
        code
    }
}

/// A variable that is set to nothing, as in a form of an `.env` that was not filled in, counts as not set.
fn forget_empty_variables(command: &clap::Command) {
    for name in command.get_arguments().filter_map(clap::Arg::get_env) {
        if std::env::var_os(name).is_some_and(|value| value.is_empty()) {
            // SAFETY: this is the first thing the program does, so no other thread reads the environment.
            unsafe { std::env::remove_var(name) };
        }
    }
    command.get_subcommands().for_each(forget_empty_variables);
}

/// Logs go to standard error; standard output belongs to the command.
fn log() -> Result<(), Failure> {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let bad = |fix: &str| Err(Failure::new(failure::Code::Settings, fix));
    let level = match set("LOG_LEVEL").map(|level| level.to_ascii_lowercase()) {
        None => "info".to_owned(),
        Some(level) if LOG_LEVELS.contains(&level.as_str()) => level,
        Some(_) => return bad("LOG_LEVEL is none of error, warn, info, debug, trace; fix: LOG_LEVEL=info"),
    };
    let as_json = match set("LOG_FORMAT").as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(_) => return bad("LOG_FORMAT is none of text, json; fix: LOG_FORMAT=json"),
    };
    // A person at a terminal is not told of every request; whoever collects JSON is.
    let quiet = if as_json || level != "info" { "" } else { ",console::front::observe=warn" };
    let filter = EnvFilter::new(format!("{level}{quiet}"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if as_json {
        subscriber.json().flatten_event(true).with_current_span(false).init();
    } else {
        subscriber.with_target(false).init();
    }
    Ok(())
}

/// A random password of so many letters, six bits each, that survive a terminal and a shell.
fn random_password(letters: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = vec![0u8; letters];
    getrandom::fill(&mut random).expect("the kernel has randomness");
    random.iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect()
}
