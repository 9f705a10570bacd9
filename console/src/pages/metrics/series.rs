//! Which series there are: made once from stretches of figures, drawn by the page and written by the downloads.

use schema_wire::Step;

use crate::cluster::figures::TURN;
use crate::cluster::times::Times;
use crate::cluster::watch::Span;
use crate::parts::chart::Line;
use crate::parts::graph::Graph;
use crate::text::Language;

/// Percentiles, and how they are called.
pub const QUANTILES: [(f64, &str); 5] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];
/// Nodes with lines of their own; more are in the sum only.
const NODES_MAX: usize = 16;
const MIB: f64 = 1024.0 * 1024.0;

/// Series that belong together, under one heading.
pub struct Room {
    pub key: &'static str,
    pub graphs: Vec<Graph>,
}

/// All series of these stretches.
pub fn rooms(language: Language, step: Step, spans: &[Span]) -> Vec<Room> {
    let maker = Maker { language, spans };
    let room = |key, graphs| Room { key, graphs };
    let all = vec![
        room("metrics-latency", vec![maker.step(step), maker.turns()]),
        room("metrics-traffic", vec![maker.traffic(), maker.connections()]),
        room("metrics-nodes", vec![maker.cpu(), maker.memory()]),
        room("metrics-database", maker.database()),
        room("metrics-redis", maker.redis()),
    ];
    all.into_iter().filter(|room| !room.graphs.is_empty()).collect()
}

struct Maker<'a> {
    language: Language,
    spans: &'a [Span],
}

impl Maker<'_> {
    fn graph(&self, key: &'static str, digits: usize, lines: Vec<Line>) -> Graph {
        Graph { key, title: self.language.t(&format!("graph-{key}")), lines, digits, has_log: false }
    }

    fn line(&self, key: &str, name: &str, value: impl Fn(&Span) -> Option<f64>) -> Line {
        let values = self.spans.iter().map(value).collect();
        Line { key: key.to_owned(), name: self.language.t(name), values }
    }

    /// How often something happened in a second.
    fn rate(&self, key: &str, name: &str, of: &str) -> Line {
        self.line(key, name, |span| Some(per_second(span, span.figures.count(of))))
    }

    fn level(&self, key: &str, name: &str, of: &str, unit: f64) -> Line {
        self.line(key, name, |span| Some(span.figures.level(of) / unit))
    }

    /// Whether anything of this is known at all.
    fn knows(&self, name: &str) -> bool {
        self.spans.iter().any(|span| span.figures.level(name) > 0.0 || span.figures.count(name) > 0.0)
    }

    /// The middle, the tail and the end first: these are drawn.
    fn times(&self, of: &str) -> Vec<Line> {
        let order = [0.5, 0.99, 1.0, 0.9, 0.999, 0.9999];
        let name = |quantile: f64| {
            QUANTILES.iter().find(|(known, _)| *known == quantile).map_or("max", |(_, name)| name).to_owned()
        };
        let line = |quantile: f64| Line {
            key: name(quantile),
            name: name(quantile),
            values: self.spans.iter().map(|span| quantile_of(span.figures.steps.get(of), quantile)).collect(),
        };
        order.map(line).into()
    }

    fn step(&self, step: Step) -> Graph {
        let name = self.language.t(&format!("step-{}", step.name()));
        Graph {
            title: self.language.of("graph-step", "step", &name),
            has_log: true,
            ..self.graph("step", 0, self.times(step.name()))
        }
    }

    fn turns(&self) -> Graph {
        Graph { has_log: true, ..self.graph("turns", 0, self.times(TURN)) }
    }

    fn traffic(&self) -> Graph {
        let lines = vec![
            self.rate("messages_per_s", "metrics-sent", "messages_sent_total"),
            self.rate("deliveries_per_s", "metrics-delivered", "relay_messages_delivered_total"),
            self.rate("refusals_per_s", "metrics-refused", "relay_refusals_total"),
        ];
        self.graph("traffic", 1, lines)
    }

    fn connections(&self) -> Graph {
        let lines = vec![
            self.level("websocket", "node-websocket", "websocket_connections_active", 1.0),
            self.level("quic", "node-quic", "quic_connections_active", 1.0),
            self.level("sessions", "node-sessions", "relay_sessions_active", 1.0),
        ];
        self.graph("connections", 0, lines)
    }

    /// All nodes together, then each.
    fn by_node(&self, all: Line, of: impl Fn(&Span, &str) -> Option<f64>) -> Vec<Line> {
        let mut nodes: Vec<u16> = self.spans.iter().flat_map(|span| span.figures.nodes()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let line = |node: u16| Line {
            key: format!("node_{node}"),
            name: self.language.count("metrics-node", u64::from(node)),
            values: self.spans.iter().map(|span| of(span, &node.to_string())).collect(),
        };
        std::iter::once(all).chain(nodes.into_iter().take(NODES_MAX).map(line)).collect()
    }

    fn cpu(&self) -> Graph {
        const CPU: &str = "process_cpu_seconds_total";
        let lines = self.by_node(self.rate("all", "metrics-all", CPU), |span, node| {
            span.figures.count_of(CPU, node).map(|seconds| per_second(span, seconds))
        });
        self.graph("cpu", 2, lines)
    }

    fn memory(&self) -> Graph {
        const MEMORY: &str = "process_resident_memory_bytes";
        let lines = self.by_node(self.level("all", "metrics-all", MEMORY, MIB), |span, node| {
            span.figures.level_of(MEMORY, node).map(|bytes| bytes / MIB)
        });
        self.graph("memory", 0, lines)
    }

    fn database(&self) -> Vec<Graph> {
        let mut graphs = Vec::new();
        if self.knows("database_connections_max") {
            let of_state = |span: &Span, state: &str| span.figures.level_of("database_connections", state);
            let state =
                |key: &str, name: &str| self.line(key, name, |span| Some(of_state(span, key).unwrap_or(0.0)));
            let transactions = vec![
                self.rate("commits_per_s", "database-commits", "database_commits_total"),
                self.rate("rollbacks_per_s", "database-rollbacks", "database_rollbacks_total"),
            ];
            let pool = vec![
                state("active", "database-active"),
                state("idle", "database-idle"),
                self.level("all", "metrics-all", "database_connections", 1.0),
                self.level("max", "database-max", "database_connections_max", 1.0),
            ];
            let found = self.line("hit_percent", "metrics-hit", |span| {
                let of = |name| span.figures.count(name);
                percent(of("database_blocks_hit_total"), of("database_blocks_read_total"))
            });
            graphs.push(self.graph("transactions", 1, transactions));
            graphs.push(self.graph("pool", 0, pool));
            graphs.push(self.graph("blocks", 1, vec![found]));
        }
        if self.knows("database_replicas") {
            let lag = self.level("lag_kib", "database-lag", "database_replication_lag_bytes", 1024.0);
            graphs.push(self.graph("replication", 1, vec![lag]));
        }
        if self.knows("database_bytes") {
            let mut size = vec![self.level("mib", "database-size", "database_bytes", MIB)];
            if self.knows("database_log_bytes") {
                size.push(self.level("log_mib", "database-log", "database_log_bytes", MIB));
            }
            graphs.push(self.graph("size", 1, size));
        }
        graphs
    }

    fn redis(&self) -> Vec<Graph> {
        if !self.knows("redis_servers") {
            return Vec::new();
        }
        let share =
            |key: &str, name: &str, hits: &'static [&'static str], misses: &'static [&'static str]| {
                self.line(key, name, |span| {
                    let sum = |names: &[&str]| names.iter().map(|name| span.figures.count(name)).sum();
                    percent(sum(hits), sum(misses))
                })
            };
        let hits = vec![
            share(
                "own_percent",
                "redis-own",
                &["relay_cache_hits_total", "relay_bus_online_hits_total"],
                &["relay_cache_misses_total", "relay_bus_online_misses_total"],
            ),
            share("server_percent", "redis-server", &["redis_hits_total"], &["redis_misses_total"]),
        ];
        let use_of = vec![self.level("mib", "node-memory", "redis_memory_bytes", MIB)];
        let asked = vec![self.rate("commands_per_s", "redis-commands", "redis_commands_total")];
        vec![
            self.graph("redis_hits", 1, hits),
            self.graph("redis_memory", 1, use_of),
            self.graph("redis_commands", 1, asked),
        ]
    }
}

fn per_second(span: &Span, count: f64) -> f64 {
    count * 1000.0 / span.length_ms.max(1) as f64
}

/// What share was found; `None` while nobody looked.
fn percent(hits: f64, misses: f64) -> Option<f64> {
    (hits + misses > 0.0).then(|| 100.0 * hits / (hits + misses))
}

fn quantile_of(times: Option<&Times>, quantile: f64) -> Option<f64> {
    let times = times.filter(|times| !times.is_empty())?;
    Some(times.quantile(quantile) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::figures::Figures;

    fn span(metrics: &str) -> Span {
        let figures = Figures::read(metrics, "", 4).unwrap();
        Span { began_at: 1_000, length_ms: 5_000, figures }
    }

    #[test]
    fn what_is_not_there_has_no_room() {
        let keys = |spans: &[Span]| -> Vec<&'static str> {
            let rooms = rooms(Language::English, Step::Append, spans);
            rooms.iter().flat_map(|room| room.graphs.iter().map(|graph| graph.key)).collect()
        };
        let nodes = ["step", "turns", "traffic", "connections", "cpu", "memory"];
        assert_eq!(keys(&[span("x 1")]), nodes);
        let mut with =
            span("relay_cache_hits_total{cache=\"recent\"} 3\nrelay_cache_misses_total{cache=\"recent\"} 1");
        for (name, value) in [("database_bytes", 9.0), ("database_log_bytes", 5.0), ("redis_servers", 1.0)] {
            with.figures.levels.insert(name.into(), value);
        }
        let more = [&nodes[..], &["size", "redis_hits", "redis_memory", "redis_commands"]].concat();
        assert_eq!(keys(std::slice::from_ref(&with)), more);
        let rooms = rooms(Language::English, Step::Append, &[with]);
        let own = &rooms[4].graphs[0].lines;
        assert_eq!((own[0].values[0], own[1].values[0]), (Some(75.0), None), "nobody asked the server");
    }

    #[test]
    fn rates_are_of_a_second_and_nodes_stand_alone() {
        let spans = [span(
            "process_cpu_seconds_total 2.5\nprocess_resident_memory_bytes 1048576\nmessages_sent_total 10",
        )];
        let rooms = rooms(Language::English, Step::Append, &spans);
        let graph =
            |key: &str| rooms.iter().flat_map(|room| &room.graphs).find(|graph| graph.key == key).unwrap();
        assert_eq!(graph("traffic").lines[0].values, [Some(2.0)]);
        let cpu: Vec<_> = graph("cpu").lines.iter().map(|line| (line.key.as_str(), line.values[0])).collect();
        assert_eq!(cpu, [("all", Some(0.5)), ("node_4", Some(0.5))]);
        assert_eq!(graph("memory").lines[1].values, [Some(1.0)]);
        assert_eq!(graph("step").lines[0].values, [None], "nothing was measured");
    }
}
