//! What an operator or a test may choose about the store on PostgreSQL.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::redis::Cache;
use crate::sqlite::Clock;

/// How statements reach the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Statements {
    /// Prepared once per connection and kept by name.
    #[default]
    Named,
    /// Sent whole each time: for PgBouncer before 1.21 in transaction mode, which can't carry names.
    Unnamed,
}

/// Runs a future to its end on the thread that calls, and whatever it spawns there.
pub type Host = fn(Pin<Box<dyn Future<Output = ()>>>);

/// What may differ from the usual.
#[derive(Clone)]
pub struct Options {
    /// Most connections to the primary; each replica may get as many.
    pub pool_size: usize,
    /// URLs of read replicas, asked in turn for what they may answer.
    pub replicas: Vec<String>,
    pub statements: Statements,
    /// Requests under way or waiting for a connection; more are refused as unavailable.
    pub queue_max: usize,
    /// How long connecting may take, and how long a request waits for a free connection.
    pub connect_timeout: Duration,
    /// How long one statement may take.
    pub statement_timeout: Duration,
    /// The operator's word that whichever standby is promoted had been synchronous: a new timeline then goes on with the
    /// generation it finds. Wrong, it lets an offset mean two messages.
    pub standby_is_synchronous: bool,
    /// What is read often, for all nodes; `None`: each read is the store's.
    pub cache: Option<Arc<Cache>>,
    /// What runs the store's thread, if not tokio alone. It brings tokio's network and clock.
    pub host: Option<Host>,
    /// The store's clock instead of the server's: for tests.
    pub clock: Option<Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pool_size: 20,
            replicas: Vec::new(),
            statements: Statements::default(),
            queue_max: 4096,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(10),
            standby_is_synchronous: false,
            cache: None,
            host: None,
            clock: None,
        }
    }
}
