//! What the nodes lean on, the database and Redis: looked at by each console, kept beside the nodes' own figures, and
//! shown to Prometheus in the same words.

use std::fmt::Write;
use std::time::Duration;

use schema_store::Operations;
use schema_store::redis::RedisCondition;
use schema_store::rows::condition::{Condition, PostgresCondition, SqliteCondition};

use super::figures::Figures;
use crate::access::shared::SharedThrough;

/// How long they may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// What they said last.
#[derive(Clone, Debug)]
pub struct Servers {
    /// `None`: it did not answer.
    pub database: Option<Condition>,
    /// The outer `None`: there is none; the inner: it did not answer.
    pub redis: Option<Option<RedisCondition>>,
}

/// One figure: its name, its label, what it means, and how it stands.
struct Row {
    name: &'static str,
    label: Option<(&'static str, String)>,
    help: &'static str,
    value: u64,
}

impl Servers {
    /// Asks both.
    pub async fn look<S: Operations>(store: &S, shared: Option<&SharedThrough>) -> Self {
        let database = tokio::time::timeout(DEADLINE, store.condition());
        let redis = async {
            let asked = tokio::time::timeout(DEADLINE, shared?.look()).await;
            Some(asked.ok().and_then(|answer| {
                answer.inspect_err(|fault| tracing::debug!(%fault, "Redis says nothing of itself")).ok()
            }))
        };
        let (database, redis) = futures_util::future::join(database, redis).await;
        let database = database.ok().and_then(|answer| {
            answer.inspect_err(|error| tracing::debug!(%error, "the database says nothing of itself")).ok()
        });
        Self { database, redis }
    }

    /// Since their start, as nodes say it of themselves.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for Row { name, label, value, .. } in self.rows() {
            let table = if name.ends_with("_total") { &mut figures.counts } else { &mut figures.levels };
            let label = label.map(|(key, value)| format!("{{{key}=\"{value}\"}}")).unwrap_or_default();
            table.insert(format!("{name}{label}"), value as f64);
        }
        figures
    }

    /// As Prometheus reads it.
    pub fn render(&self) -> String {
        let (mut text, mut last) = (String::new(), "");
        for Row { name, label, help, value } in self.rows() {
            let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
            if std::mem::replace(&mut last, name) != name {
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
            let label = label.map(|(key, value)| format!("{{{key}=\"{value}\"}}")).unwrap_or_default();
            let _ = writeln!(text, "{name}{label} {value}");
        }
        text
    }

    fn rows(&self) -> Vec<Row> {
        let database = self.database.as_ref().map(|database| match database {
            Condition::Postgres(server) => postgres(server),
            Condition::Sqlite(file) => sqlite(file),
        });
        let redis = self.redis.as_ref().and_then(Option::as_ref).map(redis);
        database.into_iter().chain(redis).flatten().collect()
    }
}

fn row(name: &'static str, help: &'static str, value: u64) -> Row {
    Row { name, label: None, help, value }
}

fn postgres(server: &PostgresCondition) -> Vec<Row> {
    let mut rows: Vec<Row> = server
        .connections
        .iter()
        .map(|(state, count)| Row {
            label: Some(("state", state.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))),
            ..row("database_connections", "Connections to the database, by state.", *count)
        })
        .collect();
    let lag = server.replicas.iter().filter_map(|replica| replica.lag_bytes).max();
    rows.extend([
        row("database_connections_max", "Connections the server takes.", server.connections_max),
        row("database_bytes", "Size of the database.", server.database_bytes),
        row("database_commits_total", "Transactions committed.", server.commits),
        row("database_rollbacks_total", "Transactions rolled back.", server.rollbacks),
        row("database_blocks_hit_total", "Blocks found in the server's memory.", server.blocks_hit),
        row("database_blocks_read_total", "Blocks read from outside it.", server.blocks_read),
        row("database_deadlocks_total", "Deadlocks.", server.deadlocks),
        row("database_replicas", "Servers that follow.", server.replicas.len() as u64),
    ]);
    rows.extend(
        lag.map(|lag| row("database_replication_lag_bytes", "Log the last one has not replayed.", lag)),
    );
    rows
}

fn sqlite(file: &SqliteCondition) -> Vec<Row> {
    vec![
        row("database_bytes", "Size of the database.", file.file_bytes),
        row("database_free_bytes", "Of these, free for new rows.", file.free_bytes),
        row("database_log_bytes", "Length of the write-ahead log.", file.log_bytes),
        row("database_checkpoints_total", "Times the log was moved into the file.", file.checkpoints),
        row("database_pages_left", "Pages the last checkpoint left in the log.", file.pages_left),
    ]
}

fn redis(all: &RedisCondition) -> Vec<Row> {
    vec![
        row("redis_servers", "Primaries that answer.", all.servers),
        row("redis_clients", "Connections to them.", all.clients),
        row("redis_memory_bytes", "Memory they use.", all.memory_bytes),
        row("redis_memory_max_bytes", "Memory they may use; 0: no bound.", all.memory_max_bytes),
        row("redis_hits_total", "Keys that were there when asked for.", all.hits),
        row("redis_misses_total", "Keys that were not.", all.misses),
        row("redis_commands_total", "Commands carried out.", all.commands),
        row("redis_evicted_total", "Keys dropped since memory ran out.", all.evicted),
    ]
}

#[cfg(test)]
mod tests {
    use schema_store::rows::condition::Slowest;

    use super::*;

    #[test]
    fn prometheus_and_pages_see_the_same() {
        let server = PostgresCondition {
            version: "15.1".into(),
            connections: vec![("active".into(), 3), ("idle in transaction".into(), 1)],
            connections_used: 9,
            connections_max: 100,
            database_bytes: 5_000,
            commits: 70,
            rollbacks: 2,
            blocks_hit: 90,
            blocks_read: 10,
            deadlocks: 0,
            replicas: Vec::new(),
            statements: Slowest::Running(Vec::new()),
        };
        let redis = RedisCondition { hits: 8, misses: 2, servers: 1, ..RedisCondition::default() };
        let both = Servers { database: Some(Condition::Postgres(server)), redis: Some(Some(redis)) };
        let figures = both.figures();
        assert_eq!(
            (figures.level("database_connections"), figures.count("database_commits_total")),
            (4.0, 70.0)
        );
        assert_eq!(figures.level_of("database_connections", "idle_in_transaction"), Some(1.0));
        assert_eq!(figures.count("redis_hits_total"), 8.0);
        let text = both.render();
        for line in [
            "# TYPE database_connections gauge",
            "database_connections{state=\"active\"} 3",
            "database_commits_total 70",
            "# TYPE redis_hits_total counter",
            "redis_servers 1",
        ] {
            assert_eq!(text.lines().filter(|have| *have == line).count(), 1, "{line} in\n{text}");
        }
        assert!(!text.contains("replication_lag"), "nobody follows");
        let neither = Servers { database: None, redis: Some(None) };
        assert_eq!((neither.render(), neither.figures()), (String::new(), Figures::default()));
    }
}
