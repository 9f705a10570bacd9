//! Row types of the account side, independent of the database behind them.

pub mod account;
pub mod backup;
pub mod condition;
pub mod console;
pub mod conversation;
pub mod detection;
pub mod device;
pub mod export;
pub mod moderation;
pub mod node;
pub mod operations;
pub mod oversight;
pub mod role;
pub mod service;
