//! What is kept: SQL migrations, row types, the store traits and their SQLite and PostgreSQL implementations.

pub mod store;

pub use store::{ChangePosition, Store};
