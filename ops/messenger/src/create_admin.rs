//! `messenger create-admin`: the first account that may use the console. The password is asked for, read from
//! standard input, or made; never an argument.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use console::access::password;
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, SqliteStore};

use crate::failure::{Code, Failure};

/// Letters of a password made here.
const PASSWORD_LETTERS: usize = 24;

/// Flags.
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
    #[arg(long, value_name = "DIR", default_value = ".data", env = "RELAY_DATA")]
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
    let chosen = if options.generate {
        crate::random_password(PASSWORD_LETTERS)
    } else {
        read_password().map_err(Failure::other)?
    };
    password::check_password(&chosen, &options.email).map_err(|problem| bad(problem.message().to_owned()))?;
    let hash = password::hash_password(&chosen).map_err(Failure::other)?;
    let name =
        options.name.clone().unwrap_or_else(|| options.email.split('@').next().unwrap_or("admin").to_owned());
    let store = SqliteStore::open(&options.data.join("messenger.db")).map_err(Failure::store)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::other)?;
    runtime.block_on(store.create_admin(options.email.clone(), name, hash, role)).map_err(Failure::other)?;
    println!("{} may sign in as {}", options.email, options.role.to_ascii_uppercase());
    if options.generate {
        println!("password (shown this once): {chosen}");
    }
    Ok(ExitCode::SUCCESS)
}

fn read_password() -> std::io::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprint!("password (shown while you type unless you pipe it): ");
        std::io::stderr().flush()?;
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
