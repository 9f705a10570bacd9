//! What the bus counts. Numbers only: no conversation, user or address is ever named.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use schema_wire::bus::Unreadable;

/// Counted by the bus's own thread and by shards that find its queue full; read by whoever shows figures.
#[derive(Debug, Default)]
pub struct Figures {
    /// Connections to Redis that work.
    pub(super) connected: AtomicU64,
    /// 1 while the bus is thought to bring everything.
    pub(super) sound: AtomicU64,
    /// What this node listens to.
    pub(super) listens: AtomicU64,
    /// Other nodes that gave a sign of life lately.
    pub(super) nodes: AtomicU64,
    pub(super) published: AtomicU64,
    pub(super) received: AtomicU64,
    /// Frames that never left: the queue was full or Redis away.
    pub(super) lost_out: AtomicU64,
    /// Hints that a shard had no room for.
    pub(super) lost_in: AtomicU64,
    pub(super) connects: AtomicU64,
    /// What others said of a user was still in Redis when somebody asked, or was not.
    pub(super) online_hits: AtomicU64,
    pub(super) online_misses: AtomicU64,
    /// Microseconds the last sign of life took back to this node.
    pub(super) lag_us: AtomicU64,
    unreadable: [AtomicU64; Unreadable::ALL.len()],
}

impl Figures {
    pub(super) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn set(gauge: &AtomicU64, value: u64) {
        gauge.store(value, Ordering::Relaxed);
    }

    pub(super) fn unreadable(&self, reason: Unreadable) {
        let at = Unreadable::ALL.iter().position(|known| *known == reason);
        Self::add(&self.unreadable[at.expect("ALL holds every reason")], 1);
    }

    /// Frames of others that were passed over, by reason.
    pub fn passed_over(&self, reason: Unreadable) -> u64 {
        let at = Unreadable::ALL.iter().position(|known| *known == reason);
        self.unreadable[at.expect("ALL holds every reason")].load(Ordering::Relaxed)
    }

    /// Prometheus text.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(3_072);
        let get = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let rows: [(&str, &str, &str, u64); 12] = [
            ("relay_bus_connections", "gauge", "Connections to Redis that work.", get(&self.connected)),
            ("relay_bus_sound", "gauge", "Whether the bus is thought to bring everything.", get(&self.sound)),
            ("relay_bus_listens", "gauge", "Conversations and users listened to.", get(&self.listens)),
            ("relay_bus_nodes", "gauge", "Other nodes heard of lately.", get(&self.nodes)),
            ("relay_bus_published_total", "counter", "Frames given to Redis.", get(&self.published)),
            ("relay_bus_received_total", "counter", "Frames of other nodes.", get(&self.received)),
            ("relay_bus_lost_out_total", "counter", "Frames that never left.", get(&self.lost_out)),
            ("relay_bus_lost_in_total", "counter", "Frames no shard had room for.", get(&self.lost_in)),
            ("relay_bus_connects_total", "counter", "Connections made to Redis.", get(&self.connects)),
            ("relay_bus_online_hits_total", "counter", "Who is online, found.", get(&self.online_hits)),
            ("relay_bus_online_misses_total", "counter", "The same, not found.", get(&self.online_misses)),
            ("relay_bus_lag_microseconds", "gauge", "Way of a frame back to here.", get(&self.lag_us)),
        ];
        for (name, kind, help, value) in rows {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("a String takes every byte");
        }
        let name = "relay_bus_passed_over_total";
        writeln!(text, "# HELP {name} Frames that were not understood.\n# TYPE {name} counter")
            .expect("a String takes every byte");
        for reason in Unreadable::ALL {
            let (label, value) = (reason.name(), self.passed_over(reason));
            writeln!(text, "{name}{{reason=\"{label}\"}} {value}").expect("a String takes every byte");
        }
        text
    }
}
