//! One transaction on one connection: how it begins and ends, the deadline of each statement, and what a failure
//! leaves behind. Works through a pooler that changes the server connection between transactions.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::TryStreamExt;
use tokio_postgres::{Row, SimpleQueryMessage};

use super::fault::{Failed, Trouble};
use super::options::{Options, Statements};
use super::value::Param;

/// Beyond a statement's deadline, which the server itself watches, the connection counts as lost.
const GRACE: Duration = Duration::from_secs(2);
/// A statement over whole tables may take this long.
const LONG: Duration = Duration::from_secs(600);

/// What a transaction may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reads in one snapshot.
    Snapshot,
    /// Each statement sees what was committed before it began, so rows one decides by must be locked first.
    Write,
    /// The same for work on whole tables.
    Long,
}

/// How a transaction found the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Begun {
    /// Unix milliseconds, by the server's clock.
    pub now: u64,
    /// Whether a generation was begun, or confirmed, on this server's timeline.
    pub known: bool,
}

/// A transaction under way. Dropped without an end, it takes its connection with it.
pub struct Tx {
    connection: Option<Object>,
    statements: Statements,
    limit: Duration,
    trouble: Cell<Option<Trouble>>,
}

impl Tx {
    pub async fn begin(
        connection: Object,
        access: Access,
        options: &Options,
    ) -> Result<(Self, Begun), Failed> {
        let tx = Self {
            connection: Some(connection),
            statements: options.statements,
            limit: limit(access, options) + GRACE,
            trouble: Cell::new(None),
        };
        let rows = tx.watched(tx.connection().simple_query(&begin(access, options))).await?;
        let row = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let word = |column| row.and_then(|row| row.get(column)).unwrap_or_default();
        let now = word(0).parse().map_err(|_| Failed::Late)?;
        Ok((tx, Begun { now, known: word(1) == "t" }))
    }

    /// All rows of a statement's answer.
    pub async fn query(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, Failed> {
        self.watched(self.rows(sql, params)).await
    }

    /// The only row, or none.
    pub async fn query_opt(&self, sql: &str, params: &[&dyn Param]) -> Result<Option<Row>, Failed> {
        Ok(self.query(sql, params).await?.pop())
    }

    /// The only row of a statement that always has one.
    pub async fn query_one(&self, sql: &str, params: &[&dyn Param]) -> Result<Row, Failed> {
        self.query_opt(sql, params).await?.ok_or_else(|| {
            tracing::error!("a statement that always has a row had none");
            Failed::Late
        })
    }

    /// How many rows a statement changed.
    pub async fn execute(&self, sql: &str, params: &[&dyn Param]) -> Result<u64, Failed> {
        self.watched(self.changed(sql, params)).await
    }

    /// What went wrong so far: then nothing can be committed.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.get()
    }

    /// Makes it durable. On an error nobody knows whether it is.
    pub async fn commit(mut self) -> Result<(), Failed> {
        // A cancelled wait for a synchronous standby would be reported as success, so this wait is never cancelled on
        // the server: the connection is given up.
        self.watched(self.connection().batch_execute("COMMIT")).await?;
        self.connection = None;
        Ok(())
    }

    /// Undoes it all.
    pub async fn rollback(mut self) {
        let usable = self.trouble.get() != Some(Trouble::Broken);
        if usable && self.watched(self.connection().batch_execute("ROLLBACK")).await.is_ok() {
            self.connection = None;
        }
    }

    async fn rows(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, tokio_postgres::Error> {
        let connection = self.connection();
        let values = params.iter().map(|p| *p as &(dyn tokio_postgres::types::ToSql + Sync));
        let types = params.iter().map(|p| p.kind());
        match self.statements {
            Statements::Unnamed => {
                connection.query_typed_raw(sql, values.zip(types)).await?.try_collect().await
            }
            Statements::Named => {
                let statement = connection.prepare_typed_cached(sql, &types.collect::<Vec<_>>()).await?;
                connection.query_raw(&statement, values).await?.try_collect().await
            }
        }
    }

    async fn changed(&self, sql: &str, params: &[&dyn Param]) -> Result<u64, tokio_postgres::Error> {
        let connection = self.connection();
        let values = params.iter().map(|p| *p as &(dyn tokio_postgres::types::ToSql + Sync));
        let types = params.iter().map(|p| p.kind());
        match self.statements {
            Statements::Unnamed => {
                connection.execute_typed(sql, &values.zip(types).collect::<Vec<_>>()).await
            }
            Statements::Named => {
                let statement = connection.prepare_typed_cached(sql, &types.collect::<Vec<_>>()).await?;
                connection.execute_raw(&statement, values).await
            }
        }
    }

    async fn watched<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failed> {
        let failed = match tokio::time::timeout(self.limit, statement).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Failed::Sql(error),
            Err(_) => Failed::Late,
        };
        // The first failure says why; what follows it only says that the transaction is lost.
        if self.trouble.get().is_none() || failed.trouble() == Trouble::Broken {
            self.trouble.set(Some(failed.trouble()));
        }
        Err(failed)
    }

    fn connection(&self) -> &Object {
        self.connection.as_ref().expect("it is given back by what ends the transaction only")
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // In the middle of a transaction: nobody else may get it.
            drop(Object::take(connection));
        }
    }
}

fn limit(access: Access, options: &Options) -> Duration {
    if access == Access::Long { options.statement_timeout.max(LONG) } else { options.statement_timeout }
}

/// One round trip: the transaction, its bounds, and what the server says of itself. A node that stops in the middle
/// must not hold its locks, and an acknowledged commit must be on a disk whatever the server's default says.
fn begin(access: Access, options: &Options) -> String {
    let mode = match access {
        Access::Snapshot => "ISOLATION LEVEL REPEATABLE READ READ ONLY",
        Access::Write | Access::Long => "ISOLATION LEVEL READ COMMITTED READ WRITE",
    };
    let limit = limit(access, options).as_millis();
    let now = match &options.clock {
        Some(clock) => format!("{}::bigint", clock()),
        None => "(extract(epoch FROM clock_timestamp()) * 1000)::bigint".to_owned(),
    };
    format!(
        "BEGIN {mode}; SET LOCAL statement_timeout = {limit}; SET LOCAL idle_in_transaction_session_timeout = {limit};
         SELECT {now}, EXISTS (SELECT 1 FROM store_lives WHERE life = store_life()),
           CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END"
    )
}
