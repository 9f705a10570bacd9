//! How the database does, as it says itself: for the pages of who runs it.

/// Statements listed.
pub const STATEMENTS_LISTED: u32 = 10;
/// Longest statement shown, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 400;

/// What a store can tell of itself.
#[derive(Clone, PartialEq, Debug)]
pub enum Condition {
    Postgres(PostgresCondition),
    Sqlite(SqliteCondition),
}

/// A server's.
#[derive(Clone, PartialEq, Debug)]
pub struct PostgresCondition {
    pub version: String,
    /// Connections to this database by their state, most first.
    pub connections: Vec<(String, u64)>,
    /// Connections to all databases of the server.
    pub connections_used: u64,
    pub connections_max: u64,
    pub database_bytes: u64,
    /// Since the server's counters were last reset, as those below.
    pub commits: u64,
    pub rollbacks: u64,
    /// Blocks found in the server's memory.
    pub blocks_hit: u64,
    /// Blocks it had to ask the operating system for.
    pub blocks_read: u64,
    pub deadlocks: u64,
    pub replicas: Vec<Replica>,
    pub statements: Slowest,
}

/// A server that follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replica {
    pub name: String,
    /// `streaming`, `catchup` …; empty: this account may not see it.
    pub state: String,
    /// `async`, `sync` …
    pub sync: String,
    /// Log that it has not replayed yet.
    pub lag_bytes: Option<u64>,
    /// How long ago that was written; `None` while nothing is.
    pub lag_ms: Option<u64>,
}

/// Where the slowest statements were found.
#[derive(Clone, PartialEq, Debug)]
pub enum Slowest {
    /// In `pg_stat_statements`: all that ended since its counters were reset.
    Ended(Vec<EndedStatement>),
    /// In `pg_stat_activity`, since there is no `pg_stat_statements`: only what runs right now.
    Running(Vec<RunningStatement>),
}

/// Statements of one form, without their values.
#[derive(Clone, PartialEq, Debug)]
pub struct EndedStatement {
    pub text: String,
    pub calls: u64,
    pub mean_ms: f64,
    pub max_ms: f64,
    pub total_ms: f64,
}

/// A statement under way, without its values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunningStatement {
    pub text: String,
    pub state: String,
    /// For how long.
    pub since_ms: u64,
}

/// A file's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqliteCondition {
    pub file_bytes: u64,
    /// Of these, free for new rows.
    pub free_bytes: u64,
    /// Length of the write-ahead log.
    pub log_bytes: u64,
    /// Times that the log was moved into the file since the start.
    pub checkpoints: u64,
    /// When that was last done, unix ms.
    pub checkpointed_at: Option<u64>,
    /// Pages of the log that were left then, since somebody was reading them.
    pub pages_left: u64,
}
