//! How Redis does, as it says itself; of a Cluster, all primaries together.

use std::time::Duration;

use super::address::{RedisAddress, RedisFault, Unheard};
use super::slots::{Primary, Slots};

/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// Primaries looked at.
const PRIMARIES_MAX: usize = 64;

/// What the servers say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RedisCondition {
    /// Of the first server asked.
    pub version: String,
    pub servers: u64,
    pub clients: u64,
    pub memory_bytes: u64,
    /// 0: no bound.
    pub memory_max_bytes: u64,
    /// Keys that were there when asked for, since the servers' start, as those below.
    pub hits: u64,
    pub misses: u64,
    pub commands: u64,
    /// Keys dropped since memory ran out.
    pub evicted: u64,
}

impl RedisAddress {
    /// Asks every primary.
    ///
    /// # Errors
    /// One of them is away, or this account may not ask.
    pub async fn look(&self) -> Result<RedisCondition, RedisFault> {
        let mut connection = self.connect(self.seed(), ANSWER, None::<Unheard>).await?;
        // An account that may not ask for the slots is told of the one server.
        let slots = Slots::read(&mut connection, self.seed()).await;
        let slots = slots.unwrap_or_else(|_| Slots::alone(self.seed().clone()));
        let mut whole = RedisCondition::default();
        for primary in slots.primaries().iter().take(PRIMARIES_MAX) {
            whole.add(&self.info(primary).await?);
        }
        Ok(whole)
    }

    async fn info(&self, primary: &Primary) -> Result<String, RedisFault> {
        let mut connection = self.connect(primary, ANSWER, None::<Unheard>).await?;
        let mut ask = redis::cmd("INFO");
        ask.arg("server").arg("clients").arg("memory").arg("stats");
        ask.query_async(&mut connection).await.map_err(|error| RedisFault::of(&error))
    }
}

impl RedisCondition {
    /// Adds what another server says.
    fn add(&mut self, info: &str) {
        let text = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = |name: &str| text(name).and_then(|value| value.trim().parse().ok()).unwrap_or(0);
        if self.version.is_empty() {
            self.version = text("redis_version").unwrap_or_default().trim().to_owned();
        }
        self.servers += 1;
        self.clients += number("connected_clients");
        self.memory_bytes += number("used_memory");
        self.memory_max_bytes += number("maxmemory");
        self.hits += number("keyspace_hits");
        self.misses += number("keyspace_misses");
        self.commands += number("total_commands_processed");
        self.evicted += number("evicted_keys");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_add_up() {
        let info = "# Server\r\nredis_version:7.0.15\r\n# Clients\r\nconnected_clients:3\r\nused_memory:1000\r\n\
                    used_memory_human:1K\r\nmaxmemory:0\r\nkeyspace_hits:9\r\nkeyspace_misses:1\r\n";
        let mut whole = RedisCondition::default();
        whole.add(info);
        whole.add(info);
        assert_eq!((whole.version.as_str(), whole.servers, whole.clients), ("7.0.15", 2, 6));
        assert_eq!((whole.memory_bytes, whole.hits, whole.misses, whole.evicted), (2000, 18, 2, 0));
    }
}
