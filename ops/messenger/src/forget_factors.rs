//! `messenger forget-factors`: for whoever lost phone and keys. Who runs the machine decides it, not another
//! administrator: one person could otherwise take over a second account, and be four eyes alone.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use console::database::Database;
use schema_store::rows::account::Origin;
use schema_store::{AccountError, Accounts, ConsoleAccess, PostgresStore, SqliteStore};

use crate::create_admin::database;
use crate::failure::{Code, Failure};

/// Flags.
#[derive(Args, Debug, Clone)]
pub struct ForgetFactorsOptions {
    /// The account's address.
    #[arg(long)]
    pub email: String,
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = ".data", env = "DATA_DIR")]
    pub data: PathBuf,
}

/// Forgets them.
pub fn run(options: &ForgetFactorsOptions) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::other)?;
    let email = options.email.clone();
    let count = runtime.block_on(async {
        match database(&options.data)? {
            Database::Sqlite(file) => forget(SqliteStore::open(&file).map_err(Failure::store)?, email).await,
            Database::Postgres(server) => {
                let store = PostgresStore::open(server.url(), server.options()).await;
                forget(store.map_err(Failure::database)?, email).await
            }
        }
    })?;
    let email = &options.email;
    say!("{count} second factors of {email} are forgotten, and its sessions in the console are ended");
    say!(
        "the next sign-in takes the password alone; an administrator sets up another factor then: do it now"
    );
    Ok(ExitCode::SUCCESS)
}

async fn forget(store: impl Accounts + ConsoleAccess, email: String) -> Result<u64, Failure> {
    let found = store.find_user(email).await.map_err(|error| match error {
        AccountError::NotFound => Failure::new(Code::Settings, "--email: there is no such account"),
        other => Failure::other(other),
    })?;
    store.forget_second_factors(found.user, Origin::system()).await.map_err(Failure::other)
}
