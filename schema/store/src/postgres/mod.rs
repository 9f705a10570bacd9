//! PostgreSQL: its schema for now. The store on top of it implements the same traits as the embedded one.

mod migrate;

pub use migrate::{MigrateError, migrate};
