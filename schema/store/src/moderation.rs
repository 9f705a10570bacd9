//! Moderation's view of the store: reports and flags come in, cases are claimed, decisions wait, take effect, are taken
//! back. Each call is one transaction, audit entries included: what was done and what was written down never differ.

mod rules;

use std::future::Future;

use schema_wire::{Network, UserId};

use crate::accounts::Answer;
use crate::rows::account::{Erasure, Origin};
use crate::rows::moderation::{
    AddressBan, AddressBanId, AddressBanRequest, Appeal, CaseCounts, CaseDetail, CaseFilter, CaseRow,
    Decision, DecisionId, DueLetter, ErasureRequest, NewDecision, NewFlag, NewReport, OpenCases, ReportId,
    Told,
};

pub(crate) use rules::{
    beginning, gravest, is_out_by, must_be_above, must_be_allowed, must_be_narrow, must_be_open_to_appeal,
    must_be_reportable, must_be_second, must_be_sound, must_be_told, must_be_undoable, only_closes, outcome,
    proof_of, still_demanded, suspended_until, takes_out, told,
};

/// How long a decision waits before it takes effect, in milliseconds.
pub const UNDO_MS: u64 = 10_000;
/// How long a claim lasts, in milliseconds.
pub const CLAIM_MS: u64 = 15 * 60_000;
/// How long a mute lasts, in milliseconds.
pub const MUTE_MS: u64 = 7 * 86_400_000;
/// How long an account may appeal against a decision once it took effect, in milliseconds.
pub const APPEAL_MS: u64 = 180 * 86_400_000;
/// Days a suspension may last.
pub const SUSPENSION_DAYS: core::ops::RangeInclusive<u32> = 7..=30;
/// Fewest bits that the addresses of a banned block share, of IPv4 and of IPv6.
pub const BLOCK_BITS_MIN: (u8, u8) = (8, 16);
/// Longest disclosed evidence, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 64 * 1024;
/// Longest reason, comment or notice, in bytes.
pub const TEXT_BYTES_MAX: usize = 2048;
/// What an account is told of a decision that was reversed, in both languages: nobody says which one it reads.
pub const REVERSED_NOTICE: &str = "The decision about your account was reversed: it no longer stands.\n\n\
     La décision prise au sujet de votre compte a été annulée : elle ne s’applique plus.";
/// What an account is told of an appeal after which the decision stands, in both languages; an answer follows.
pub const UPHELD_NOTICE: &str = "Somebody else read your appeal: the decision stands.\n\n\
     Quelqu’un d’autre a lu votre réponse : la décision est maintenue.";
/// So many messages on either side of a reported one are near it.
pub const NEAR_MESSAGES: u32 = 10;
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
    /// How many cases are open: what is looked at often, and cheap.
    fn open_cases(&self) -> impl Future<Output = Answer<OpenCases>> + Send;
    /// How much there is to do.
    fn case_counts(&self) -> impl Future<Output = Answer<CaseCounts>> + Send;
    /// Everything about one case; of an account that nobody ever reported, an empty one. `NotFound`: no such account.
    fn case(&self, subject: UserId) -> impl Future<Output = Answer<CaseDetail>> + Send;
    /// Claims an open case for a while, or prolongs the claim. `Overtaken`: somebody else has it.
    fn claim_case(&self, subject: UserId, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// Gives an own claim up.
    fn release_case(&self, subject: UserId, by: Origin) -> impl Future<Output = Answer<()>> + Send;

    /// Keeps a decision until its time comes; a ban waits for a second moderator first. `Overtaken`: the case is claimed
    /// by somebody else, or decided already, or one as grave is under way. `NotAllowed`: oneself, or staff without being an administrator.
    fn decide(&self, new: NewDecision, by: Origin) -> impl Future<Output = Answer<Decision>> + Send;
    /// The second pair of eyes: agrees or refuses. `NotAllowed` for whoever decided, and about staff without being an
    /// administrator. `Overtaken`: it does not wait.
    fn second(
        &self,
        decision: DecisionId,
        agrees: bool,
        by: Origin,
    ) -> impl Future<Output = Answer<Decision>> + Send;
    /// Takes a decision back before it takes effect. `Overtaken`: it did already.
    fn undo(&self, decision: DecisionId, by: Origin) -> impl Future<Output = Answer<Decision>> + Send;
    /// Takes a decision back after it took effect; what other decisions that stand demand of the account goes on. The account, if it was told of the decision, is told that, and not why.
    /// `Overtaken`: it did not, or not any more.
    fn reverse(
        &self,
        decision: DecisionId,
        reason: String,
        by: Origin,
    ) -> impl Future<Output = Answer<Decision>> + Send;
    /// Lets the decision take effect whose time came first. It fails when the account is gone, and when it would take the
    /// last active administrator away: the case is open again then. `None`: no time came yet.
    fn apply_due(&self) -> impl Future<Output = Answer<Option<Decision>>> + Send;
    /// One decision.
    fn decision(&self, decision: DecisionId) -> impl Future<Output = Answer<Decision>> + Send;
    /// Decisions that wait for a second pair of eyes, oldest first.
    fn waiting_decisions(&self, limit: u32) -> impl Future<Output = Answer<Vec<Decision>>> + Send;

    /// The account appeals against a decision that it was told of; its case is open again. With an actor only its own:
    /// `NotFound` otherwise. `Overtaken`: it did so before, or the decision does not stand. `Invalid`: too late, or the
    /// text is empty or too long.
    fn appeal(
        &self,
        decision: DecisionId,
        text: String,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Grants an appeal, which reverses the decision, or lets the decision stand; the account is told. `NotAllowed` for
    /// whoever made the decision or agreed to it. `Overtaken`: it is answered, or the case is somebody else's.
    fn answer_appeal(
        &self,
        decision: DecisionId,
        grants: bool,
        answer: String,
        by: Origin,
    ) -> impl Future<Output = Answer<Decision>> + Send;
    /// Decisions in effect or reversed that the account was told of, newest first, each with its appeal.
    fn decisions_told(
        &self,
        subject: UserId,
    ) -> impl Future<Output = Answer<Vec<(Decision, Option<Appeal>)>>> + Send;

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

    /// Asks for an address, or a block of them, to be banned; another moderator has to agree. `Overtaken`: it is banned, or
    /// somebody asked already. `Invalid`: too wide a block.
    fn ask_address_ban(
        &self,
        network: Network,
        reason: String,
        by: Origin,
    ) -> impl Future<Output = Answer<AddressBanId>> + Send;
    /// Takes it back. `Overtaken`: nobody asks any more.
    fn withdraw_address_ban(
        &self,
        wanted: AddressBanId,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Agrees: it is banned at once, on all nodes. `NotAllowed` for whoever asked.
    fn agree_to_address_ban(
        &self,
        wanted: AddressBanId,
        by: Origin,
    ) -> impl Future<Output = Answer<Network>> + Send;
    /// What is asked for, oldest first.
    fn address_bans_asked(&self, limit: u32) -> impl Future<Output = Answer<Vec<AddressBanRequest>>> + Send;
    /// What is banned, newest first, before `before`.
    fn address_bans(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<AddressBan>>> + Send;

    /// Letters still to be sent.
    fn due_letters(&self, limit: u32) -> impl Future<Output = Answer<Vec<DueLetter>>> + Send;
    /// One of them as it is owed now, to the address that the account has now; `None`: it is not owed any more.
    fn due_letter(
        &self,
        decision: DecisionId,
        told: Told,
    ) -> impl Future<Output = Answer<Option<DueLetter>>> + Send;
    /// A letter was handed over.
    fn letter_sent(&self, decision: DecisionId, told: Told) -> impl Future<Output = Answer<()>> + Send;
}
