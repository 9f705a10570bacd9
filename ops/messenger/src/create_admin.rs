//! `messenger create-admin`: the first account that may use the console. The password is asked for, read from
//! standard input, or made; never an argument.

use std::io::{BufRead, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use console::access::password;
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, SqliteStore};

use crate::failure::{Code, Failure};

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
    let store = SqliteStore::open(&options.data.join("messenger.db")).map_err(Failure::store)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::other)?;
    runtime.block_on(store.create_admin(options.email.clone(), name, hash, role)).map_err(Failure::other)?;
    println!("{} may sign in as {}", options.email, options.role.to_ascii_uppercase());
    if options.generate {
        println!("password (shown this once): {chosen}");
    }
    Ok(ExitCode::SUCCESS)
}

/// From a pipe: its first line. From a terminal: typed twice, unseen.
fn read_password() -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let typed = terminal::ask("password: ").map_err(Failure::other)?;
        let again = terminal::ask("the same again: ").map_err(Failure::other)?;
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

/// Typing that nobody reads over a shoulder.
mod terminal {
    use std::io::{self, Write};

    use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
    use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

    /// Gives the terminal back as it was, whatever happens while typing.
    struct Raw;

    impl Drop for Raw {
        fn drop(&mut self) {
            // Nothing is left to do when the terminal is gone.
            let _ = disable_raw_mode();
            eprintln!();
        }
    }

    /// One line, without echo; Ctrl-C and Ctrl-D give up.
    pub fn ask(prompt: &str) -> io::Result<String> {
        eprint!("{prompt}");
        io::stderr().flush()?;
        enable_raw_mode()?;
        let _raw = Raw;
        let mut typed = String::new();
        loop {
            let Event::Key(key) = event::read()? else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Enter => return Ok(typed),
                KeyCode::Char('c' | 'd') if is_control => {
                    return Err(io::Error::new(io::ErrorKind::Interrupted, "given up"));
                }
                KeyCode::Char('u') if is_control => typed.clear(),
                KeyCode::Char(letter) if !is_control => typed.push(letter),
                KeyCode::Backspace => drop(typed.pop()),
                _ => {}
            }
        }
    }
}
