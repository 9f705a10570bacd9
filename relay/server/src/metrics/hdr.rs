//! `/hdr`: HDR histograms in V2 encoding, base64, one JSON line per shard and step and one for the shard's turns, so that
//! a reader can merge nodes without loss. Quantiles can't be averaged; counts can be added.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use schema_wire::Step;

use super::Snapshot;

/// What the line about a shard's turns has in place of a step's name.
const TURN: &str = "turn";

/// Why a line's histogram cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not base64.
    #[error("not base64")]
    Base64,
    /// Not an HDR histogram in V2 encoding.
    #[error("not an HDR histogram in V2 encoding")]
    Histogram,
}

/// One line per shard and step: `{"shard":0,"step":"append","unit":"us","count":1,"sum":5,"hdr":"…"}`.
pub fn hdr_lines(snapshots: &[Snapshot]) -> String {
    let mut serializer = V2Serializer::new();
    let mut bytes = Vec::new();
    let mut lines = String::new();
    for snapshot in snapshots {
        let metrics = &snapshot.metrics;
        let steps =
            Step::ALL.map(|step| (step.name(), metrics.steps.histogram(step), metrics.steps.sum_us(step)));
        let turns = (TURN, metrics.turns.histogram(), metrics.turns.sum_us());
        for (name, histogram, sum_us) in steps.into_iter().chain([turns]) {
            bytes.clear();
            serializer.serialize(histogram, &mut bytes).expect("a Vec takes every byte");
            let line = serde_json::json!({
                "shard": snapshot.shard.0,
                "step": name,
                "unit": "us",
                "count": histogram.len(),
                "sum": sum_us,
                "hdr": STANDARD.encode(&bytes),
            });
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
    }
    lines
}

/// Reads the `hdr` member of a line back.
///
/// # Errors
/// It is not what [`hdr_lines`] writes.
pub fn decode(hdr: &str) -> Result<Histogram<u64>, DecodeError> {
    let bytes = STANDARD.decode(hdr).map_err(|_| DecodeError::Base64)?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|_| DecodeError::Histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ShardMetrics;
    use schema_wire::ShardId;

    #[test]
    fn lines_read_back_as_the_same_histograms() {
        let mut metrics = ShardMetrics::default();
        (1..5_000).for_each(|elapsed| metrics.step(Step::FanOut, elapsed * 11));
        let lines = hdr_lines(&[metrics.snapshot(ShardId(0)), metrics.snapshot(ShardId(1))]);
        assert_eq!(lines.lines().count(), 2 * (Step::ALL.len() + 1));
        let turns = lines.lines().filter(|line| line.contains("\"turn\""));
        assert!(turns.zip(0..2).all(|(line, shard)| line.contains(&format!("\"shard\":{shard}"))));
        let line = lines.lines().find(|line| line.contains("fan_out")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["shard"], &line["count"], &line["unit"]), (&0.into(), &4_999.into(), &"us".into()));
        let back = decode(line["hdr"].as_str().unwrap()).unwrap();
        assert_eq!(&back, metrics.steps.histogram(Step::FanOut));
        assert_eq!(decode("?"), Err(DecodeError::Base64));
        assert_eq!(decode("AAAA"), Err(DecodeError::Histogram));
    }
}
