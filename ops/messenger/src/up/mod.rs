//! `messenger up`: relay, account API and console in one process, on SQLite in a data folder or on PostgreSQL. Decides the order
//! in which things start and stop; each part keeps its own rules.

mod backups;
mod demo;
mod figures;
pub mod folder;
mod furnish;
mod housekeeping;
mod practice;
mod ready;
mod settings;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use console::app::Backing;
use console::database::Database;
use relay_server::lease::{self, LeaseError};
use relay_server::node::Node;
use relay_server::prepare::prepare;
use schema_store::rows::node::NodeState;
use schema_store::{PostgresStore, SqliteStore};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Code, Failure};
use figures::Figures;
use folder::DataFolder;
use housekeeping::Kept;
use ready::Ready;
use settings::Settings;

/// What the command line may say; everything else comes from the environment.
#[derive(Args, Debug, Clone)]
pub struct UpOptions {
    /// Folder for database, keys and certificates.
    #[arg(long, value_name = "DIR")]
    pub data: Option<std::path::PathBuf>,
    /// Port of TLS WebSocket (TCP) and QUIC (UDP); 0 takes a free one.
    #[arg(long, value_name = "N")]
    pub relay_port: Option<u16>,
    /// Port of the account API; 0 takes a free one.
    #[arg(long, value_name = "N")]
    pub api_port: Option<u16>,
    /// Port of the console's pages; 0 takes a free one.
    #[arg(long, value_name = "N")]
    pub console_port: Option<u16>,
    /// Shards; one per core when not given.
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Make alice, bob and their conversation, and print how to chat.
    #[arg(long)]
    pub demo: bool,
    /// Print one JSON line when ready.
    #[arg(long)]
    pub json: bool,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(options: &UpOptions) -> Result<ExitCode, Failure> {
    let settings = Settings::read(options)?;
    let folder = DataFolder::open(&settings.data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")
        .map_err(Failure::other)?;
    let ended = runtime.block_on(open(options, settings));
    match ended {
        // What was acknowledged is durable, so nothing needs to be waited for.
        Ok(Ended::AtOnce) => runtime.shutdown_background(),
        _ => runtime.shutdown_timeout(Duration::from_secs(5)),
    }
    drop(folder);
    ended.map(|_| ExitCode::SUCCESS)
}

async fn open(options: &UpOptions, settings: Settings) -> Result<Ended, Failure> {
    match settings.api.database.clone() {
        Database::Sqlite(file) => {
            let store = SqliteStore::open(&file).map_err(Failure::store)?;
            serve(options, settings, store).await
        }
        Database::Postgres(_) => {
            // The store's thread is on the ring too.
            relay_server::ring::check_host().map_err(|error| Failure::start(error.into()))?;
            let opening = settings.relay.store_options();
            let opening =
                opening.map_err(|fault| Failure::new(Code::Settings, format!("REDIS_URL: {fault}")))?;
            let store = PostgresStore::open(settings.relay.database.url.expose(), opening).await;
            serve(options, settings, store.map_err(Failure::database)?).await
        }
    }
}

async fn serve<S: Backing + Kept>(
    options: &UpOptions,
    settings: Settings,
    store: S,
) -> Result<Ended, Failure> {
    let mut stop = Stop::listen().map_err(Failure::other)?;
    let (api_stop, api_stopped) = tokio::sync::watch::channel(false);
    let api = start_api(&settings, store.clone(), api_stopped).await?;
    let people = if options.demo { Some(demo::people(&store, &settings.data).await?) } else { None };
    let drain_deadline = settings.relay.drain_deadline;
    let (mut config, ca) = prepare(settings.relay.clone()).map_err(Failure::start)?;
    let number = lease::take(&store, settings.relay.node, &settings.data).await.map_err(Failure::lease)?;
    config.node = number.node;
    let backups = store.back_up(&settings)?;
    let (api_metrics, figures) = (api.metrics.clone(), Arc::new(Figures::default()));
    let followed = tokio::spawn(figures::follow(store.clone(), figures.clone()));
    let cached = store.figures();
    config.more_metrics = Some(Arc::new(move || api_metrics.render() + &figures.render() + &cached()));
    let node_store = store.clone();
    let node = tokio::task::spawn_blocking(move || Node::start(config, node_store))
        .await
        .map_err(Failure::other)?
        .map_err(Failure::start)?;
    let (state, states) = tokio::sync::watch::channel(NodeState::Ready);
    let address = settings.relay.internal_address.clone().unwrap_or_else(|| node.internal.to_string());
    let mut keeping = tokio::spawn(lease::keep(store.clone(), number, address, states));
    let told = backups.as_ref().map(|backups| backups.told.clone());
    let sweeper = tokio::spawn(housekeeping::keep(store));
    let ready = Ready::new(&settings, &node, &api, ca, people, told);
    ready.print(options.json);
    let asked = node.asked_to_leave();
    let is_ours = tokio::select! {
        () = stop.wanted() => true,
        () = asked.notified() => true,
        _ = &mut keeping => false,
    };
    state.send_replace(NodeState::Draining);
    tracing::info!("stopping: sessions are told to come back; once more stops at once");
    sweeper.abort();
    followed.abort();
    let leave = async {
        tokio::task::spawn_blocking(move || node.drain(drain_deadline)).await.map_err(Failure::other)?;
        // The API may have ended by itself already.
        let _ = api_stop.send(true);
        if let Some(backups) = backups {
            tokio::task::spawn_blocking(move || backups.stop()).await.map_err(Failure::other)?;
        }
        state.send_replace(NodeState::Gone);
        if is_ours {
            keeping.await.map_err(Failure::other)?;
        }
        api.finished.await.map_err(Failure::other)
    };
    tokio::select! {
        drained = leave => match drained {
            Ok(()) if !is_ours => Err(Failure::lease(LeaseError::Lost(number.node.0))),
            other => other.map(|()| Ended::Drained),
        },
        () = stop.wanted() => {
            tracing::warn!("stopping at once");
            Ok(Ended::AtOnce)
        }
    }
}

/// How it stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Drained,
    AtOnce,
}

async fn start_api<S: Backing>(
    settings: &Settings,
    store: S,
    mut stopped: tokio::sync::watch::Receiver<bool>,
) -> Result<console::Served, Failure> {
    let shutdown = async move {
        // An error says that the sender is gone, which also means to stop.
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    console::serve(settings.api.clone(), store, shutdown).await.map_err(Failure::api)
}

/// The signals that end the process: the first drains, the second is quick.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wanted(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
