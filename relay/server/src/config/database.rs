//! The variables of PostgreSQL: where it is, how many connections, what stands before and beside it.

use std::time::Duration;

use schema_store::postgres::{Options, Statements};
use schema_store::redis::{Cache, Lives, RedisAddress, RedisFault};

use super::RelayConfig;
use super::parse::{ConfigError, Reader, Redacted};

/// How the store on PostgreSQL is reached.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// `sqlite:PATH` or `postgres://…`; may hold a password.
    pub url: Redacted,
    /// Connections of one node.
    pub pool: usize,
    /// Read replicas.
    pub replicas: Vec<Redacted>,
    /// Whether a pooler changes connections between transactions.
    pub is_pooled: bool,
    /// The operator's word that no standby is promoted that had not been synchronous.
    pub standby_is_synchronous: bool,
}

impl DatabaseConfig {
    /// Whether other nodes may use it too.
    pub fn is_shared(&self) -> bool {
        is_server(self.url.expose())
    }

    /// What the store on PostgreSQL is opened with.
    pub fn options(&self) -> Options {
        Options {
            pool_size: self.pool,
            replicas: self.replicas.iter().map(|url| url.expose().to_owned()).collect(),
            statements: if self.is_pooled { Statements::Unnamed } else { Statements::Named },
            standby_is_synchronous: self.standby_is_synchronous,
            ..Options::default()
        }
    }
}

impl RelayConfig {
    /// What a node's store on PostgreSQL is opened with.
    ///
    /// # Errors
    /// REDIS_URL is none of Redis.
    pub fn store_options(&self) -> Result<Options, RedisFault> {
        let lives = Lives::at_most(Duration::from_secs(u64::from(self.redis_ttl_s)));
        let url = self.redis_url.as_ref().map(|url| RedisAddress::parse(url.expose())).transpose()?;
        let cache = url.map(|address| Cache::new(address, lives));
        Ok(Options { cache, host: Some(crate::store::host), ..self.database.options() })
    }
}

pub(super) fn read(env: &Reader<'_>, data: &std::path::Path) -> Result<DatabaseConfig, ConfigError> {
    Ok(DatabaseConfig {
        url: url(env, data)?,
        pool: env.number("DATABASE_POOL_SIZE", 1..=1_000)?,
        replicas: replicas(env)?,
        is_pooled: env.parsed_or_default("DATABASE_POOLER", either(["none", "transaction"]))?,
        standby_is_synchronous: env
            .parsed_or_default("DATABASE_STANDBY", either(["asynchronous", "synchronous"]))?,
    })
}

/// Whether it is the second word.
fn either(words: [&'static str; 2]) -> impl Fn(&str) -> Option<bool> {
    move |text| words.iter().position(|word| *word == text).map(|at| at == 1)
}

fn is_server(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

fn url(env: &Reader<'_>, data: &std::path::Path) -> Result<Redacted, ConfigError> {
    let is_known =
        |url: &str| url.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty()) || is_server(url);
    let default = || Redacted::new(format!("sqlite:{}", data.join("messenger.db").display()));
    let url = env.secret("DATABASE_URL", |url| is_known(url).then(|| Redacted::new(url.into())))?;
    Ok(url.unwrap_or_else(default))
}

fn replicas(env: &Reader<'_>) -> Result<Vec<Redacted>, ConfigError> {
    let parse = |text: &str| {
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        urls.map(|url| is_server(url).then(|| Redacted::new(url.to_owned()))).collect::<Option<Vec<_>>>()
    };
    Ok(env.secret("DATABASE_REPLICA_URLS", parse)?.unwrap_or_default())
}
