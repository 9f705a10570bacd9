//! `messenger change-role`: another role in the console for an account, or none. Whoever runs the machine decides alone,
//! as with the first administrator; two administrators do it on a page.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use console::database::Database;
use schema_store::rows::account::Origin;
use schema_store::rows::console::RoleChange;
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Accounts, ConsoleAccess, PostgresStore, SqliteStore};

use crate::create_admin::database;
use crate::failure::{Code, Failure};

/// Flags.
#[derive(Args, Debug, Clone)]
pub struct ChangeRoleOptions {
    /// The account's address.
    #[arg(long)]
    pub email: String,
    /// AUDITOR, MODERATOR, SRE, ADMIN, or USER: none any more.
    #[arg(long)]
    pub role: String,
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = ".data", env = "DATA_DIR")]
    pub data: PathBuf,
}

/// Changes it.
pub fn run(options: &ChangeRoleOptions) -> Result<ExitCode, Failure> {
    let role = AccountRole::parse(&options.role).ok_or_else(|| {
        let fix = format!("--role {}: use AUDITOR, MODERATOR, SRE, ADMIN or USER", options.role);
        Failure::new(Code::Settings, fix)
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::other)?;
    let email = options.email.clone();
    let before = runtime.block_on(async {
        match database(&options.data)? {
            Database::Sqlite(file) => {
                change(SqliteStore::open(&file).map_err(Failure::store)?, email, role).await
            }
            Database::Postgres(server) => {
                let store = PostgresStore::open(server.url(), server.options()).await;
                change(store.map_err(Failure::database)?, email, role).await
            }
        }
    })?;
    say!("{}: {} -> {}; its sessions in the console are ended", options.email, before.name(), role.name());
    Ok(ExitCode::SUCCESS)
}

async fn change(
    store: impl Accounts + ConsoleAccess,
    email: String,
    to: AccountRole,
) -> Result<AccountRole, Failure> {
    let refused = |fix: &str| Failure::new(Code::Settings, fix);
    let found = store.find_user(email).await.map_err(|error| match error {
        AccountError::NotFound => refused("--email: there is no such account"),
        other => Failure::other(other),
    })?;
    let change = RoleChange { user: found.user, from: found.role, to };
    let done = store.change_role(change, Origin::system()).await.map_err(|error| match error {
        AccountError::Overtaken => refused("--role: the account has this role already"),
        AccountError::NotActive(_) => refused("--email: the account is not active; reactivate it first"),
        AccountError::LastAdministrator => refused(
            "--email: this is the last administrator; make another one first with messenger create-admin",
        ),
        other => Failure::other(other),
    });
    done.map(|()| found.role)
}
