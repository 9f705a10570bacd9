//! Writes `ops/CONFIGURATION.md` and `ops/docker/.env.example` from the tables; runs in tests only.

use clap::CommandFactory;
use console::config::Variable;
use relay_server::config;

use super::own;
use crate::failure::Code;

/// One row, whoever reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub name: String,
    pub default: String,
    pub form: String,
    pub meaning: String,
    pub readers: Vec<&'static str>,
}

impl Row {
    fn new(name: &str, default: &str, form: &str, meaning: &str, reader: &'static str) -> Self {
        let [name, default, form, meaning] = [name, default, form, meaning].map(str::to_owned);
        Self { name, default, form, meaning, readers: vec![reader] }
    }
}

/// What a `_FILE` variant says about itself.
pub const FROM_FILE: (&str, &str) = ("the path of a file", "The same, read from a file.");

/// The relay's table, with the `_FILE` variants of its secrets.
pub fn relay_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for variable in config::VARIABLES {
        let config::Variable { name, default, expected, meaning, .. } = *variable;
        rows.push(Row::new(name, default, expected, meaning, "relay"));
        if variable.is_secret {
            rows.push(Row::new(&format!("{name}_FILE"), "", FROM_FILE.0, FROM_FILE.1, "relay"));
        }
    }
    rows
}

/// The account API's table.
pub fn api_rows() -> Vec<Row> {
    let rows = console::VARIABLES.iter();
    rows.map(|v| Row::new(v.name, v.default, v.form, v.meaning, "API")).collect()
}

fn own_rows() -> Vec<Row> {
    let read_by = |(reader, variables): &(&'static str, &'static [Variable])| {
        let reader = *reader;
        variables.iter().map(move |v| Row::new(v.name, v.default, v.form, v.meaning, reader))
    };
    own::VARIABLES.iter().flat_map(read_by).collect()
}

/// Every variable once.
pub fn rows() -> Vec<Row> {
    let mut rows = relay_rows();
    for row in api_rows().into_iter().chain(own_rows()) {
        match rows.iter_mut().find(|known| known.name == row.name) {
            Some(known) => known.readers.extend(row.readers),
            None => rows.push(row),
        }
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    rows
}

/// The whole document.
pub fn document() -> String {
    let mut lines = vec![HEAD.to_owned()];
    lines.push("| variable | default | form | meaning | read by |\n|---|---|---|---|---|".to_owned());
    for row in rows() {
        let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
        let cells = [format!("`{}`", row.name), default, row.form, row.meaning, row.readers.join(", ")];
        lines.push(format!("| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")));
    }
    lines.push("\n## Flags of `messenger up`\n\nFlags go before variables.\n".to_owned());
    lines.push("| flag | meaning |\n|---|---|".to_owned());
    lines.extend(flags().map(|(flag, meaning)| format!("| `{flag}` | {meaning} |")));
    lines.push("\n## Exit codes\n\n| code | meaning |\n|---|---|\n| 0 | Stopped as asked. |".to_owned());
    lines.extend(Code::ALL.map(|code| format!("| {} | {} |", code as u8, code.meaning())));
    lines.join("\n") + "\n"
}

/// Every variable as a comment, to be uncommented.
pub fn example() -> String {
    let mut text = EXAMPLE_HEAD.to_owned();
    for row in rows() {
        let hint = if row.form.starts_with("32 random") { " Make one: openssl rand -hex 32" } else { "" };
        text += &format!("\n# {} ({}){hint}\n# {}={}\n", row.meaning, row.form, row.name, row.default);
    }
    text
}

const EXAMPLE_HEAD: &str = "# Copy to .env (chmod 600) and fill in; .env is never committed. Written by a test from the programs' tables.
# For `messenger up`:  set -a; . ops/docker/.env; set +a

# Of ops/docker/compose.yaml only; make each with: openssl rand -hex 32
POSTGRES_PASSWORD=
REDIS_PASSWORD=
# POSTGRES_PORT=5432
# REDIS_PORT=6379
";

const HEAD: &str = "# Configuration

Written from the programs' own tables by a test; change the tables, then run
`UPDATE_DOCUMENTS=1 cargo nextest run -p messenger document`.

Everything has a default that runs on a laptop. Empty counts as not set. What is malformed, contradicts another
variable or looks like one of these and is none stops the start with the line to write instead (exit code 2).
Secrets in use have a `_FILE` variant, and are never arguments.

Limits of requests and messages, and the mail server, may also be set in the console while the product runs. What is set here goes first, and
the console says so; give all nodes and consoles of an installation the same.
";

fn flags() -> impl Iterator<Item = (String, String)> {
    let cli = crate::Cli::command();
    let up = cli.find_subcommand("up").expect("there is `up`").clone();
    let arguments: Vec<clap::Arg> = up.get_arguments().cloned().collect();
    arguments.into_iter().filter_map(|argument| {
        let long = argument.get_long()?;
        let takes_value = argument.get_action().takes_values();
        let value =
            argument.get_value_names().filter(|_| takes_value).and_then(|names| names.first().cloned());
        let value = value.map(|name| format!(" {name}")).unwrap_or_default();
        Some((format!("--{long}{value}"), argument.get_help()?.to_string()))
    })
}
