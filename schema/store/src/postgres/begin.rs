//! How a transaction begins: what it may do, the bounds of its statements, how they are planned, and what the server says
//! of itself. All of that is one round trip, and what follows may travel with it.

use std::time::Duration;

use super::options::Options;

/// A statement over whole tables may take this long.
const LONG: Duration = Duration::from_secs(600);

/// What a transaction may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reads in one snapshot.
    Snapshot,
    /// The same for a page of a log.
    Page,
    /// The same on a replica.
    Replica,
    /// Each statement sees what was committed before it began, so rows one decides by must be locked first.
    Write,
    /// The same for a batch of appends.
    Append,
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

/// The server's cluster and timeline: `store_life()`, written out, as a function would be planned at each call.
macro_rules! life {
    () => {
        "CASE WHEN NOT pg_is_in_recovery() THEN (SELECT system_identifier FROM pg_control_system()) || '/'
           || left(pg_walfile_name(pg_current_wal_lsn()), 8) END"
    };
}
pub(super) use life;

/// A node that stops in the middle must not hold its locks, and an acknowledged commit must be on a disk whatever the
/// server's default is.
macro_rules! here {
    ($($planned:literal)?) => {
        concat!(
            "SELECT coalesce($1::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint),
               EXISTS (SELECT 1 FROM store_lives WHERE life = (SELECT ", life!(), ")),
               set_config('statement_timeout', $2, true), set_config('idle_in_transaction_session_timeout', $2, true),
               CASE current_setting('synchronous_commit') WHEN 'off'
                 THEN set_config('synchronous_commit', 'on', true) END",
            $($planned)?
        )
    };
}
const HERE: &str = here!();
/// Statements that are run thousands of times a second are planned once per connection (and again when statistics change),
/// for whatever values, and find all rows by index: planned anew, as PostgreSQL does for few values, each would take
/// longer than it runs.
const HERE_PLANNED: &str = here!(
    ", set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
       set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
       set_config('jit', 'off', true)"
);

impl Access {
    /// Nothing is to be committed.
    pub fn only_reads(self) -> bool {
        matches!(self, Self::Snapshot | Self::Page | Self::Replica)
    }

    /// How long one statement may take.
    pub fn limit(self, options: &Options) -> Duration {
        if self == Self::Long { options.statement_timeout.max(LONG) } else { options.statement_timeout }
    }

    /// What begins it.
    pub fn begin(self) -> &'static str {
        if self.only_reads() {
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        } else {
            "BEGIN ISOLATION LEVEL READ COMMITTED"
        }
    }

    /// What looks around first. `$1`: the clock to go by, if it is not the server's; `$2`: the limit in milliseconds.
    pub fn here(self) -> &'static str {
        match self {
            Self::Page | Self::Replica | Self::Append => HERE_PLANNED,
            Self::Snapshot | Self::Write | Self::Long => HERE,
        }
    }
}
