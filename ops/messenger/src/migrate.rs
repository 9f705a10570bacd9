//! `messenger migrate`: brings the database's schema to what this version knows, and says what it did. The one command
//! that may change it; safe to run again, and by several at once.

use std::process::ExitCode;

use clap::Args;
use relay_server::config::RelayConfig;
use schema_store::{PostgresStore, SqliteStore};

use crate::failure::{Code, Failure};
use crate::up::folder::DataFolder;
use crate::variables;

/// What the command line may say; the database comes from the environment.
#[derive(Args, Debug, Clone)]
pub struct MigrateOptions {
    /// Folder of the embedded database, unless DATABASE_URL names one.
    #[arg(long, value_name = "DIR")]
    pub data: Option<std::path::PathBuf>,
}

/// Applies what is missing.
pub fn run(options: &MigrateOptions) -> Result<ExitCode, Failure> {
    let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    variables::refuse_unknown(&names)?;
    let lookup = |name: &str| match (name, &options.data) {
        ("DATA_DIR", Some(data)) => Some(data.display().to_string()),
        _ => std::env::var(name).ok(),
    };
    let relay = RelayConfig::from_env(lookup).map_err(|error| Failure::new(Code::Settings, error))?;
    match relay.database.url.expose().strip_prefix("sqlite:") {
        Some(path) => {
            let _alone = DataFolder::open(&relay.data)?;
            SqliteStore::open(path.as_ref()).map_err(Failure::store)?;
            say!("the embedded schema is up to date");
        }
        None if relay.database.is_pooled => {
            let line = "DATABASE_POOLER: migrations hold a lock that a pooler would lose; fix: for this command, give \
                        PostgreSQL's own address in DATABASE_URL and remove DATABASE_POOLER";
            return Err(Failure::new(Code::Settings, line));
        }
        None => {
            let options = relay.database.options();
            let work = async { PostgresStore::migrate(relay.database.url.expose(), &options).await };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let applied = runtime.map_err(Failure::other)?.block_on(work).map_err(Failure::migrate)?;
            say!("the schema is up to date; migrations applied: {applied}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
