//! Moderation's view of the store: reports and flags come in, cases are claimed, decisions wait, take effect, are taken
//! back. Each call is one transaction, audit entries included: what was done and what was written down never differ.

use std::future::Future;

use schema_wire::UserId;

use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Erasure, Origin};
use crate::rows::moderation::{
    CaseCounts, CaseDetail, CaseFilter, CaseRow, Decision, DecisionId, DueLetter, ErasureRequest, Measure,
    NewDecision, NewFlag, NewReport, ReportId,
};

/// How long a decision waits before it takes effect, in milliseconds.
pub const UNDO_MS: u64 = 10_000;
/// How long a claim lasts, in milliseconds.
pub const CLAIM_MS: u64 = 15 * 60_000;
/// How long a mute lasts, in milliseconds.
pub const MUTE_MS: u64 = 7 * 86_400_000;
/// Days a suspension may last.
pub const SUSPENSION_DAYS: core::ops::RangeInclusive<u32> = 7..=30;
/// Longest disclosed evidence, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 64 * 1024;
/// Longest reason, comment or notice, in bytes.
pub const TEXT_BYTES_MAX: usize = 2048;
/// Most open reports of one reporter.
pub const OPEN_REPORTS_MAX: usize = 200;

/// What moderation needs of a store.
pub trait Moderation: Clone + Send + Sync + 'static {
    /// Files a report; the same one again gives the first one's id. A message must be one the reporter may read, and the
    /// subject's: `NotFound` and `Invalid` otherwise.
    fn file_report(&self, new: NewReport, by: Origin) -> impl Future<Output = Answer<ReportId>> + Send;
    /// Whom a report is about. `NotFound`: there is no such report, or the account is gone.
    fn reported(&self, report: ReportId) -> impl Future<Output = Answer<UserId>> + Send;
    /// Flags an account; nothing while a flag of the same rule is open, or was raised within `quiet_ms`.
    fn raise_flag(&self, new: NewFlag) -> impl Future<Output = Answer<()>> + Send;

    /// Oldest first (resolved ones: newest first); `after` is time and user of the last one seen.
    fn cases(
        &self,
        filter: CaseFilter,
        after: Option<(u64, UserId)>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<CaseRow>>> + Send;
    /// How much there is to do.
    fn case_counts(&self) -> impl Future<Output = Answer<CaseCounts>> + Send;
    /// Everything about one case; of an account that nobody ever reported, an empty one. `NotFound`: no such account.
    fn case(&self, subject: UserId) -> impl Future<Output = Answer<CaseDetail>> + Send;
    /// Claims an open case for a while, or prolongs the claim. `Overtaken`: somebody else has it.
    fn claim_case(&self, subject: UserId, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// Gives an own claim up.
    fn release_case(&self, subject: UserId, by: Origin) -> impl Future<Output = Answer<()>> + Send;

    /// Keeps a decision until its time comes; a ban waits for a second moderator first. `Overtaken`: the case is claimed
    /// by somebody else, or decided already. `NotAllowed`: oneself, or staff without being an administrator.
    fn decide(&self, new: NewDecision, by: Origin) -> impl Future<Output = Answer<Decision>> + Send;
    /// The second pair of eyes: agrees or refuses. `NotAllowed` for whoever decided. `Overtaken`: it does not wait.
    fn second(
        &self,
        decision: DecisionId,
        agrees: bool,
        by: Origin,
    ) -> impl Future<Output = Answer<Decision>> + Send;
    /// Takes a decision back before it takes effect. `Overtaken`: it did already.
    fn undo(&self, decision: DecisionId, by: Origin) -> impl Future<Output = Answer<Decision>> + Send;
    /// Takes a decision back after it took effect. `Overtaken`: it did not, or not any more.
    fn reverse(
        &self,
        decision: DecisionId,
        reason: String,
        by: Origin,
    ) -> impl Future<Output = Answer<Decision>> + Send;
    /// Lets the decision take effect whose time came first. `None`: no time came yet.
    fn apply_due(&self) -> impl Future<Output = Answer<Option<Decision>>> + Send;
    /// One decision.
    fn decision(&self, decision: DecisionId) -> impl Future<Output = Answer<Decision>> + Send;
    /// Decisions that wait for a second pair of eyes, oldest first.
    fn waiting_decisions(&self, limit: u32) -> impl Future<Output = Answer<Vec<Decision>>> + Send;

    /// Keeps a note about an account, for whoever looks at it next. `Invalid`: empty or too long.
    fn add_note(&self, subject: UserId, text: String, by: Origin) -> impl Future<Output = Answer<()>> + Send;

    /// Asks for an account to be erased; another administrator has to agree. `Overtaken`: somebody asked already.
    fn ask_erasure(
        &self,
        subject: UserId,
        reason: String,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Takes it back. `Overtaken`: nobody asks any more.
    fn withdraw_erasure(&self, subject: UserId, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// Agrees: the account is erased at once and for good. `NotAllowed` for whoever asked.
    fn agree_to_erasure(&self, subject: UserId, by: Origin) -> impl Future<Output = Answer<Erasure>> + Send;
    /// What is asked for about one account.
    fn erasure_asked(&self, subject: UserId) -> impl Future<Output = Answer<Option<ErasureRequest>>> + Send;
    /// What is asked for, oldest first.
    fn erasures_asked(&self, limit: u32) -> impl Future<Output = Answer<Vec<ErasureRequest>>> + Send;

    /// Letters still to be sent.
    fn due_letters(&self, limit: u32) -> impl Future<Output = Answer<Vec<DueLetter>>> + Send;
    /// A letter was handed over.
    fn letter_sent(&self, decision: DecisionId) -> impl Future<Output = Answer<()>> + Send;
}

/// What goes together in one decision.
pub(crate) fn must_be_sound(new: &NewDecision) -> Answer<()> {
    let invalid = |field, problem| Err(AccountError::Invalid { field, problem });
    let has = |measure| new.measures.contains(&measure);
    let closes = has(Measure::Dismiss) || has(Measure::Mute);
    if new.measures.is_empty()
        || (closes && new.measures.len() > 1)
        || (has(Measure::Suspend) && has(Measure::Ban))
    {
        return invalid("measures", "do not go together");
    }
    if has(Measure::Suspend) && !SUSPENSION_DAYS.contains(&new.days) {
        return invalid("days", "between 7 and 30");
    }
    if new.notice.as_ref().is_some_and(|notice| notice.len() > TEXT_BYTES_MAX) {
        return invalid("notice", "at most 2048 bytes");
    }
    must_be_told("reason", &new.reason)
}

/// A text that says something, and not too much.
pub(crate) fn must_be_told(field: &'static str, text: &str) -> Answer<()> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(AccountError::Invalid { field, problem: "between 1 and 2048 bytes" });
    }
    Ok(())
}
