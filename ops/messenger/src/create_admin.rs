//! `messenger create-admin`: the first account that may use the console. The password is asked for, read from
//! standard input, or made; never an argument.

use std::io::{BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use console::ConsoleConfig;
use console::access::password;
use console::database::Database;
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, PostgresStore, SqliteStore};

use crate::failure::{Code, Failure};
use crate::hidden;
use crate::up::folder;

/// Letters of a password made here.
const PASSWORD_LETTERS: usize = 24;

/// Longest line read from a pipe, in bytes.
const LINE_BYTES_MAX: u64 = 4_096;

/// Flags. There is none for the password: other processes read arguments.
#[derive(Args, Debug, Clone)]
pub struct CreateAdminOptions {
    /// The account's address.
    #[arg(long)]
    pub email: String,
    /// AUDITOR, MODERATOR, SRE or ADMIN.
    #[arg(long, default_value = "ADMIN")]
    pub role: String,
    /// Shown to people; the address's first part when not given.
    #[arg(long)]
    pub name: Option<String>,
    /// Make a password and print it once.
    #[arg(long)]
    pub generate: bool,
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = ".data", env = "DATA_DIR")]
    pub data: PathBuf,
}

/// Makes the account.
pub fn run(options: &CreateAdminOptions) -> Result<ExitCode, Failure> {
    let bad = |message: String| Failure::new(Code::Settings, message);
    let role = match options.role.to_ascii_uppercase().as_str() {
        "ADMIN" => AccountRole::Admin,
        "SRE" => AccountRole::Sre,
        "MODERATOR" => AccountRole::Moderator,
        "AUDITOR" => AccountRole::Auditor,
        other => return Err(bad(format!("--role {other}: use ADMIN, SRE, MODERATOR or AUDITOR"))),
    };
    let chosen = if options.generate { crate::random_password(PASSWORD_LETTERS) } else { read_password()? };
    password::check_password(&chosen, &options.email).map_err(|problem| bad(problem.message().to_owned()))?;
    let hash = password::hash_password(&chosen).map_err(Failure::other)?;
    let name =
        options.name.clone().unwrap_or_else(|| options.email.split('@').next().unwrap_or("admin").to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::other)?;
    runtime.block_on(make(database(&options.data)?, (options.email.clone(), name, hash), role))?;
    say!("{} may sign in as {}", options.email, options.role.to_ascii_uppercase());
    if options.generate {
        say!("password (shown this once): {chosen}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn make(
    database: Database,
    (email, name, hash): (String, String, String),
    role: AccountRole,
) -> Result<(), Failure> {
    let made = match database {
        Database::Sqlite(file) => {
            SqliteStore::open(&file).map_err(Failure::store)?.create_admin(email, name, hash, role).await
        }
        Database::Postgres(server) => {
            let store = PostgresStore::open(server.url(), server.options()).await;
            store.map_err(Failure::database)?.create_admin(email, name, hash, role).await
        }
    };
    made.map(drop).map_err(Failure::other)
}

/// Where accounts are kept, with the same folder and environment as `up`.
pub fn database(data: &Path) -> Result<Database, Failure> {
    folder::make(data)?;
    let lookup = |name: &str| match name {
        "DATA_DIR" => Some(data.display().to_string()),
        name => std::env::var(name).ok(),
    };
    let config = ConsoleConfig::from_env(false, lookup);
    config.map(|config| config.database).map_err(|fault| Failure::new(Code::Settings, fault))
}

/// The embedded database's file, for commands that work on nothing else.
pub fn embedded(data: &Path) -> Result<PathBuf, Failure> {
    match database(data)? {
        Database::Sqlite(file) => Ok(file),
        Database::Postgres(_) => {
            let line = "DATABASE_URL: names a PostgreSQL server; name the folder of the server to make with --target";
            Err(Failure::new(Code::Settings, line))
        }
    }
}

/// From a pipe: its first line. From a terminal: typed twice, unseen.
fn read_password() -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let typed = hidden::ask("password: ").map_err(Failure::other)?;
        let again = hidden::ask("the same again: ").map_err(Failure::other)?;
        return if typed == again {
            Ok(typed)
        } else {
            Err(Failure::new(Code::Settings, "the two passwords differ; nothing was made"))
        };
    }
    let mut line = String::new();
    stdin.lock().take(LINE_BYTES_MAX).read_line(&mut line).map_err(Failure::other)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        let fix = "no password on standard input; pipe one line, or use --generate";
        return Err(Failure::new(Code::Settings, fix));
    }
    Ok(password.to_owned())
}
