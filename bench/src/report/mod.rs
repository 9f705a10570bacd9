//! What was measured, as people and machines read it: a table, JSON lines, a page with plots, the history over
//! commits, and the comparison that CI fails on. Pure functions over rows.

pub mod compare;
pub mod history;
pub mod json;
pub mod row;
pub mod table;
#[cfg(test)]
mod tests;
mod words;

pub use row::{Figure, Row, Run};
