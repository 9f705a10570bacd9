//! What account calls accept, whichever store keeps it: lengths, forms, sizes of pages.

use bytes::Bytes;

use crate::accounts::{
    ADD_TO_GROUPS, AccountError, Answer, KEY_BYTES_MAX, NAME_BYTES_MAX, PAGE_ROWS_MAX,
    REQUEST_MESSAGES_DEFAULT, SETTING_BYTES_MAX,
};
use crate::email::normalise_email;
use crate::rows::device::KeyUpload;

/// Longest reason of a moderator's act, in bytes.
pub const REASON_BYTES_MAX: usize = 512;
/// Longest reason of an erasure, in bytes.
pub const ERASURE_REASON_BYTES_MAX: usize = 256;
/// Why an account was erased that nobody let in, as the ledger says it.
pub const REFUSED: &str = "registration refused";
/// Longest text about oneself, in bytes.
pub const ABOUT_BYTES_MAX: usize = 1024;
/// Longest name of a setting, in bytes.
const SETTING_NAME_BYTES_MAX: usize = 64;

/// A trimmed name of sensible length without control characters.
pub fn clean_name(field: &'static str, text: &str) -> Answer<String> {
    let name = text.trim();
    if name.is_empty() {
        return Err(AccountError::Invalid { field, problem: "must not be empty" });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(AccountError::Invalid { field, problem: "at most 128 bytes" });
    }
    if name.chars().any(char::is_control) {
        return Err(AccountError::Invalid { field, problem: "no control characters" });
    }
    Ok(name.to_owned())
}

/// Cuts a text to so many bytes at a character boundary.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Rows of one page.
pub fn page(limit: u32) -> u32 {
    limit.clamp(1, PAGE_ROWS_MAX)
}

/// The address in the form it is kept in.
pub fn must_be_email(text: &str) -> Answer<String> {
    normalise_email(text).ok_or(AccountError::Invalid { field: "email", problem: "not an email address" })
}

/// Seconds after which messages expire, if they do.
pub fn must_be_lifetime(ttl: Option<u32>) -> Answer<()> {
    match ttl {
        Some(0) => Err(AccountError::Invalid { field: "ttl", problem: "at least one second" }),
        _ => Ok(()),
    }
}

/// When a suspension ends, if it does by itself.
pub fn must_be_ahead(until: Option<u64>, now: u64) -> Answer<()> {
    match until {
        Some(until) if until <= now => {
            Err(AccountError::Invalid { field: "until", problem: "must be in the future" })
        }
        _ => Ok(()),
    }
}

/// A setting's name and value.
pub fn must_be_setting(name: &str, value: &str) -> Answer<()> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || name.len() > SETTING_NAME_BYTES_MAX || !name.chars().all(word) {
        return Err(AccountError::Invalid { field: "name", problem: "1 to 64 of a-z, 0-9, _ . -" });
    }
    if value.len() > SETTING_BYTES_MAX {
        return Err(AccountError::Invalid { field: "value", problem: "at most 4096 bytes" });
    }
    if name == ADD_TO_GROUPS && !value.is_empty() && AddsDirectly::parse(value).is_none() {
        return Err(AccountError::Invalid { field: "value", problem: "everybody, known or nobody" });
    }
    Ok(())
}

/// Who may add somebody to a group without asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddsDirectly {
    Everybody,
    /// Who shares a conversation that both agreed to.
    Known,
    Nobody,
}

impl AddsDirectly {
    /// As a setting says it. What this program does not know asks first.
    pub fn of(setting: Option<&str>) -> Self {
        setting.map_or(Self::Everybody, |value| Self::parse(value).unwrap_or(Self::Nobody))
    }

    fn parse(value: &str) -> Option<Self> {
        match value {
            "everybody" => Some(Self::Everybody),
            "known" => Some(Self::Known),
            "nobody" => Some(Self::Nobody),
            _ => None,
        }
    }
}

/// Messages of a first contact, from what an operator set.
pub fn request_messages(setting: Option<&str>) -> u64 {
    setting.and_then(|value| value.parse().ok()).unwrap_or(REQUEST_MESSAGES_DEFAULT)
}

/// Sizes of what a device publishes.
pub fn must_be_keys(keys: &KeyUpload) -> Answer<()> {
    let fits = |key: &Bytes| (1..=KEY_BYTES_MAX).contains(&key.len());
    if keys.identity.iter().chain(&keys.packages).chain(&keys.last_resort).all(fits) {
        Ok(())
    } else {
        Err(AccountError::Invalid { field: "keys", problem: "1 byte to 16 KiB each" })
    }
}
