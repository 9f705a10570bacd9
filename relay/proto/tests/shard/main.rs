//! The logic of a few shards from outside: events in, effects out, a store in memory, a clock that is told the time.

mod apart;
mod elsewhere;
mod message;
mod missed;
mod node;
mod presence;
mod session;
mod sharing;
mod signal;
mod store;
