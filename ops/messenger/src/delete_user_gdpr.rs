//! `messenger delete-user-gdpr`: erases an account on request, as whoever runs the machine decides alone; in the console two
//! people do it on a page. Nothing happens without `--confirm`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use console::database::Database;
use schema_store::rows::account::Origin;
use schema_store::{AccountError, Accounts, PostgresStore, SqliteStore};
use schema_wire::UserId;

use crate::create_admin::database;
use crate::failure::{Code, Failure};

/// Longest reason, in characters.
const REASON_MAX: usize = 500;

/// Flags.
#[derive(Args, Debug, Clone)]
pub struct DeleteUserOptions {
    /// The account, by id.
    #[arg(long, value_name = "ID", value_parser = id)]
    pub user_id: UserId,
    /// Why, for the audit trail.
    #[arg(long)]
    pub reason: String,
    /// Do it: nothing brings the account back.
    #[arg(long)]
    pub confirm: bool,
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = ".data", env = "DATA_DIR")]
    pub data: PathBuf,
}

/// Erases it.
pub fn run(options: &DeleteUserOptions) -> Result<ExitCode, Failure> {
    let refused = |fix: &str| Err(Failure::new(Code::Settings, fix));
    let reason = options.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_MAX || reason.chars().any(char::is_control) {
        return refused("--reason: write why, in one line of at most 500 characters");
    }
    if !options.confirm {
        return refused(
            "nothing was erased: add --confirm; profile, keys, sessions and messages go for good",
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::other)?;
    let (user, reason) = (options.user_id, reason.to_owned());
    let erased = runtime.block_on(async {
        match database(&options.data)? {
            Database::Sqlite(file) => {
                erase(SqliteStore::open(&file).map_err(Failure::store)?, user, reason).await
            }
            Database::Postgres(server) => {
                let store = PostgresStore::open(server.url(), server.options()).await;
                erase(store.map_err(Failure::database)?, user, reason).await
            }
        }
    })?;
    say!("{user} is erased; {erased}");
    say!("the audit trail keeps what happened for its time; a restored backup erases the account again");
    Ok(ExitCode::SUCCESS)
}

fn id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).ok_or_else(|| "this is no account's id; the console's search shows it".to_owned())
}

async fn erase(store: impl Accounts, user: UserId, reason: String) -> Result<String, Failure> {
    let refused = |fix: &str| Failure::new(Code::Settings, fix);
    let done = store.erase_account(user, reason, Origin::system()).await.map_err(|error| match error {
        AccountError::NotFound => refused("--user-id: there is no such account, or it is erased already"),
        AccountError::LastAdministrator => refused(
            "--user-id: this is the last administrator; make another one first with messenger create-admin",
        ),
        other => Failure::other(other),
    })?;
    Ok(format!(
        "messages {}, devices {}, conversations left {}",
        done.messages, done.devices, done.conversations_left
    ))
}
