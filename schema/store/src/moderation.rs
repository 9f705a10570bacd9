//! Moderation's view of the store: reports and flags come in, cases are claimed, decisions wait, take effect, are taken
//! back. Each call is one transaction, audit entries included: what was done and what was written down never differ.

use std::future::Future;

use schema_wire::UserId;

use crate::accounts::Answer;
use crate::rows::account::Origin;
use crate::rows::moderation::{
    CaseCounts, CaseDetail, CaseFilter, CaseRow, Decision, DecisionId, DueLetter, NewDecision, NewFlag,
    NewReport, ReportId,
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
    /// Flags an account; while a flag of the same rule is open, nothing.
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
    /// Everything about one case. `NotFound`: nobody ever reported this account.
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

    /// Letters still to be sent.
    fn due_letters(&self, limit: u32) -> impl Future<Output = Answer<Vec<DueLetter>>> + Send;
    /// A letter was handed over.
    fn letter_sent(&self, decision: DecisionId) -> impl Future<Output = Answer<()>> + Send;
}
