//! Durations counted as an HDR histogram counts them, but only the buckets that hold something: a stretch of figures is
//! some hundred numbers instead of seventeen thousand. Nothing is lost on the way to and from a histogram.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

/// Longest duration that nodes tell apart, in microseconds, and how exactly.
const US_MAX: u64 = 60_000_000;
const DIGITS: u8 = 3;

/// For each bucket that holds something its largest value, rising, and how many it holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Times(Vec<(u64, u64)>);

impl Times {
    /// Those of a histogram in V2 encoding, base64, as nodes tell it.
    pub fn told(hdr: &str) -> Option<Self> {
        let bytes = STANDARD.decode(hdr).ok()?;
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
        let buckets = histogram.iter_recorded();
        let top = |value| histogram.highest_equivalent(value);
        Some(Self(buckets.map(|one| (top(one.value_iterated_to()), one.count_at_value())).collect()))
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The longest, in microseconds.
    pub fn max(&self) -> u64 {
        self.0.last().map_or(0, |(top, _)| *top)
    }

    /// What so large a share of them takes at most, in microseconds; counted as HDR histograms do.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let wanted = ((quantile.min(1.0) * self.len() as f64).ceil() as u64).max(1);
        let mut so_far = 0;
        let reached = self.0.iter().find(|(_, count)| {
            so_far += count;
            so_far >= wanted
        });
        reached.map_or(0, |(top, _)| *top)
    }

    /// The buckets, each with its largest value.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        let mut merged = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut own, mut more) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            match (own.peek(), more.peek()) {
                (Some((a, count)), Some((b, extra))) if a == b => {
                    merged.push((*a, count + extra));
                    own.next();
                    more.next();
                }
                (Some((a, _)), Some((b, _))) if a > b => merged.extend(more.next()),
                (Some(_), _) => merged.extend(own.next()),
                (None, Some(_)) => merged.extend(more.next()),
                (None, None) => break,
            }
        }
        self.0 = merged;
    }

    /// What came on top of `earlier`; `None` when these do not contain it: whoever counts began anew.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut rest = earlier.0.iter().peekable();
        let mut grown = Vec::new();
        for (top, count) in &self.0 {
            let before = rest.next_if(|(known, _)| known == top).map_or(0, |(_, before)| *before);
            match count.checked_sub(before)? {
                0 => {}
                more => grown.push((*top, more)),
            }
        }
        rest.next().is_none().then_some(Self(grown))
    }

    /// The same as a histogram, compressed, base64, as it stands in interval logs.
    pub fn log_entry(&self) -> String {
        let mut histogram =
            Histogram::<u64>::new_with_bounds(1, US_MAX, DIGITS).expect("constant bounds are valid");
        self.0.iter().for_each(|(top, count)| histogram.saturating_record_n(*top, *count));
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&histogram, &mut bytes).expect("a Vec takes every byte");
        STANDARD.encode(bytes)
    }

    /// As they are kept: steps from bucket to bucket and counts, seven bits a byte, base64.
    pub fn write(&self) -> String {
        let mut bytes = Vec::new();
        let mut last = 0;
        for (top, count) in &self.0 {
            put(&mut bytes, top - last);
            put(&mut bytes, *count);
            last = *top;
        }
        STANDARD.encode(bytes)
    }

    /// What `write` wrote; `None` for anything else.
    pub fn parse(written: &str) -> Option<Self> {
        let bytes = STANDARD.decode(written).ok()?;
        let mut rest = bytes.as_slice();
        let (mut buckets, mut last) = (Vec::new(), 0u64);
        while !rest.is_empty() {
            let (step, count) = (take(&mut rest)?, take(&mut rest)?);
            last = last.checked_add(step)?;
            if step == 0 || count == 0 {
                return None;
            }
            buckets.push((last, count));
        }
        Some(Self(buckets))
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
pub mod tests {
    use hdrhistogram::serialization::V2Serializer;

    use super::*;

    pub fn histogram(durations_us: impl IntoIterator<Item = u64>) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, US_MAX, DIGITS).unwrap();
        durations_us.into_iter().for_each(|us| histogram.record(us).unwrap());
        histogram
    }

    /// As a node tells it.
    pub fn hdr(histogram: &Histogram<u64>) -> String {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(histogram, &mut bytes).unwrap();
        STANDARD.encode(bytes)
    }

    fn times(durations_us: impl IntoIterator<Item = u64>) -> Times {
        Times::told(&hdr(&histogram(durations_us))).unwrap()
    }

    /// Durations without order or pattern, over all magnitudes.
    fn many(seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        (0..20_000).map(move |n| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            1 + (state >> 33) % 10u64.pow(1 + n % 7)
        })
    }

    #[test]
    fn they_are_what_a_histogram_of_all_durations_says() {
        let whole = histogram(many(1).chain(many(2)).chain(many(3)));
        let mut sum = times(many(1));
        sum.add(&times(many(2)));
        sum.add(&times(many(3)));
        for quantile in [0.0001, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0, 2.0] {
            assert_eq!(sum.quantile(quantile), whole.value_at_quantile(quantile), "{quantile}");
        }
        assert_eq!((sum.len(), sum.max()), (whole.len(), whole.max()));
        assert_eq!(Times::told(&hdr(&whole)).unwrap(), sum, "merged is as good as counted together");
        assert_eq!(sum.since(&times(many(2).chain(many(3)))), Some(times(many(1))));
        let logged = STANDARD.decode(sum.log_entry()).unwrap();
        let logged: Histogram<u64> = Deserializer::new().deserialize(&mut logged.as_slice()).unwrap();
        assert_eq!(logged, whole, "and downloads lose nothing");
        assert_eq!(Times::parse(&sum.write()), Some(sum));
    }

    #[test]
    fn who_began_anew_is_noticed() {
        let (few, more) = (times([5, 5, 70]), times([5, 5, 5, 70, 900]));
        assert_eq!(more.since(&few), Some(times([5, 900])));
        assert_eq!(few.since(&more), None);
        assert_eq!(times([5, 5, 5, 900]).since(&few), None, "seventy is missing");
        assert_eq!(few.since(&few), Some(Times::default()));
        assert_eq!(few.since(&Times::default()), Some(few));
    }

    #[test]
    fn nothing_is_read_that_was_not_written() {
        assert_eq!(Times::parse(""), Some(Times::default()));
        for wrong in ["?", "AAAA", "gA==", "BQ==", "BQA=", "////////////"] {
            assert_eq!(Times::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Times::told("AAAA"), None);
        assert_eq!((Times::default().quantile(0.5), Times::default().max()), (0, 0));
    }
}
