//! What is kept: SQL migrations, row types, the store traits and their SQLite and PostgreSQL implementations.

mod accept;
pub mod accounts;
pub mod audit_chain;
pub mod console;
pub mod content;
pub mod detection;
mod email;
pub mod franking;
pub mod moderation;
pub mod nodes;
pub mod operations;
pub mod oversight;
mod page;
pub mod postgres;
pub mod redis;
pub mod rows;
pub mod secret;
pub mod services;
pub mod sqlite;
mod statement;
pub mod store;
mod stored;
pub mod token;

pub use accounts::{AccountError, Accounts};
pub use console::ConsoleAccess;
pub use detection::Detection;
pub use email::{EMAIL_BYTES_MAX, normalise_email};
pub use moderation::Moderation;
pub use nodes::Nodes;
pub use operations::Operations;
pub use oversight::Oversight;
pub use postgres::PostgresStore;
pub use services::Services;
pub use sqlite::{OpenError, SqliteStore};
pub use store::{Answered, ChangePosition, Store, Tried, Work};
pub use token::{NewToken, TokenHash};

/// A fresh UUIDv7 for a row made at `unix_ms`.
pub(crate) fn fresh_id(unix_ms: u64) -> [u8; 16] {
    let mut random = [0u8; 10];
    getrandom::fill(&mut random).expect("the operating system has randomness");
    schema_wire::UserId::v7(unix_ms, random).0
}
