//! A product that has been in use for two years, made up from a seed: people, what they write, reports, decisions, and an
//! audit trail whose chain holds. Loaded into a private PostgreSQL server by COPY, for tests that ask how the product
//! behaves when it is full.

mod copy;
mod figures;
mod indexes;
mod moderation;
mod operation;
mod people;
mod random;
mod talk;
mod trail;

use std::time::Instant;

use schema_wire::UserId;
use tokio_postgres::{Client, Error};

pub use people::{email, user};

pub(crate) const DAY_MS: u64 = 86_400_000;
/// How long people have been coming.
pub(crate) const LIFE_MS: u64 = 730 * DAY_MS;

/// How much there is of everything. What is not named follows from what is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub users: u64,
    pub reports: u64,
    pub messages: u64,
    /// The same seed, the same people.
    pub seed: u64,
    /// When it is now, in unix milliseconds.
    pub now_ms: u64,
}

impl Shape {
    /// A product that is full.
    pub fn full(now_ms: u64) -> Self {
        Self { users: 1_000_000, reports: 200_000, messages: 5_000_000, seed: 1, now_ms }
    }

    /// One that is loaded in seconds, and large enough for a server to prefer indexes.
    pub fn moderate(now_ms: u64) -> Self {
        Self { users: 50_000, reports: 10_000, messages: 200_000, seed: 1, now_ms }
    }

    /// Members of the staff come first among the users.
    pub fn staff(&self) -> u64 {
        40
    }

    /// Entries of the audit trail.
    pub fn entries(&self) -> u64 {
        self.users / 2
    }

    /// A person whom many reported.
    pub fn reported(&self) -> UserId {
        user(self, moderation::subject(self, 0))
    }
}

/// Fills an empty schema, and has the server take stock of it; what it says is for whoever waits.
pub async fn load(client: &Client, shape: &Shape, say: impl Fn(&str)) -> Result<(), Error> {
    let began = Instant::now();
    let said = |what: &str| say(&format!("{what} after {} s", began.elapsed().as_secs()));
    // The index of texts is made in memory.
    client.batch_execute("SET maintenance_work_mem = '256MB'; SET synchronous_commit = off").await?;
    let indexes = indexes::drop_them(client).await?;
    client.batch_execute("SET session_replication_role = replica").await?;
    people::load(client, shape).await?;
    said("people");
    talk::load(client, shape).await?;
    said("messages");
    moderation::load(client, shape).await?;
    operation::load(client, shape).await?;
    figures::load(client, shape).await?;
    trail::load(client, shape).await?;
    said("reports and trail");
    client.batch_execute("SET session_replication_role = DEFAULT").await?;
    indexes::make_again(client, &indexes).await?;
    said("indexes");
    // Index-only scans need to know which pages everybody sees.
    client.batch_execute("VACUUM ANALYZE").await?;
    said("all");
    Ok(())
}
