//! PostgreSQL's errors: which of them mean that the same transaction may be tried again, that the connection is of no
//! more use, and what the caller is told. Nothing of a statement's data is logged.

use schema_wire::record::StoreFault;
use tokio_postgres::error::SqlState;

use crate::accounts::AccountError;

/// Why a statement has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error(transparent)]
    Sql(#[from] tokio_postgres::Error),
    #[error("no answer in time")]
    Late,
    #[error("all connections are in use")]
    Busy,
    #[error("no connection: {0}")]
    NoConnection(String),
    #[error("{0} in the database is not readable")]
    Unreadable(&'static str),
}

/// What follows from a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Only this transaction is lost.
    Plain,
    /// It met another one; the same again may succeed.
    Collision,
    /// The connection is lost with it, or leads to the wrong server.
    Broken,
}

impl Failed {
    pub fn trouble(&self) -> Trouble {
        let error = match self {
            Self::Sql(error) => error,
            Self::Unreadable(_) => return Trouble::Plain,
            Self::Late | Self::Busy | Self::NoConnection(_) => return Trouble::Broken,
        };
        let Some(code) = error.code() else {
            // Nothing from the server: the socket failed, or a value did not fit its column.
            return if error.is_closed() || has_io(error) { Trouble::Broken } else { Trouble::Plain };
        };
        match code {
            &SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED => Trouble::Collision,
            // A standby, or a primary that became one; then statements this connection no longer has.
            &SqlState::READ_ONLY_SQL_TRANSACTION
            | &SqlState::INVALID_SQL_STATEMENT_NAME
            | &SqlState::DUPLICATE_PSTATEMENT
            | &SqlState::FEATURE_NOT_SUPPORTED
            | &SqlState::TOO_MANY_CONNECTIONS
            | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Trouble::Broken,
            code if ["08", "57P", "58", "XX"].iter().any(|class| code.code().starts_with(class)) => {
                Trouble::Broken
            }
            _ => Trouble::Plain,
        }
    }

    /// Whether an insert met a row with the same unique value.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Sql(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION))
    }

    /// What the caller is told.
    pub fn fault(&self) -> StoreFault {
        match self {
            Self::Sql(error) if error.code() == Some(&SqlState::DISK_FULL) => {
                tracing::warn!("the database's disk is full: nothing is stored until there is room again");
                StoreFault::Full
            }
            Self::Sql(error) => {
                let constraint = error.as_db_error().and_then(|e| e.constraint());
                tracing::warn!(code = ?error.code().map(SqlState::code), constraint, "the database failed");
                StoreFault::Unavailable
            }
            Self::Late => {
                tracing::warn!("the database did not answer in time");
                StoreFault::Unavailable
            }
            Self::Busy => {
                tracing::warn!(
                    "reads wait longer than they may: DATABASE_POOL_SIZE is too small, or the database slow"
                );
                StoreFault::Unavailable
            }
            Self::Unreadable(what) => {
                tracing::error!(what, "the database holds what this program can't read");
                StoreFault::Unavailable
            }
            Self::NoConnection(why) => {
                tracing::warn!(why, "no connection to the database");
                StoreFault::Unavailable
            }
        }
    }
}

fn has_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}

impl From<Failed> for AccountError {
    fn from(failed: Failed) -> Self {
        Self::Fault(failed.fault())
    }
}
