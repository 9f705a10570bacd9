//! Figures of a node, or of many, over a stretch of time. Counts are added and so are histograms, bucket by bucket: the
//! percentiles of the whole are those of all its measurements, which no average of percentiles is.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer, V2Serializer};
use serde::{Deserialize, Serialize};

/// Most different figures of one node; a node has a few hundred.
const FIGURES_MAX: usize = 4096;

/// What was counted.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Figures {
    /// What only grows, by name and labels: by how much it grew.
    pub counts: BTreeMap<String, f64>,
    /// What goes up and down: how it stands.
    pub levels: BTreeMap<String, f64>,
    /// How long messages took in each step, in microseconds.
    pub steps: BTreeMap<String, Histogram<u64>>,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Written {
    counts: BTreeMap<String, f64>,
    levels: BTreeMap<String, f64>,
    steps: BTreeMap<String, String>,
}

/// One line of `/hdr`.
#[derive(Deserialize)]
struct HdrLine {
    step: String,
    hdr: String,
}

impl Figures {
    /// What a node says of itself since its start: `/metrics` and `/hdr`.
    pub fn read(metrics: &str, hdr: &str) -> Option<Self> {
        let mut figures = Self::default();
        for line in metrics.lines().filter(|line| !line.starts_with('#')).take(FIGURES_MAX) {
            let (name, value) = line.rsplit_once(' ')?;
            let value: f64 = value.parse().ok()?;
            let bare = name.split_once('{').map_or(name, |(bare, _)| bare);
            // Histograms come whole by the other way.
            if ["_bucket", "_sum", "_count"].iter().any(|end| bare.ends_with(end)) {
                continue;
            }
            let table = if bare.ends_with("_total") { &mut figures.counts } else { &mut figures.levels };
            if value != 0.0 {
                table.insert(name.to_owned(), value);
            }
        }
        for line in hdr.lines().take(FIGURES_MAX) {
            let HdrLine { step, hdr } = serde_json::from_str(line).ok()?;
            figures.add_step(&step, &histogram(&hdr)?);
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
        let mut steps = self.steps.clone();
        for (name, step) in &mut steps {
            let whole = step.clone();
            if earlier.steps.get(name).is_some_and(|before| step.subtract(before).is_err()) {
                *step = whole;
            }
        }
        Self { counts: self.counts.iter().filter_map(grown).collect(), levels: self.levels.clone(), steps }
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
            self.add_step(name, step);
        }
    }

    fn add_step(&mut self, name: &str, step: &Histogram<u64>) {
        let Some(sum) = self.steps.get_mut(name) else {
            let mut first = step.clone();
            first.auto(true);
            self.steps.insert(name.to_owned(), first);
            return;
        };
        sum.add(step).expect("a histogram that grows takes every value");
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
        let mut found: Vec<(&str, f64)> = self
            .counts
            .iter()
            .filter_map(|(key, value)| {
                let labels = key.strip_prefix(name)?.strip_prefix('{')?.strip_suffix("\"}")?;
                Some((labels.split_once("=\"")?.1, *value))
            })
            .collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1));
        found
    }

    /// As it is kept.
    pub fn write(&self) -> Vec<u8> {
        let steps = self.steps.iter().filter(|(_, step)| !step.is_empty());
        let written = Written {
            counts: self.counts.clone(),
            levels: self.levels.clone(),
            steps: steps.map(|(name, step)| (name.clone(), encoded(step))).collect(),
        };
        serde_json::to_vec(&written).expect("names and numbers can be written")
    }

    /// What `write` wrote; `None` for anything else.
    pub fn parse(written: &[u8]) -> Option<Self> {
        let Written { counts, levels, steps } = serde_json::from_slice(written).ok()?;
        let mut figures = Self { counts, levels, steps: BTreeMap::new() };
        for (name, step) in &steps {
            figures.add_step(name, &histogram(step)?);
        }
        Some(figures)
    }
}

fn sum(table: &BTreeMap<String, f64>, name: &str) -> f64 {
    let is_it =
        |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
    table.iter().filter(|(key, _)| is_it(key)).fold(0.0, |sum, (_, value)| sum + value)
}

/// A histogram in V2 encoding, base64.
fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).expect("a Vec takes every byte");
    STANDARD.encode(bytes)
}

/// The same, compressed, as it stands in interval logs.
pub fn compressed(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("a Vec takes every byte");
    STANDARD.encode(bytes)
}

fn histogram(hdr: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(hdr).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a node says whose step `append` took these microseconds.
    fn node(sent: u64, sessions: u64, append_us: &[u64]) -> Figures {
        let mut step = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        append_us.iter().for_each(|us| step.record(*us).unwrap());
        let metrics = format!(
            "# HELP messages_sent_total x\nmessages_sent_total {sent}\nrelay_sessions_active {sessions}\n\
             relay_refusals_total{{code=\"rate\"}} {sent}\nrelay_refusals_total{{code=\"size\"}} 0\n\
             relay_step_duration_seconds_bucket{{step=\"append\",le=\"1\"}} 9\n"
        );
        let hdr = format!("{{\"shard\":0,\"step\":\"append\",\"hdr\":\"{}\"}}\n", encoded(&step));
        Figures::read(&metrics, &hdr).unwrap()
    }

    #[test]
    fn merged_percentiles_are_those_of_all_measurements() {
        // One node is quick and busy, the other slow: the average of their medians is no median of anything.
        let (quick, slow): (Vec<u64>, Vec<u64>) = ((1..=9000).collect(), (50_001..=51_000).collect());
        let mut exact = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        quick.iter().chain(&slow).for_each(|us| exact.record(*us).unwrap());
        let mut both = node(9000, 3, &quick);
        both.add(&node(1000, 4, &slow));
        let merged = &both.steps["append"];
        for quantile in [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0] {
            assert_eq!(merged.value_at_quantile(quantile), exact.value_at_quantile(quantile), "{quantile}");
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
    fn what_is_no_answer_of_a_node_is_refused() {
        for (metrics, hdr) in
            [("what", ""), ("a b", ""), ("a 1", "{}"), ("a 1", "{\"step\":\"x\",\"hdr\":\"AAAA\"}")]
        {
            assert_eq!(Figures::read(metrics, hdr), None, "{metrics} {hdr}");
        }
        assert_eq!(Figures::parse(b"{}"), None);
        assert!(Figures::default().count("nothing").is_sign_positive(), "nothing is no less than nothing");
    }
}
