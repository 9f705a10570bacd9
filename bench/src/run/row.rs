//! What the turns of a shape come to: medians of ratios made within one turn each, latencies merged without loss.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};

use super::pairs::{Other, Turn};
use super::shape::{Against, Goal, Shape};
use crate::plan::{Carrier, Kind, Outcome, Pace};
use crate::report::{Figure, Row};

/// Spread of the floor's CPU over the turns above which the machine was too noisy for single figures.
const SPREAD_MAX: f64 = 1.5;

/// What a reader that stopped may cost the server: its outbox, and what is sealed for it until it is given up.
const STOPPED_KIB_MAX: u64 = 512;

/// The row of a shape.
pub fn of(shape: &Shape, turns: &[Turn]) -> Result<Row> {
    let mut row = frame(shape, turns.len());
    let relays: Vec<&Outcome> = turns.iter().map(|turn| &turn.relay).collect();
    row.cpu_us_per_delivery = median(relays.iter().map(|o| cpu_us(shape, o)));
    row.dps = median(relays.iter().map(|o| rate(shape, o)));
    row.rss_kib_per_conn = median(relays.iter().map(|o| memory(o)));
    row.spread = spread(relays.iter().map(|o| cpu_us(shape, o)));
    let latency = merged(shape, &relays)?;
    [row.p50_us, row.p99_us, row.p999_us, row.max_us] = quantiles(&latency);
    row.hdr = encode(&latency);
    let ratio = against(shape, turns, &mut row)?;
    row.ratio = ratio;
    (row.goal, row.met) = judge(shape, &row);
    if let Some((figure, limit)) = shape.goal.and_then(figure) {
        (row.goal_figure, row.goal_limit) = (Some(figure), limit);
    }
    Ok(row)
}

/// A row that says what was asked, without figures.
pub fn frame(shape: &Shape, runs: usize) -> Row {
    Row {
        shape: shape.name.into(),
        transport: match shape.carrier {
            Carrier::Quic => "quic".into(),
            Carrier::Plain | Carrier::Websocket => "websocket".into(),
        },
        n: (shape.seats.rooms * shape.seats.subscribers) as u64,
        payload: shape.payload as u64,
        kind: match shape.kind {
            Kind::Ephemeral => "ephemeral".into(),
            Kind::Durable => "durable".into(),
        },
        floor: match shape.against {
            Against::Floor(kind) => format!("{kind:?}").to_lowercase(),
            Against::OneShard => "one shard".into(),
            Against::AllRead => "everybody reads".into(),
            Against::Commit => "group commit".into(),
            Against::Alone => String::new(),
        },
        runs: runs as u64,
        ..Row::default()
    }
}

/// Fills in what the relay was measured against; the ratio that the shape is about.
fn against(shape: &Shape, turns: &[Turn], row: &mut Row) -> Result<f64> {
    let mut floors = Vec::new();
    for turn in turns {
        match &turn.other {
            Other::Served(outcome) => floors.push(outcome),
            Other::Committed(commit) => {
                row.floor_cpu_us = commit.cpu_us_per_row;
                row.floor_dps = commit.rows_per_s;
                row.floor_p50_us = commit.commit_p50_us;
                row.floor_p99_us = commit.commit_p99_us;
            }
        }
    }
    if floors.is_empty() {
        let commits = turns.iter().filter_map(|turn| match &turn.other {
            Other::Committed(commit) => Some((&turn.relay, commit)),
            Other::Served(_) => None,
        });
        row.floor_dps = median(commits.clone().map(|(_, commit)| commit.rows_per_s));
        row.floor_p50_us = median(commits.clone().map(|(_, commit)| commit.commit_p50_us));
        return Ok(median(commits.map(|(relay, commit)| rate(shape, relay) / commit.rows_per_s)));
    }
    row.floor_cpu_us = median(floors.iter().map(|o| cpu_us(shape, o)));
    row.floor_dps = median(floors.iter().map(|o| rate(shape, o)));
    row.floor_rss_kib_per_conn = median(floors.iter().map(|o| memory(o)));
    row.noisy = spread(floors.iter().map(|o| cpu_us(shape, o))) > SPREAD_MAX;
    let latency = merged(shape, &floors)?;
    [row.floor_p50_us, row.floor_p99_us, row.floor_p999_us, row.floor_max_us] = quantiles(&latency);
    row.floor_hdr = encode(&latency);
    let both = turns.iter().map(|turn| &turn.relay).zip(floors);
    both.clone().try_for_each(|(relay, floor)| stopped_are_bounded(relay, floor))?;
    Ok(match shape.goal {
        Some(Goal::RateRatio(_) | Goal::Rate(_)) => {
            median(both.map(|(relay, floor)| rate(shape, relay) / rate(shape, floor)))
        }
        Some(Goal::Memory(_)) => median(both.map(|(relay, floor)| memory(relay) / memory(floor))),
        _ => median(both.map(|(relay, floor)| cpu_us(shape, relay) / cpu_us(shape, floor))),
    })
}

/// Refuses a turn in which readers that stopped cost more memory than their bounds allow.
fn stopped_are_bounded(relay: &Outcome, all_read: &Outcome) -> Result<()> {
    let most = all_read.rss_peak_kib + relay.stopped * STOPPED_KIB_MAX;
    ensure!(
        relay.stopped == 0 || relay.rss_peak_kib <= most,
        "{} KiB resident at most with stopped readers, where {most} is their bound: no result",
        relay.rss_peak_kib
    );
    Ok(())
}

/// The goal in words, and whether it is met.
fn judge(shape: &Shape, row: &Row) -> (String, Option<bool>) {
    let Some(goal) = shape.goal else { return (String::new(), None) };
    let latency = |quantile: f64, of: f64| if of > 0.0 { quantile / of } else { f64::INFINITY };
    let (words, met) = match goal {
        Goal::CpuRatio(most) => (format!("CPU at most {most} x"), row.ratio <= most),
        Goal::RateRatio(least) => (format!("rate at least {least} x"), row.ratio >= least),
        Goal::Rate(least) => (format!("at least {:.1} M/s", least / 1e6), row.dps >= least),
        Goal::LatencyRatio(most) => (
            format!("p50 and p99 at most {most} x"),
            latency(row.p50_us, row.floor_p50_us) <= most && latency(row.p99_us, row.floor_p99_us) <= most,
        ),
        Goal::P99Ratio(most) => (
            format!("p99 at most {most} x, all cut and recovered"),
            latency(row.p99_us, row.floor_p99_us) <= most,
        ),
        Goal::Memory(most) => (format!("at most {most} KiB each"), row.rss_kib_per_conn <= most),
        Goal::Connects(least) => {
            (format!("at least {least} per CPU second"), 1e6 / row.cpu_us_per_delivery >= least)
        }
        Goal::CommitRatio(most) => {
            (format!("ack p99 at most {most} commits"), latency(row.p99_us, row.floor_p50_us) <= most)
        }
        Goal::Allocations(most) => (format!("{most} per delivery"), row.ratio <= most),
    };
    (words, Some(met))
}

/// The one number a goal is about, where it is one.
fn figure(goal: Goal) -> Option<(Figure, f64)> {
    Some(match goal {
        Goal::CpuRatio(most) => (Figure::CpuRatio, most),
        Goal::RateRatio(least) => (Figure::DpsRatio, least),
        Goal::Rate(least) => (Figure::Dps, least),
        Goal::P99Ratio(most) | Goal::LatencyRatio(most) => (Figure::P99Ratio, most),
        Goal::Memory(most) => (Figure::RssKib, most),
        Goal::Connects(least) => (Figure::CpuUs, 1e6 / least),
        Goal::CommitRatio(_) | Goal::Allocations(_) => return None,
    })
}

/// Whether acks, not deliveries, are what a shape is about.
fn counts_acks(shape: &Shape) -> bool {
    shape.against == Against::Commit
}

/// CPU microseconds of the server per delivery, ack or connect.
fn cpu_us(shape: &Shape, outcome: &Outcome) -> f64 {
    outcome.server_cpu_s * 1e6 / events(shape, outcome)
}

fn rate(shape: &Shape, outcome: &Outcome) -> f64 {
    events(shape, outcome) / outcome.seconds
}

fn events(shape: &Shape, outcome: &Outcome) -> f64 {
    let events = match shape.pace {
        Pace::Storm { .. } => outcome.connections,
        _ if counts_acks(shape) => outcome.acked,
        _ => outcome.delivered,
    };
    events as f64
}

fn memory(outcome: &Outcome) -> f64 {
    outcome.rss_after_kib.saturating_sub(outcome.rss_before_kib) as f64 / outcome.connections.max(1) as f64
}

fn merged(shape: &Shape, outcomes: &[&Outcome]) -> Result<Histogram<u64>> {
    let mut all = Histogram::new(3).context("three digits are valid")?;
    for outcome in outcomes {
        let text = if counts_acks(shape) { &outcome.ack_ns } else { &outcome.delivery_ns };
        if !text.is_empty() {
            all.add(decode(text)?)?;
        }
    }
    Ok(all)
}

fn quantiles(latency: &Histogram<u64>) -> [f64; 4] {
    let us = |ns: u64| ns as f64 / 1_000.0;
    [0.5, 0.99, 0.999, 1.0].map(|quantile| us(latency.value_at_quantile(quantile)))
}

/// Two histograms as one; nothing where there is none.
pub fn joined(a: &str, b: &str) -> Result<String> {
    if a.is_empty() || b.is_empty() {
        return Ok([a, b].concat());
    }
    let mut both = decode(a)?;
    both.add(decode(b)?)?;
    Ok(encode(&both))
}

fn decode(text: &str) -> Result<Histogram<u64>> {
    Ok(Deserializer::new().deserialize(&mut STANDARD.decode(text)?.as_slice())?)
}

fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).expect("a Vec takes every byte");
    STANDARD.encode(bytes)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

fn spread(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.fold(0.0, f64::max);
    if low > 0.0 { high / low } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median(std::iter::empty()), 0.0);
    }

    #[test]
    fn goals_are_judged_on_both_sides() {
        let shape = |goal| Shape { goal: Some(goal), ..super::super::shape::SHAPES[0] };
        let row = Row {
            ratio: 1.1,
            p50_us: 10.0,
            p99_us: 100.0,
            floor_p50_us: 9.0,
            floor_p99_us: 50.0,
            ..Row::default()
        };
        for (goal, met) in [
            (Goal::CpuRatio(1.1), true),
            (Goal::CpuRatio(1.09), false),
            (Goal::RateRatio(1.2), false),
            (Goal::LatencyRatio(2.0), true),
            (Goal::LatencyRatio(1.5), false),
        ] {
            assert_eq!(judge(&shape(goal), &row).1, Some(met), "{goal:?}");
        }
    }
}
