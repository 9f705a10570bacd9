//! Figures of a node, or of many, over a stretch of time. Counts are added and so are histograms, bucket by bucket: the
//! percentiles of the whole are those of all its measurements, which no average of percentiles is.

use std::collections::BTreeMap;

use schema_store::operations::SPAN_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::times::Times;

/// Most different figures of one node; a node has a few hundred.
const FIGURES_MAX: usize = 4096;
/// Shards told apart, over all nodes; the turns of more are only in the sum.
pub const SHARDS_MAX: usize = 64;
/// The name under which a shard's turns stand among the steps.
pub const TURN: &str = "turn";
/// Figures that stay apart by node when nodes are added up: who looks for the cause of a load looks at each.
const BY_NODE: [&str; 3] =
    ["process_cpu_seconds_total", "process_resident_memory_bytes", "relay_sessions_active"];
/// Figures of what all nodes share begin with these: each node that shows them means the same.
const SHARED: [&str; 2] = ["database_", "redis_"];

/// What was counted.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Figures {
    /// What only grows, by name and labels: by how much it grew.
    pub counts: BTreeMap<String, f64>,
    /// What goes up and down: how it stands.
    pub levels: BTreeMap<String, f64>,
    /// How long messages took in each step, and turns of shards, in microseconds.
    pub steps: BTreeMap<String, Times>,
    /// The turns of each shard, by node and shard.
    pub shards: BTreeMap<(u16, u16), Times>,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Written {
    counts: BTreeMap<String, f64>,
    levels: BTreeMap<String, f64>,
    /// As older consoles wrote them: histograms in V2 encoding. They read it as well, so it is always there.
    steps: BTreeMap<String, String>,
    #[serde(default)]
    times: BTreeMap<String, String>,
    /// By `node/shard`.
    #[serde(default)]
    shards: BTreeMap<String, String>,
}

/// One line of `/hdr`.
#[derive(Deserialize)]
struct HdrLine {
    #[serde(default)]
    shard: u16,
    step: String,
    hdr: String,
}

impl Figures {
    /// What a node says of itself since its start: `/metrics` and `/hdr`.
    pub fn read(metrics: &str, hdr: &str, node: u16) -> Option<Self> {
        let mut figures = Self::default();
        for line in metrics.lines().filter(|line| !line.starts_with('#')).take(FIGURES_MAX) {
            let (name, value) = line.rsplit_once(' ')?;
            let value: f64 = value.parse().ok()?;
            let bare = name.split_once('{').map_or(name, |(bare, _)| bare);
            // Histograms come whole by the other way.
            let is_histogram = ["_bucket", "_sum", "_count"].iter().any(|end| bare.ends_with(end));
            if is_histogram || value == 0.0 || SHARED.iter().any(|begin| bare.starts_with(begin)) {
                continue;
            }
            let table = if bare.ends_with("_total") { &mut figures.counts } else { &mut figures.levels };
            let is_by_node = BY_NODE.contains(&name);
            table.insert(
                if is_by_node { format!("{name}{{node=\"{node}\"}}") } else { name.to_owned() },
                value,
            );
        }
        for line in hdr.lines().take(FIGURES_MAX) {
            let HdrLine { shard, step, hdr } = serde_json::from_str(line).ok()?;
            let times = Times::told(&hdr)?;
            figures.steps.entry(step.clone()).or_default().add(&times);
            if step == TURN && figures.shards.len() < SHARDS_MAX {
                figures.shards.insert((node, shard), times);
            }
        }
        Some(figures)
    }

    /// What came on top of `earlier`. A node that started anew in between counts from its start.
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |(name, now): (&String, &f64)| {
            let before = earlier.counts.get(name).copied().unwrap_or(0.0);
            let grown = if *now < before { *now } else { now - before };
            (grown > 0.0).then(|| (name.clone(), grown))
        };
        Self {
            counts: self.counts.iter().filter_map(grown).collect(),
            levels: self.levels.clone(),
            steps: grown_times(&self.steps, &earlier.steps),
            shards: grown_times(&self.shards, &earlier.shards),
        }
    }

    /// Another node's figures of the same time.
    pub fn add(&mut self, other: &Self) {
        for (name, value) in &other.levels {
            *self.levels.entry(name.clone()).or_default() += value;
        }
        self.append(other);
    }

    /// The same nodes' figures of the time that follows.
    pub fn append_later(&mut self, later: &Self) {
        self.levels.clone_from(&later.levels);
        self.append(later);
    }

    fn append(&mut self, other: &Self) {
        for (name, value) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += value;
        }
        for (name, step) in &other.steps {
            match self.steps.get_mut(name) {
                Some(sum) => sum.add(step),
                None => drop(self.steps.insert(name.clone(), step.clone())),
            }
        }
        for (shard, turns) in &other.shards {
            if self.shards.len() < SHARDS_MAX || self.shards.contains_key(shard) {
                self.shards.entry(*shard).or_default().add(turns);
            }
        }
    }

    /// The sum of all counts of this name, whatever their labels.
    pub fn count(&self, name: &str) -> f64 {
        sum(&self.counts, name)
    }

    /// The same of levels.
    pub fn level(&self, name: &str) -> f64 {
        sum(&self.levels, name)
    }

    /// Counts of this name by the value of their only label, the largest first.
    pub fn by_label(&self, name: &str) -> Vec<(&str, f64)> {
        let mut found: Vec<(&str, f64)> = labelled(&self.counts, name).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found
    }

    /// One count of this name: the one with this label.
    pub fn count_of(&self, name: &str, label: &str) -> Option<f64> {
        labelled(&self.counts, name).find(|(known, _)| *known == label).map(|(_, value)| value)
    }

    /// The same of levels.
    pub fn level_of(&self, name: &str, label: &str) -> Option<f64> {
        labelled(&self.levels, name).find(|(known, _)| *known == label).map(|(_, value)| value)
    }

    /// Nodes that anything is known of.
    pub fn nodes(&self) -> Vec<u16> {
        let known = labelled(&self.levels, BY_NODE[1]).map(|(node, _)| node.parse());
        let mut nodes: Vec<u16> = known.filter_map(Result::ok).collect();
        nodes.sort_unstable();
        nodes
    }

    /// As it is kept. Beyond what may be kept the shards are left out: their sum says enough.
    pub fn write(&self) -> Vec<u8> {
        let kept = self.steps.iter().filter(|(_, step)| !step.is_empty());
        let shards = self.shards.iter().filter(|(_, turns)| !turns.is_empty());
        let mut written = Written {
            counts: self.counts.clone(),
            levels: self.levels.clone(),
            steps: BTreeMap::new(),
            times: kept.map(|(name, step)| (name.clone(), step.write())).collect(),
            shards: shards.map(|((node, shard), turns)| (format!("{node}/{shard}"), turns.write())).collect(),
        };
        let whole = serde_json::to_vec(&written).expect("names and numbers can be written");
        if whole.len() <= SPAN_BYTES_MAX {
            return whole;
        }
        written.shards.clear();
        serde_json::to_vec(&written).expect("names and numbers can be written")
    }

    /// What `write` wrote; `None` for anything else.
    pub fn parse(written: &[u8]) -> Option<Self> {
        let Written { counts, levels, steps, times, shards } = serde_json::from_slice(written).ok()?;
        let mut figures = Self { counts, levels, ..Self::default() };
        for (name, step) in steps {
            figures.steps.insert(name, Times::told(&step)?);
        }
        for (name, step) in times {
            figures.steps.insert(name, Times::parse(&step)?);
        }
        for (shard, turns) in shards {
            let (node, shard) = shard.split_once('/')?;
            figures.shards.insert((node.parse().ok()?, shard.parse().ok()?), Times::parse(&turns)?);
        }
        Some(figures)
    }
}

/// What came on top of earlier durations. Whoever counts anew counts from the start.
fn grown_times<K: Ord + Clone>(now: &BTreeMap<K, Times>, earlier: &BTreeMap<K, Times>) -> BTreeMap<K, Times> {
    let grown = |(name, times): (&K, &Times)| {
        let since = earlier.get(name).and_then(|before| times.since(before));
        (name.clone(), since.unwrap_or_else(|| times.clone()))
    };
    now.iter().map(grown).collect()
}

/// Figures of this name by the value of their only label.
fn labelled<'a>(table: &'a BTreeMap<String, f64>, name: &str) -> impl Iterator<Item = (&'a str, f64)> {
    let range = table.range(name.to_owned()..).take_while(move |(key, _)| key.starts_with(name));
    range.filter_map(move |(key, value)| {
        let labels = key.strip_prefix(name)?.strip_prefix('{')?.strip_suffix("\"}")?;
        Some((labels.split_once("=\"")?.1, *value))
    })
}

fn sum(table: &BTreeMap<String, f64>, name: &str) -> f64 {
    let is_it =
        |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
    table.iter().filter(|(key, _)| is_it(key)).fold(0.0, |sum, (_, value)| sum + value)
}

#[cfg(test)]
mod tests {
    use super::super::times::tests::{hdr, histogram};
    use super::*;

    /// What node 3 says whose step `append` took these microseconds.
    fn node(sent: u64, sessions: u64, append_us: &[u64]) -> Figures {
        let step = hdr(&histogram(append_us.iter().copied()));
        let metrics = format!(
            "# HELP messages_sent_total x\nmessages_sent_total {sent}\nrelay_sessions_active {sessions}\n\
             relay_refusals_total{{code=\"rate\"}} {sent}\nrelay_refusals_total{{code=\"size\"}} 0\n\
             relay_step_duration_seconds_bucket{{step=\"append\",le=\"1\"}} 9\ndatabase_bytes 7\n\
             process_resident_memory_bytes {sessions}000\n"
        );
        let hdr = format!(
            "{{\"shard\":0,\"step\":\"append\",\"hdr\":\"{step}\"}}\n{{\"shard\":1,\"step\":\"turn\",\"hdr\":\"{step}\"}}\n"
        );
        Figures::read(&metrics, &hdr, 3).unwrap()
    }

    #[test]
    fn merged_percentiles_are_those_of_all_measurements() {
        // One node is quick and busy, the other slow: the average of their medians is no median of anything.
        let (quick, slow): (Vec<u64>, Vec<u64>) = ((1..=9000).collect(), (50_001..=51_000).collect());
        let exact = histogram(quick.iter().chain(&slow).copied());
        let mut both = node(9000, 3, &quick);
        both.add(&node(1000, 4, &slow));
        let merged = &both.steps["append"];
        for quantile in [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
            assert_eq!(merged.quantile(quantile), exact.value_at_quantile(quantile), "{quantile}");
        }
        assert_eq!((merged.len(), both.count("messages_sent_total")), (10_000, 10_000.0));
        assert_eq!(
            (both.level("relay_sessions_active"), both.by_label("relay_refusals_total")),
            (7.0, vec![("rate", 10_000.0)])
        );
        assert_eq!(Figures::parse(&both.write()).unwrap(), both, "and they are kept without loss");
    }

    #[test]
    fn only_what_came_since_counts() {
        let (before, after) = (node(10, 1, &[5, 5]), node(25, 2, &[5, 5, 900]));
        let grown = after.since(&before);
        assert_eq!((grown.count("messages_sent_total"), grown.level("relay_sessions_active")), (15.0, 2.0));
        assert_eq!((grown.steps["append"].len(), grown.steps["append"].max()), (1, 900));
        let anew = node(3, 1, &[7]);
        let grown = anew.since(&after);
        assert_eq!(
            (grown.count("messages_sent_total"), grown.steps["append"].len()),
            (3.0, 1),
            "it started anew"
        );
        let mut whole = grown;
        whole.append_later(&node(1, 9, &[]));
        assert_eq!((whole.count("messages_sent_total"), whole.level("relay_sessions_active")), (4.0, 9.0));
    }

    #[test]
    fn nodes_and_shards_stay_apart_as_far_as_that_helps() {
        let figures = node(1, 2, &[5, 900]);
        assert_eq!(figures.nodes(), [3]);
        assert_eq!(figures.level_of("process_resident_memory_bytes", "3"), Some(2000.0));
        assert_eq!(figures.shards[&(3, 1)], figures.steps[TURN]);
        assert_eq!(figures.level("database_bytes"), 0.0, "what all nodes share is nobody's own");
        let mut many = Figures::default();
        for shard in 0..200 {
            let turns = figures.steps[TURN].clone();
            many.add(&Figures { shards: [((1, shard), turns)].into(), ..Figures::default() });
        }
        assert_eq!(many.shards.len(), SHARDS_MAX);
        let wide: Vec<u64> = (0..300_000).map(|n| n * 200 + 1).collect();
        let wide = Times::told(&hdr(&histogram(wide))).unwrap();
        many.shards.values_mut().for_each(|turns| turns.clone_from(&wide));
        assert!(many.write().len() <= SPAN_BYTES_MAX, "however many there are, the rest is kept");
    }

    #[test]
    fn what_older_consoles_kept_is_read() {
        let step = hdr(&histogram([5, 900]));
        let kept =
            format!("{{\"counts\":{{\"x_total\":2}},\"levels\":{{}},\"steps\":{{\"append\":\"{step}\"}}}}");
        let figures = Figures::parse(kept.as_bytes()).unwrap();
        assert_eq!((figures.count("x_total"), figures.steps["append"].max()), (2.0, 900));
    }

    #[test]
    fn what_is_no_answer_of_a_node_is_refused() {
        for (metrics, hdr) in
            [("what", ""), ("a b", ""), ("a 1", "{}"), ("a 1", "{\"step\":\"x\",\"hdr\":\"AAAA\"}")]
        {
            assert_eq!(Figures::read(metrics, hdr, 1), None, "{metrics} {hdr}");
        }
        assert_eq!(Figures::parse(b"{}"), None);
        assert!(Figures::default().count("nothing").is_sign_positive(), "nothing is no less than nothing");
    }
}
