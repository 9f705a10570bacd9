//! What operators set.

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
