//! The steps that a shard decides, through its front door: events in, effects out, outboxes drained.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

use crate::world::{Spent, World};

const SUBSCRIBERS: [u32; 3] = [1, 100, 1_000];

/// One publication from its decoded frame to the question to the store.
pub fn admit(criterion: &mut Criterion) {
    let mut world = World::new(1);
    let mut group = criterion.benchmark_group("admit");
    group.bench_function("admit_authorise_append", |bencher| {
        bencher.iter_custom(|times| total(&mut world, times, |spent| spent.asked));
    });
    group.finish();
}

/// The store's answer, with nobody to deliver to: the append ends and is acked.
pub fn append(criterion: &mut Criterion) {
    let mut world = World::new(0);
    let mut group = criterion.benchmark_group("append");
    group.bench_function("append_ack", |bencher| {
        bencher.iter_custom(|times| total(&mut world, times, |spent| spent.stored));
    });
    group.finish();
}

/// The store's answer into every outbox and out again; per delivered message by the throughput.
pub fn fan_out(criterion: &mut Criterion) {
    by_subscribers(criterion, ("fan_out", "fan_out_deliver_drain"), |spent| spent.stored + spent.drained);
}

/// Draining alone.
pub fn deliver(criterion: &mut Criterion) {
    by_subscribers(criterion, ("deliver", "drain"), |spent| spent.drained);
}

fn by_subscribers(criterion: &mut Criterion, (step, parts): (&str, &str), part: fn(Spent) -> Duration) {
    let mut group = criterion.benchmark_group(step);
    for subscribers in SUBSCRIBERS {
        let mut world = World::new(subscribers);
        group.throughput(Throughput::Elements(u64::from(subscribers)));
        group.bench_function(BenchmarkId::new(parts, subscribers), |bencher| {
            bencher.iter_custom(|times| total(&mut world, times, part));
        });
    }
    group.finish();
}

fn total(world: &mut World, times: u64, part: fn(Spent) -> Duration) -> Duration {
    (0..times).map(|_| part(world.publication().1)).sum()
}
