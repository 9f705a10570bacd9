//! The private servers do what tests of the product rely on. Needs PostgreSQL, PgBouncer and Redis installed.
#![allow(clippy::unwrap_used)]

mod postgres;
mod proxy;
mod redis;
