//! One transaction on one connection: how it begins and ends, the deadline of each statement, and what a failure
//! leaves behind. Works through a pooler that changes the server connection between transactions.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::TryStreamExt;
use futures_util::future::join;
use schema_wire::record::StoreFault;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, Statement};

pub use super::begin::{Access, Begun};
use super::fault::{Failed, Trouble};
use super::options::{Options, Statements};
use super::value::{Param, uint};
use crate::accounts::{AccountError, Answer};
use crate::redis::Cache;
use crate::stored::int;

/// Beyond a statement's deadline, which the server itself watches, the connection counts as lost.
const GRACE: Duration = Duration::from_secs(2);

/// A transaction under way. Dropped without an end, it takes its connection with it.
pub struct Tx {
    connection: Option<Object>,
    statements: Statements,
    access: Access,
    /// The clock to go by, if it is not the server's.
    clock: Option<i64>,
    limit: Duration,
    cache: Option<Arc<Cache>>,
    trouble: Cell<Option<Trouble>>,
}

/// A statement that goes out as soon as it is run, so that several need one round trip together.
pub enum Prepared {
    Named(Statement),
    Unnamed(&'static str),
}

impl Tx {
    /// Nothing is sent before `start`.
    pub fn on(connection: Object, access: Access, options: &Options) -> Self {
        Self {
            connection: Some(connection),
            statements: options.statements,
            access,
            clock: options.clock.as_ref().map(|clock| int(clock())),
            limit: access.limit(options),
            cache: options.cache.clone(),
            trouble: Cell::new(None),
        }
    }

    /// What is read often, if it is cached.
    pub fn cache(&self) -> Option<&Arc<Cache>> {
        self.cache.as_ref()
    }

    /// Begins it. What is asked meanwhile is answered in it.
    pub async fn start(&self) -> Result<Begun, Failed> {
        let begin = self.watched(self.connection().batch_execute(self.access.begin()));
        let limit = self.limit.as_millis().to_string();
        let (begun, here) = join(begin, self.query_one(self.access.here(), &[&self.clock, &limit])).await;
        begun?;
        let here = here?;
        Ok(Begun { now: uint(&here, 0)?, known: here.try_get(1)? })
    }

    /// Readies what `start` asks, so that it is sent before what follows.
    pub async fn ready(&self) -> Result<(), Failed> {
        self.prepare(self.access.here(), &[&self.clock, &String::new()]).await.map(drop)
    }

    /// Readies a statement. A round trip for the first one of its kind on a connection, nothing afterwards.
    pub async fn prepare(&self, sql: &'static str, params: &[&dyn Param]) -> Result<Prepared, Failed> {
        if self.statements == Statements::Unnamed {
            return Ok(Prepared::Unnamed(sql));
        }
        let types: Vec<_> = params.iter().map(|p| p.kind()).collect();
        self.watched(self.connection().prepare_typed_cached(sql, &types)).await.map(Prepared::Named)
    }

    /// All rows of a readied statement's answer.
    pub async fn run(&self, statement: &Prepared, params: &[&dyn Param]) -> Result<Vec<Row>, Failed> {
        self.watched(self.send(statement, params)).await
    }

    /// Runs a statement and commits without waiting in between.
    pub async fn run_and_end(&self, statement: &Prepared, params: &[&dyn Param]) -> Result<(), Failed> {
        // Were the statement to fail here instead of on the server, the commit behind it would be of nothing.
        let (written, ended) = join(self.run(statement, params), self.end()).await;
        written?;
        ended
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
        self.query_opt(sql, params).await?.ok_or(Failed::Unreadable("a row that must exist"))
    }

    /// How many rows a statement changed.
    pub async fn execute(&self, sql: &str, params: &[&dyn Param]) -> Result<u64, Failed> {
        self.watched(self.changed(sql, params)).await
    }

    /// For work that found its locks not enough: it is undone, and tried again.
    pub fn again<T>(&self) -> Answer<T> {
        self.trouble.set(Some(Trouble::Collision));
        Err(AccountError::Fault(StoreFault::Unavailable))
    }

    /// What went wrong so far: then nothing can be committed.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.get()
    }

    /// Makes it durable. On an error nobody knows whether it is.
    pub async fn end(&self) -> Result<(), Failed> {
        // A cancelled wait for a synchronous standby would be reported as success, so this wait is never cancelled on
        // the server: the connection is given up.
        self.watched(self.connection().batch_execute("COMMIT")).await
    }

    /// Gives the connection back, after the end.
    pub fn release(mut self) {
        self.connection = None;
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
        match self.statements {
            Statements::Unnamed => connection.query_typed_raw(sql, typed(params)).await?.try_collect().await,
            Statements::Named => {
                let types: Vec<_> = params.iter().map(|p| p.kind()).collect();
                let statement = connection.prepare_typed_cached(sql, &types).await?;
                connection.query_raw(&statement, values(params)).await?.try_collect().await
            }
        }
    }

    async fn send(
        &self,
        statement: &Prepared,
        params: &[&dyn Param],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let connection = self.connection();
        let rows = match statement {
            Prepared::Unnamed(sql) => connection.query_typed_raw(sql, typed(params)).await?,
            Prepared::Named(statement) => connection.query_raw(statement, values(params)).await?,
        };
        rows.try_collect().await
    }

    async fn changed(&self, sql: &str, params: &[&dyn Param]) -> Result<u64, tokio_postgres::Error> {
        let connection = self.connection();
        match self.statements {
            Statements::Unnamed => connection.execute_typed(sql, &typed(params).collect::<Vec<_>>()).await,
            Statements::Named => {
                let types: Vec<_> = params.iter().map(|p| p.kind()).collect();
                let statement = connection.prepare_typed_cached(sql, &types).await?;
                connection.execute_raw(&statement, values(params)).await
            }
        }
    }

    async fn watched<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failed> {
        let failed = match tokio::time::timeout(self.limit + GRACE, statement).await {
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

type Value<'a> = &'a (dyn ToSql + Sync);

fn values<'a>(params: &'a [&'a dyn Param]) -> impl ExactSizeIterator<Item = Value<'a>> + use<'a> {
    params.iter().map(|p| *p as Value<'a>)
}

fn typed<'a>(params: &'a [&'a dyn Param]) -> impl Iterator<Item = (Value<'a>, Type)> + use<'a> {
    params.iter().map(|p| (*p as Value<'a>, p.kind()))
}
