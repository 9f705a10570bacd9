//! Measures the steps of a message's life alone, without sockets, threads or a store: what of the CPU per delivery is
//! the relay's own. Groups are named like the steps; what can't be told apart from outside says so in its name.

mod authorise;
mod decode;
mod seal;
mod shard;
mod world;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    decode::decode,
    authorise::authorise,
    shard::admit,
    shard::append,
    shard::fan_out,
    shard::deliver,
    seal::seal
);
criterion_main!(benches);
