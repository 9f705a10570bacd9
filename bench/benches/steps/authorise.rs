//! Authorise: the decision about one publish, from what the shard remembers of its conversations and members.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use relay_proto::measured::Authorise;
use schema_wire::{ConversationId, UserId};

const MEMBERS: u64 = 10;
const NOW_MS: u64 = 1_700_000_000_000;

/// Members of few and of many conversations, asked in an order that no cache of the processor foresees.
pub fn authorise(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("authorise");
    for conversations in [10, 10_000] {
        let mut known = Authorise::default();
        for number in 0..conversations * MEMBERS {
            let (conversation, user) = place(number, conversations);
            known.remember(conversation, user, None);
        }
        let mut number = 0u64;
        group.bench_function(BenchmarkId::new("known_member", conversations * MEMBERS), |bencher| {
            bencher.iter(|| {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (conversation, user) = place((number >> 32) % (conversations * MEMBERS), conversations);
                assert!(known.may_publish(black_box(conversation), black_box(user), NOW_MS));
            });
        });
    }
    group.finish();
}

/// The conversation and user of one membership.
fn place(number: u64, conversations: u64) -> (ConversationId, UserId) {
    let id = |number: u64| (u128::from(number) << 64 | u128::from(number)).to_be_bytes();
    (ConversationId(id(number % conversations)), UserId(id(number)))
}
