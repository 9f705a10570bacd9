//! What is kept: SQL migrations, row types, the store traits and their SQLite and PostgreSQL implementations.

pub mod accounts;
pub mod audit_chain;
pub mod rows;
pub mod store;
pub mod token;

pub use accounts::{AccountError, Accounts};
pub use store::{ChangePosition, Store};
