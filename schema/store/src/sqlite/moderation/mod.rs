//! Moderation in SQL: one function per call, run inside the call's transaction.

mod address;
mod appeal;
mod apply;
mod card;
mod case;
mod decision;
mod erasure;
pub mod forget;
mod letter;
mod note;
pub mod report;
mod reverse;

use schema_wire::{Network, UserId};

use super::SqliteStore;
use crate::accounts::Answer;
use crate::moderation::{Moderation, told};
use crate::rows::account::{Erasure, Origin};
use crate::rows::moderation::{
    AddressBan, AddressBanId, AddressBanRequest, Appeal, CaseCounts, CaseDetail, CaseFilter, CaseRow,
    Decision, DecisionId, DueLetter, ErasureRequest, NewDecision, NewFlag, NewReport, OpenCases, ReportId,
    Told,
};

impl Moderation for SqliteStore {
    async fn file_report(&self, new: NewReport, by: Origin) -> Answer<ReportId> {
        self.write(move |tx, now| report::file(tx, &new, &by, now)).await
    }

    async fn reported(&self, wanted: ReportId) -> Answer<UserId> {
        self.read(move |tx, _| report::subject(tx, wanted)).await
    }

    async fn raise_flag(&self, new: NewFlag) -> Answer<()> {
        self.write(move |tx, now| report::flag(tx, &new, now)).await
    }

    async fn cases(
        &self,
        filter: CaseFilter,
        after: Option<(u64, UserId)>,
        limit: u32,
    ) -> Answer<Vec<CaseRow>> {
        self.read(move |tx, now| case::list(tx, filter, after, limit, now)).await
    }

    async fn open_cases(&self) -> Answer<OpenCases> {
        self.read(|tx, _| case::open(tx)).await
    }

    async fn case_counts(&self) -> Answer<CaseCounts> {
        self.read(case::counts).await
    }

    async fn case(&self, subject: UserId) -> Answer<CaseDetail> {
        self.read(move |tx, now| case::detail(tx, subject, now)).await
    }

    async fn claim_case(&self, subject: UserId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| case::claim(tx, subject, &by, now)).await
    }

    async fn release_case(&self, subject: UserId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| case::release(tx, subject, &by, now)).await
    }

    async fn decide(&self, new: NewDecision, by: Origin) -> Answer<Decision> {
        self.write(move |tx, now| decision::decide(tx, &new, &by, now)).await
    }

    async fn second(&self, wanted: DecisionId, agrees: bool, by: Origin) -> Answer<Decision> {
        self.write(move |tx, now| decision::second(tx, wanted, agrees, &by, now)).await
    }

    async fn undo(&self, wanted: DecisionId, by: Origin) -> Answer<Decision> {
        self.write(move |tx, now| decision::undo(tx, wanted, &by, now)).await
    }

    async fn reverse(&self, wanted: DecisionId, reason: String, by: Origin) -> Answer<Decision> {
        self.write(move |tx, now| reverse::reverse(tx, wanted, (&reason, ""), &by, now)).await
    }

    async fn apply_due(&self) -> Answer<Option<Decision>> {
        self.write(apply::apply_due).await
    }

    async fn decision(&self, wanted: DecisionId) -> Answer<Decision> {
        self.read(move |tx, _| decision::find(tx, wanted)).await
    }

    async fn waiting_decisions(&self, limit: u32) -> Answer<Vec<Decision>> {
        self.read(move |tx, _| decision::waiting(tx, limit)).await
    }

    async fn appeal(&self, wanted: DecisionId, text: String, by: Origin) -> Answer<()> {
        self.write(move |tx, now| appeal::file(tx, wanted, &text, &by, now)).await
    }

    async fn answer_appeal(
        &self,
        wanted: DecisionId,
        grants: bool,
        answer: String,
        by: Origin,
    ) -> Answer<Decision> {
        self.write(move |tx, now| appeal::answer(tx, wanted, grants, &answer, &by, now)).await
    }

    async fn decisions_told(&self, subject: UserId) -> Answer<Vec<(Decision, Option<Appeal>)>> {
        self.read(move |tx, _| Ok(told(decision::of(tx, subject)?, appeal::of(tx, subject)?))).await
    }

    async fn add_note(&self, subject: UserId, text: String, by: Origin) -> Answer<()> {
        self.write(move |tx, now| note::add(tx, subject, &text, &by, now)).await
    }

    async fn ask_erasure(&self, subject: UserId, reason: String, by: Origin) -> Answer<()> {
        self.write(move |tx, now| erasure::ask(tx, subject, &reason, &by, now)).await
    }

    async fn withdraw_erasure(&self, subject: UserId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| erasure::withdraw(tx, subject, &by, now)).await
    }

    async fn agree_to_erasure(&self, subject: UserId, by: Origin) -> Answer<Erasure> {
        self.write(move |tx, now| erasure::agree(tx, subject, &by, now)).await
    }

    async fn erasure_asked(&self, subject: UserId) -> Answer<Option<ErasureRequest>> {
        self.read(move |tx, _| erasure::find(tx, subject)).await
    }

    async fn erasures_asked(&self, limit: u32) -> Answer<Vec<ErasureRequest>> {
        self.read(move |tx, _| erasure::list(tx, limit)).await
    }

    async fn ask_address_ban(&self, network: Network, reason: String, by: Origin) -> Answer<AddressBanId> {
        self.write(move |tx, now| address::ask(tx, network, &reason, &by, now)).await
    }

    async fn withdraw_address_ban(&self, wanted: AddressBanId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| address::withdraw(tx, wanted, &by, now)).await
    }

    async fn agree_to_address_ban(&self, wanted: AddressBanId, by: Origin) -> Answer<Network> {
        self.write(move |tx, now| address::agree(tx, wanted, &by, now)).await
    }

    async fn address_bans_asked(&self, limit: u32) -> Answer<Vec<AddressBanRequest>> {
        self.read(move |tx, _| address::asked(tx, limit)).await
    }

    async fn address_bans(&self, before: Option<u64>, limit: u32) -> Answer<Vec<AddressBan>> {
        self.read(move |tx, now| address::list(tx, before, limit, now)).await
    }

    async fn due_letters(&self, limit: u32) -> Answer<Vec<DueLetter>> {
        self.read(move |tx, _| letter::due(tx, limit)).await
    }

    async fn due_letter(&self, wanted: DecisionId, told: Told) -> Answer<Option<DueLetter>> {
        self.read(move |tx, _| letter::find(tx, wanted, told)).await
    }

    async fn letter_sent(&self, wanted: DecisionId, told: Told) -> Answer<()> {
        self.write(move |tx, now| letter::sent(tx, wanted, told, now)).await
    }
}
