//! Brings a PostgreSQL database's schema up to date. Run by the operator CLI or at start, on its own connection.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::connect::{OpenError, cause};

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// Key of the advisory lock that keeps two starting nodes from migrating at once.
const MIGRATION_LOCK: i64 = 0x5345_4355_5245_4d53;

/// Why the schema is not up to date. The text is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the database was written by a newer version (schema {found}, this program knows {known}); update this program"
    )]
    Newer { found: u32, known: u32 },
    #[error(
        "migration {version} was applied in another form than this program has it; use the program that made it"
    )]
    Altered { version: u32 },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the schema could not be brought up to date: {0}")]
    Failed(String),
}

/// Applies what is missing, one transaction each; returns how many that were. Waits for another node that does the same.
pub async fn migrate(client: &mut Client) -> Result<usize, MigrateError> {
    let failed = |e: tokio_postgres::Error| MigrateError::Failed(e.to_string());
    client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
    let report = embedded::migrations::runner()
        .set_abort_missing(true)
        .set_abort_divergent(true)
        .run_async(client)
        .await;
    client.execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await.map_err(failed)?;
    report.map(|report| report.applied_migrations().len()).map_err(|e| explain(&e))
}

/// Whether this program works on the schema that is there. The inner error: the server did not say.
pub(super) async fn check(client: &Client) -> Result<Result<(), tokio_postgres::Error>, OpenError> {
    let known = newest();
    let found = match one(client, "SELECT coalesce(max(version), 0) FROM refinery_schema_history").await {
        Ok(found) => found,
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => 0,
        Err(error) => return Ok(Err(error)),
    };
    if found < known {
        return Err(OpenError::Older { found, known });
    }
    match one(client, "SELECT version FROM schema_floor").await {
        Ok(floor) if floor > known => Err(OpenError::Newer { found, known }),
        answer => Ok(answer.map(drop)),
    }
}

async fn one(client: &Client, query: &str) -> Result<u32, tokio_postgres::Error> {
    let rows = client.simple_query(query).await?;
    let number = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    });
    Ok(number.unwrap_or(0))
}

fn number(migration: &refinery::Migration) -> u32 {
    u32::try_from(migration.version()).unwrap_or(u32::MAX)
}

/// The newest migration this program has.
pub fn newest() -> u32 {
    embedded::migrations::runner().get_migrations().iter().map(number).max().unwrap_or(0)
}

fn explain(error: &refinery::Error) -> MigrateError {
    use refinery::error::Kind;
    let known = newest();
    match error.kind() {
        Kind::MissingVersion(found) if number(found) > known => {
            MigrateError::Newer { found: number(found), known }
        }
        Kind::MissingVersion(altered) | Kind::DivergentVersion(altered, _) => {
            MigrateError::Altered { version: number(altered) }
        }
        Kind::Connection(what, source) => {
            let why = source.downcast_ref().map_or_else(|| source.to_string(), cause);
            MigrateError::Failed(format!("{what}: {why}"))
        }
        other => MigrateError::Failed(other.to_string()),
    }
}
