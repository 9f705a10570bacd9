//! What operators set, and what is counted for them.

use schema_wire::UserId;

/// Longest value, in bytes.
pub const SETTING_VALUE_BYTES_MAX: usize = 2048;

/// A setting that somebody changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// A name; empty when its account is gone.
    pub changed_by: String,
    pub changed_at: u64,
}

/// What was counted of all accounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statistics {
    /// When.
    pub taken_at: u64,
    /// Accounts that were active within seven days.
    pub active: u64,
    /// Accounts made since midnight, UTC.
    pub new_today: u64,
    /// Who sent most messages, most first.
    pub senders: Vec<Ranked>,
    /// Whose media take most room, in bytes, most first.
    pub storage: Vec<Ranked>,
}

/// An account in a list by number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ranked {
    pub user: UserId,
    /// `None` once deleted.
    pub email: Option<String>,
    pub number: u64,
}
