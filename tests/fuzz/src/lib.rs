//! Everything that reads a stranger's bytes, as functions that panic when a promise is broken and never for bad input.
//! Runs in tests (the committed corpora) and in the `fuzz` binary (seeded mutation of them).

pub mod corpus;
mod coverage;
pub mod engine;
pub mod mutate;
mod random;
pub mod script;
pub mod target;
pub mod trace;

pub use target::{TARGETS, Target};
