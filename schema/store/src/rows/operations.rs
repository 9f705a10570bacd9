//! What operators set, and what is counted for them.

use schema_wire::UserId;

/// Longest value, in bytes.
pub const SETTING_VALUE_BYTES_MAX: usize = 2048;

/// A number that operators set and that others than the console read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounded {
    pub name: &'static str,
    pub least: u64,
    pub most: u64,
    pub default: u64,
}

/// Messages of one account within the window.
pub const MESSAGE_LIMIT: Bounded =
    Bounded { name: "limit-messages", least: 1, most: 1_000_000, default: 100 };
/// That window, in seconds.
pub const MESSAGE_WINDOW: Bounded =
    Bounded { name: "limit-messages-window", least: 1, most: 86_400, default: 60 };
/// Months that messages are kept for; 0: for good.
pub const KEEP_MESSAGES: Bounded =
    Bounded { name: "keep-messages-months", least: 0, most: 1_200, default: 0 };
/// Days that the audit trail is kept for, not fewer than ninety; 0: for good.
pub const KEEP_AUDIT: Bounded = Bounded { name: "keep-audit-days", least: 0, most: 36_500, default: 0 };
/// Fewest days that the audit trail may be kept for.
pub const KEEP_AUDIT_LEAST: u64 = 90;

impl Bounded {
    /// The number, if it is one and within the bounds.
    pub fn read(&self, text: &str) -> Option<u64> {
        let number = text.parse().ok()?;
        let fits = (self.least..=self.most).contains(&number);
        let is_too_short = self.name == KEEP_AUDIT.name && (1..KEEP_AUDIT_LEAST).contains(&number);
        (fits && !is_too_short).then_some(number)
    }

    /// As it is set, or by default: what no longer fits counts as not set.
    pub fn of(&self, set: &[(String, String)]) -> u64 {
        let found = set.iter().find(|(name, _)| name == self.name);
        found.and_then(|(_, value)| self.read(value)).unwrap_or(self.default)
    }
}

/// Another value for a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingChange {
    pub name: &'static str,
    /// `None`: back to the default.
    pub value: Option<String>,
    /// Whether the trail only says that there is one.
    pub is_secret: bool,
}

impl SettingChange {
    /// What the trail says of it: before and after.
    pub(crate) fn told(&self, before: Option<&str>) -> String {
        let word = |value: Option<&str>| match value {
            None => "(default)".to_owned(),
            Some(_) if self.is_secret => "(set)".to_owned(),
            Some(value) => value.to_owned(),
        };
        format!("{}: {} -> {}", self.name, word(before), word(self.value.as_deref()))
    }
}

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
