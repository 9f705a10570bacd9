//! The store of many nodes: PostgreSQL orders and keeps. All connections live on one thread of the store's own.

mod account;
mod accounts;
mod append;
mod backup_notes;
mod backups;
mod begin;
mod cached;
mod changes;
mod condition;
mod connect;
mod console;
mod content;
mod detection;
mod fault;
mod found;
mod generation;
mod keep;
mod look;
mod migrate;
mod moderation;
mod nodes;
mod operations;
mod options;
mod oversight;
mod recover;
mod replicas;
mod requests;
mod restore;
mod server;
mod services;
mod standing;
mod statistics;
mod store;
mod stream;
mod thread;
mod tls;
mod transaction;
mod url;
mod value;
mod written;

use std::sync::Arc;

pub use backups::BackupLock;
pub use connect::OpenError;
pub use keep::Kept;
pub use migrate::{MigrateError, migrate, newest as schema_version};
pub use options::{Host, Options, Statements};
pub use url::environment;

use crate::accounts::{AccountError, Answer};
use crate::redis::{Cache, Item};
use server::Server;
use thread::Thread;
use transaction::{Access, Tx};
use value::At;

/// A handle to the store on PostgreSQL. Clones share its connections; the last one dropped closes them.
#[derive(Clone)]
pub struct PostgresStore {
    thread: Arc<Thread>,
    cache: Option<Arc<Cache>>,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostgresStore")
    }
}

impl PostgresStore {
    /// Brings the schema of the database at `url` up to date; returns how many migrations were missing. Waits for
    /// whoever does the same.
    pub async fn migrate(url: &str, options: &Options) -> Result<usize, MigrateError> {
        let primary = connect::Connections::to_primary(url, options)?;
        let connection = primary.get().await.map_err(|failed| connect::explain(&primary.host, &failed))?;
        // Its locks are the session's: it is nobody else's afterwards.
        let mut client = deadpool_postgres::Object::take(connection);
        migrate(&mut client).await
    }

    /// Connects to the primary and checks that this program works on its schema. Changes nothing, unless the server
    /// is one that no generation was seen on: then one begins.
    pub async fn open(url: &str, options: Options) -> Result<Self, OpenError> {
        let cache = options.cache.clone();
        let thread = Thread::start(Server::new(url, options)?)?;
        let host = String::new();
        let ready = thread.call(async move |server| server.prepare().await).await;
        ready.map_err(|_| OpenError::Failed { host, why: "the store's thread ended".to_owned() })??;
        Ok(Self { thread: Arc::new(thread), cache })
    }

    /// Makes the Prometheus text of what is cached; no handle on the store.
    pub fn cache_metrics(&self) -> impl Fn() -> String + Send + Sync + 'static + use<> {
        let cache = self.cache.clone();
        move || cache.as_ref().map(|cache| cache.metrics()).unwrap_or_default()
    }

    /// Whether the store answers and is writable.
    pub async fn ready(&self) -> Answer<()> {
        let write = async |tx: &Tx, now| {
            tx.execute("UPDATE store_check SET checked_at = $1", &[&At(now)]).await?;
            Ok(())
        };
        self.write(write).await
    }

    /// Runs `work` in a transaction; an error undoes it. Each statement sees what was committed before it began: rows
    /// that `work` decides by must be locked first. It may run more than once, and must do nothing but speak to the
    /// transaction.
    async fn write<T, F>(&self, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Tx, u64) -> Answer<T> + Send + 'static,
    {
        self.transact(Access::Write, work).await
    }

    /// The same for what is cached under these names. They are forgotten in any case: nobody knows of a commit whose answer
    /// was lost whether it happened.
    async fn write_over<T, F>(&self, items: Vec<Item>, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Tx, u64) -> Answer<T> + Send + 'static,
    {
        let done = self.thread.call(async move |server| {
            let done = server.transact(Access::Write, work).await;
            server.forget(items);
            done
        });
        done.await.map_err(AccountError::Fault)?
    }

    /// The same where only what `work` gives says what it changed. If that answer is lost, the change log tells.
    async fn write_about<T, F>(&self, changed: fn(&T) -> Option<Item>, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Tx, u64) -> Answer<T> + Send + 'static,
    {
        let done = self.thread.call(async move |server| {
            let done = server.transact(Access::Write, work).await;
            done.inspect(|given| server.forget(changed(given).into_iter().collect()))
        });
        done.await.map_err(AccountError::Fault)?
    }

    /// Runs `work` on one snapshot of the primary.
    async fn read<T, F>(&self, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Tx, u64) -> Answer<T> + Send + 'static,
    {
        self.transact(Access::Snapshot, work).await
    }

    async fn transact<T, F>(&self, access: Access, work: F) -> Answer<T>
    where
        T: Send + 'static,
        F: AsyncFn(&Tx, u64) -> Answer<T> + Send + 'static,
    {
        let done = self.thread.call(async move |server| server.transact(access, work).await).await;
        done.map_err(AccountError::Fault)?
    }
}
