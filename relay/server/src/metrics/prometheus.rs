//! `/metrics`: the Prometheus text format, version 0.0.4, merged over all shards of the node.

use std::fmt::{Display, Write as _};

use schema_wire::Step;

use super::{ProcessStats, ShardMetrics, Snapshot};

/// Bounds of the step buckets in microseconds, and the same in seconds as text.
const STEP_BOUNDS: [(u64, &str); 22] = [
    (1, "0.000001"),
    (5, "0.000005"),
    (10, "0.00001"),
    (25, "0.000025"),
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
];

/// The same for turns: enough to see a shard that lags.
const TURN_BOUNDS: [(u64, &str); 9] = [
    (10, "0.00001"),
    (100, "0.0001"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (1_000_000, "1"),
];

/// When the certificate in use ends.
pub fn certificate(not_after_s: i64) -> String {
    let mut text = Text(String::new());
    let help = "End of the validity of the certificate that clients are shown, Unix time.";
    text.scalar("relay_certificate_expiry_timestamp_seconds", "gauge", help, not_after_s);
    text.0
}

/// Renders everything the node counts.
pub fn prometheus(snapshots: &[Snapshot], process: &ProcessStats, version: &str) -> String {
    let mut total = ShardMetrics::default();
    snapshots.iter().for_each(|snapshot| total.merge(&snapshot.metrics));
    let mut text = Text(String::with_capacity(32 * 1_024));
    for (name, help, value) in total.gauges.each() {
        text.scalar(name, "gauge", help, value);
    }
    for (name, help, value) in total.counters.each() {
        text.scalar(name, "counter", help, value);
    }
    text.tables(&total);
    text.steps(&total);
    text.batch(&total);
    text.shards(snapshots);
    text.turns(snapshots);
    for (name, kind, help, value) in process.each() {
        text.scalar(name, kind, help, value);
    }
    text.head("relay_build_info", "gauge", "Version of this node.");
    text.sample("relay_build_info", format_args!("version=\"{version}\""), 1);
    text.0
}

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a String takes every byte");
    }

    fn sample(&mut self, name: &str, labels: impl Display, value: impl Display) {
        writeln!(self.0, "{name}{{{labels}}} {value}").expect("a String takes every byte");
    }

    fn scalar(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        writeln!(self.0, "{name} {value}").expect("a String takes every byte");
    }

    fn by(&mut self, name: &str, help: &str, label: &str, rows: impl Iterator<Item = (&'static str, u64)>) {
        self.head(name, "counter", help);
        for (value, count) in rows {
            self.sample(name, format_args!("{label}=\"{value}\""), count);
        }
    }

    fn tables(&mut self, total: &ShardMetrics) {
        let rows = |table: &std::collections::BTreeMap<&'static str, u64>| {
            table.iter().map(|(reason, count)| (*reason, *count)).collect::<Vec<_>>().into_iter()
        };
        let refusals = total.refusals();
        self.by("relay_refusals_total", "Refusals told to clients.", "code", refusals);
        let disconnects = total.disconnects();
        self.by("relay_disconnects_total", "Sessions this node closed.", "code", disconnects);
        let access = rows(&total.access_refusals);
        self.by("relay_access_refusals_total", "Refused access tokens.", "reason", access);
        let handshakes = rows(&total.handshake_failures);
        let help = "Connections that ended before their handshakes did.";
        self.by("relay_handshake_failures_total", help, "reason", handshakes);
    }

    fn steps(&mut self, total: &ShardMetrics) {
        self.head("relay_step_duration_seconds", "histogram", "Time a message spends in a step.");
        let bounds_us = STEP_BOUNDS.map(|(bound, _)| bound);
        for step in Step::ALL {
            let name = step.name();
            let counts = total.steps.cumulative(step, bounds_us);
            for ((_, bound), count) in STEP_BOUNDS.iter().zip(counts) {
                let labels = format_args!("step=\"{name}\",le=\"{bound}\"");
                self.sample("relay_step_duration_seconds_bucket", labels, count);
            }
            let count = total.steps.histogram(step).len();
            let labels = format_args!("step=\"{name}\",le=\"+Inf\"");
            self.sample("relay_step_duration_seconds_bucket", labels, count);
            let sum_s = total.steps.sum_us(step) as f64 / 1e6;
            self.sample("relay_step_duration_seconds_sum", format_args!("step=\"{name}\""), sum_s);
            self.sample("relay_step_duration_seconds_count", format_args!("step=\"{name}\""), count);
        }
    }

    fn batch(&mut self, total: &ShardMetrics) {
        self.head("relay_store_batch_size", "histogram", "Appends per store transaction.");
        for (bound, count) in total.batch.cumulative() {
            self.sample("relay_store_batch_size_bucket", format_args!("le=\"{bound}\""), count);
        }
        self.sample("relay_store_batch_size_bucket", "le=\"+Inf\"", total.batch.count());
        writeln!(self.0, "relay_store_batch_size_sum {}", total.batch.sum())
            .expect("a String takes every byte");
        writeln!(self.0, "relay_store_batch_size_count {}", total.batch.count())
            .expect("a String takes every byte");
    }

    /// Per shard only what shows a shard that carries more than its share.
    fn shards(&mut self, snapshots: &[Snapshot]) {
        self.head("relay_shard_connections_active", "gauge", "Connections now open, by shard.");
        for snapshot in snapshots {
            let gauges = &snapshot.metrics.gauges;
            let labels = format_args!("shard=\"{}\"", snapshot.shard.0);
            let connections = gauges.websocket_connections + gauges.quic_connections;
            self.sample("relay_shard_connections_active", labels, connections);
        }
    }

    fn turns(&mut self, snapshots: &[Snapshot]) {
        let help = "Time between two looks of a shard at its sockets, while it works.";
        self.head("relay_turn_duration_seconds", "histogram", help);
        let bounds_us = TURN_BOUNDS.map(|(bound, _)| bound);
        for snapshot in snapshots {
            let (shard, turns) = (snapshot.shard.0, &snapshot.metrics.turns);
            for ((_, bound), count) in TURN_BOUNDS.iter().zip(turns.cumulative(bounds_us)) {
                let labels = format_args!("shard=\"{shard}\",le=\"{bound}\"");
                self.sample("relay_turn_duration_seconds_bucket", labels, count);
            }
            let count = turns.histogram().len();
            let labels = format_args!("shard=\"{shard}\",le=\"+Inf\"");
            self.sample("relay_turn_duration_seconds_bucket", labels, count);
            let sum_s = turns.sum_us() as f64 / 1e6;
            self.sample("relay_turn_duration_seconds_sum", format_args!("shard=\"{shard}\""), sum_s);
            self.sample("relay_turn_duration_seconds_count", format_args!("shard=\"{shard}\""), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AccessError;
    use schema_wire::{Disconnect, Refused, ShardId};
    use std::collections::{HashMap, HashSet};

    fn rendered() -> String {
        let mut metrics = ShardMetrics::default();
        metrics.gauges.websocket_connections = 3;
        metrics.counters.messages_sent = 7;
        metrics.refused(Refused::RateLimited);
        metrics.disconnected(Disconnect::SlowReader);
        metrics.access_refused(AccessError::Expired);
        metrics.handshake_failed("tls");
        metrics.batch.record(5);
        [40, 400, 100_000_000].into_iter().for_each(|elapsed| metrics.step(Step::Append, elapsed));
        metrics.turns.record(std::time::Duration::from_micros(700));
        let snapshots = [metrics.snapshot(ShardId(0)), metrics.snapshot(ShardId(1))];
        let process = ProcessStats { cpu_s: 1.25, resident_bytes: 1 << 20, ..ProcessStats::default() };
        prometheus(&snapshots, &process, "0.1.0") + &certificate(1_800_000_000)
    }

    #[test]
    fn shards_are_merged() {
        let text = rendered();
        for line in [
            "websocket_connections_active 6",
            "quic_connections_active 0",
            "messages_sent_total 14",
            "messages_encrypted_total 0",
            "process_cpu_seconds_total 1.25",
            "process_resident_memory_bytes 1048576",
            "relay_refusals_total{code=\"RATE_LIMITED\"} 2",
            "relay_refusals_total{code=\"BUSY\"} 0",
            "relay_disconnects_total{code=\"SLOW_READER\"} 2",
            "relay_access_refusals_total{reason=\"expired\"} 2",
            "relay_handshake_failures_total{reason=\"tls\"} 2",
            "relay_step_duration_seconds_bucket{step=\"append\",le=\"0.000025\"} 0",
            "relay_step_duration_seconds_bucket{step=\"append\",le=\"0.00005\"} 2",
            "relay_step_duration_seconds_bucket{step=\"append\",le=\"30\"} 4",
            "relay_step_duration_seconds_bucket{step=\"append\",le=\"+Inf\"} 6",
            "relay_step_duration_seconds_count{step=\"append\"} 6",
            "relay_store_batch_size_bucket{le=\"8\"} 2",
            "relay_store_batch_size_sum 10",
            "relay_shard_connections_active{shard=\"1\"} 3",
            "relay_turn_duration_seconds_bucket{shard=\"1\",le=\"0.0005\"} 0",
            "relay_turn_duration_seconds_bucket{shard=\"1\",le=\"0.001\"} 1",
            "relay_turn_duration_seconds_count{shard=\"0\"} 1",
            "relay_certificate_expiry_timestamp_seconds 1800000000",
            "relay_build_info{version=\"0.1.0\"} 1",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn the_text_keeps_the_conventions() {
        let text = rendered();
        assert!(text.ends_with('\n') && text.is_ascii());
        let mut kinds = HashMap::new();
        let mut samples = HashSet::new();
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').unwrap();
                assert!(text.contains(&format!("# HELP {name} ")), "{name} has help");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name} {kind}");
                assert_eq!(kinds.insert(name, kind), None, "{name} is declared once");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
                assert!(samples.insert(series), "{series} comes once");
                let name = series.split('{').next().unwrap();
                let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                assert!(
                    kinds.contains_key(name) || kinds.get(family.unwrap()) == Some(&"histogram"),
                    "{name}"
                );
            }
        }
        assert!(samples.len() > 250);
    }
}
