//! What is noticed without anybody reporting it: how much active accounts send, and who may be a banned person again.
//! Messages are ciphertext; only their number, and whether the same bytes go to many, can be seen. What can be read,
//! disclosed evidence that is proven and what people write about themselves, is looked at by rules.

use std::future::Future;

use schema_wire::UserId;

use crate::accounts::Answer;
use crate::rows::account::Origin;
use crate::rows::detection::{ContentKind, ContentRule, ContentRuleId, Evader, Signals};

/// Messages per minute are counted over this, in milliseconds.
pub const MINUTE_MS: u64 = 60_000;
/// The same content to many is looked for within this, in milliseconds.
pub const SAME_WITHIN_MS: u64 = 3_600_000;
/// An account is new for so long, in milliseconds.
pub const NEW_FOR_MS: u64 = 86_400_000;
/// Accounts that sent nothing for so long are not looked at, in milliseconds. More than how late activity is written.
pub const ACTIVE_WITHIN_MS: u64 = 2 * MINUTE_MS;
/// Most accounts looked at in one go, the most recently active first.
pub const SENDERS_MAX: u32 = 20_000;
/// Messages of one account are not counted further: the cost of a look is bounded however much somebody sends.
pub const COUNTED_MAX: u32 = 10_000;
/// Among so many of an account's newest messages the same content is looked for.
pub const COMPARED_MAX: u32 = 1_000;

/// Flags of these rules stand on the moderators' dashboard.
pub const NEW_ACCOUNT: &str = "NEW_ACCOUNT";
/// The same.
pub const EVASION: &str = "EVASION";
/// The same.
pub const DUPLICATE: &str = "DUPLICATE";
/// Accounts of each rule on the dashboard.
pub const SIGNALS_MAX: u32 = 10;
/// New accounts are compared with those banned within this, in milliseconds.
pub const EVASION_WITHIN_MS: u64 = 30 * 86_400_000;
/// Most accounts compared, of either side, the newest first.
pub const EVASION_ACCOUNTS_MAX: u32 = 1_000;
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// What one active account sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sender {
    pub user: UserId,
    /// Whether it has a role in the console.
    pub is_staff: bool,
    /// Messages of the last minute, [`COUNTED_MAX`] at most.
    pub minute: u64,
    /// Messages of an account's first day, [`COUNTED_MAX`] at most; 0: it is older.
    pub first_day: u64,
    /// To how many conversations the same content went within an hour, among its [`COMPARED_MAX`] newest messages.
    pub same: u64,
}

/// What detecting needs of a store.
pub trait Detection: Clone + Send + Sync + 'static {
    /// Active accounts that sent at least `at_least` messages within an hour.
    fn senders(&self, at_least: u64) -> impl Future<Output = Answer<Vec<Sender>>> + Send;
    /// New accounts, once each, that were used with the key of a device, or from an address, of a banned one, and are not
    /// flagged for it yet.
    fn evaders(&self) -> impl Future<Output = Answer<Vec<Evader>>> + Send;
    /// What is worth a look besides the cases.
    fn signals(&self) -> impl Future<Output = Answer<Signals>> + Send;

    /// Rules about contents, by kind and text.
    fn content_rules(&self) -> impl Future<Output = Answer<Vec<ContentRule>>> + Send;
    /// Adds one. `Overtaken`: there is such a rule. `TooMany`, `Invalid`.
    fn add_content_rule(
        &self,
        kind: ContentKind,
        text: String,
        by: Origin,
    ) -> impl Future<Output = Answer<ContentRuleId>> + Send;
    /// Removes one. `Overtaken`: it is gone.
    fn remove_content_rule(
        &self,
        wanted: ContentRuleId,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
}
