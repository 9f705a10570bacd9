//! The front door of the API: what happens to every request before and after its route.

pub mod body;
pub mod guard;
pub mod headers;
pub mod metrics;
pub mod observe;
pub mod problem;
pub mod rule;
