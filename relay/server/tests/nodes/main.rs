//! Whole relays on one store and a real Redis between them: what crosses, and that nothing acked is lost and nobody loses
//! a session, whatever happens to Redis.

mod away;
mod cluster;
mod cost;
mod cross;
mod town;
