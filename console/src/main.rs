//! Account API and pages in a process of their own: configuration from the environment, stopped by SIGTERM or SIGINT.

use std::os::unix::fs::DirBuilderExt;
use std::process::ExitCode;

use console::app::Backing;
use console::database::Database;
use console::{ConsoleConfig, VARIABLES};
use schema_store::{PostgresStore, SqliteStore};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Exit code for a configuration that has to be fixed (EX_CONFIG of sysexits).
const EXIT_CONFIG: u8 = 78;
/// Exit code when something the process needs is not available (EX_UNAVAILABLE).
const EXIT_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let demo = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--demo"] => true,
        _ => return usage(arguments == ["--help"]),
    };
    let filter = EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).json().init();
    let config = match ConsoleConfig::from_process_env(demo) {
        Ok(config) => config,
        Err(fault) => return fail(&fault.to_string(), EXIT_CONFIG),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("threads can't be started: {error}"), EXIT_UNAVAILABLE),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => fail(&line, EXIT_UNAVAILABLE),
    }
}

async fn run(config: ConsoleConfig) -> Result<(), String> {
    match config.database.clone() {
        Database::Sqlite(file) => {
            if let Some(folder) = file.parent() {
                // The database holds personal data: a folder made here is the owner's only.
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
                made.map_err(|error| format!("{}: {error}", folder.display()))?;
            }
            serve(config, SqliteStore::open(&file).map_err(|error| error.to_string())?).await
        }
        Database::Postgres(server) => {
            let store = PostgresStore::open(server.url(), server.options()).await;
            serve(config, store.map_err(|error| error.to_string())?).await
        }
    }
}

async fn serve<S: Backing>(config: ConsoleConfig, store: S) -> Result<(), String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let asked_to_stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let served = console::serve(config, store, asked_to_stop).await.map_err(|fault| fault.to_string())?;
    let (at, pages) = (served.address, served.pages.map(|at| at.to_string()));
    tracing::info!(%at, pages, "the account API is ready");
    served.finished.await.map_err(|error| error.to_string())
}

fn usage(asked: bool) -> ExitCode {
    let mut text = String::from("usage: console [--demo]\n\nEverything else comes from the environment:\n");
    for variable in VARIABLES {
        text += &format!("  {:<24} {} (default: {})\n", variable.name, variable.meaning, variable.default);
    }
    if asked {
        print!("{text}");
        return ExitCode::SUCCESS;
    }
    eprint!("{text}");
    ExitCode::from(EXIT_CONFIG)
}

fn fail(line: &str, code: u8) -> ExitCode {
    eprintln!("{line}");
    ExitCode::from(code)
}
