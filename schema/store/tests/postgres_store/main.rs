//! The store on PostgreSQL beyond the contract that all stores keep: opening, several nodes, poolers, replicas, deaths.
#![allow(clippy::unwrap_used)]

mod append;
mod cache;
mod changes;
mod condition;
mod death;
mod housekeeping;
mod nodes;
mod open;
mod replica;
mod seed;
