//! Moderation in SQL: one function per call, run inside the call's transaction. Whatever changes a case or a decision
//! holds the account's own lock, so that two moderators, and two consoles, take turns.

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

use super::PostgresStore;
use super::transaction::{Access, Tx};
use crate::accounts::{AccountError, Answer};
use crate::moderation::{Moderation, told};
use crate::redis::Item;
use crate::rows::account::{Erasure, Origin};
use crate::rows::moderation::{
    AddressBan, AddressBanId, AddressBanRequest, Appeal, CaseCounts, CaseDetail, CaseFilter, CaseRow,
    Decision, DecisionId, DueLetter, ErasureRequest, NewDecision, NewFlag, NewReport, OpenCases, ReportId,
    Told,
};

impl Moderation for PostgresStore {
    async fn file_report(&self, new: NewReport, by: Origin) -> Answer<ReportId> {
        self.write(async move |tx, now| report::file(tx, &new, &by, now).await).await
    }

    async fn reported(&self, wanted: ReportId) -> Answer<UserId> {
        self.read(async move |tx, _| report::subject(tx, wanted).await).await
    }

    async fn raise_flag(&self, new: NewFlag) -> Answer<()> {
        self.write(async move |tx, now| report::flag(tx, &new, now).await).await
    }

    async fn cases(
        &self,
        filter: CaseFilter,
        after: Option<(u64, UserId)>,
        limit: u32,
    ) -> Answer<Vec<CaseRow>> {
        self.read(async move |tx, now| case::list(tx, filter, after, limit, now).await).await
    }

    async fn open_cases(&self) -> Answer<OpenCases> {
        self.read(async move |tx, _| case::open(tx).await).await
    }

    async fn case_counts(&self) -> Answer<CaseCounts> {
        self.read(async move |tx, now| case::counts(tx, now).await).await
    }

    async fn case(&self, subject: UserId) -> Answer<CaseDetail> {
        self.read(async move |tx, now| case::detail(tx, subject, now).await).await
    }

    async fn claim_case(&self, subject: UserId, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| case::claim(tx, subject, &by, now).await).await
    }

    async fn release_case(&self, subject: UserId, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| case::release(tx, subject, &by, now).await).await
    }

    async fn decide(&self, new: NewDecision, by: Origin) -> Answer<Decision> {
        self.write(async move |tx, now| decision::decide(tx, &new, &by, now).await).await
    }

    async fn second(&self, wanted: DecisionId, agrees: bool, by: Origin) -> Answer<Decision> {
        self.write(async move |tx, now| decision::second(tx, wanted, agrees, &by, now).await).await
    }

    async fn undo(&self, wanted: DecisionId, by: Origin) -> Answer<Decision> {
        self.write(async move |tx, now| decision::undo(tx, wanted, &by, now).await).await
    }

    async fn reverse(&self, wanted: DecisionId, reason: String, by: Origin) -> Answer<Decision> {
        let work = async move |tx: &Tx, now| reverse::reverse(tx, wanted, (&reason, ""), &by, now).await;
        self.write_about(|decision| Some(Item::Profile(decision.subject)), work).await
    }

    async fn apply_due(&self) -> Answer<Option<Decision>> {
        let work = async move |tx: &Tx, now| apply::apply_due(tx, now).await;
        self.write_about(|applied| applied.as_ref().map(|decision| Item::Profile(decision.subject)), work)
            .await
    }

    async fn decision(&self, wanted: DecisionId) -> Answer<Decision> {
        self.read(async move |tx, _| decision::find(tx, wanted).await).await
    }

    async fn waiting_decisions(&self, limit: u32) -> Answer<Vec<Decision>> {
        self.read(async move |tx, _| decision::waiting(tx, limit).await).await
    }

    async fn appeal(&self, wanted: DecisionId, text: String, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| appeal::file(tx, wanted, &text, &by, now).await).await
    }

    async fn answer_appeal(
        &self,
        wanted: DecisionId,
        grants: bool,
        answer: String,
        by: Origin,
    ) -> Answer<Decision> {
        let work = async move |tx: &Tx, now| appeal::answer(tx, wanted, grants, &answer, &by, now).await;
        self.write_about(|decision| Some(Item::Profile(decision.subject)), work).await
    }

    async fn decisions_told(&self, subject: UserId) -> Answer<Vec<(Decision, Option<Appeal>)>> {
        let read = async move |tx: &Tx, _| {
            Ok(told(decision::of(tx, subject).await?, appeal::of(tx, subject).await?))
        };
        self.read(read).await
    }

    async fn add_note(&self, subject: UserId, text: String, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| note::add(tx, subject, &text, &by, now).await).await
    }

    async fn ask_erasure(&self, subject: UserId, reason: String, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| erasure::ask(tx, subject, &reason, &by, now).await).await
    }

    async fn withdraw_erasure(&self, subject: UserId, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| erasure::withdraw(tx, subject, &by, now).await).await
    }

    async fn agree_to_erasure(&self, subject: UserId, by: Origin) -> Answer<Erasure> {
        let agree = async move |tx: &Tx, now| erasure::agree(tx, subject, &by, now).await;
        let done = self.thread.call(async move |server| {
            let done = server.transact(Access::Long, agree).await;
            server.forget(vec![Item::Profile(subject)]);
            done
        });
        done.await.map_err(AccountError::Fault)?
    }

    async fn erasure_asked(&self, subject: UserId) -> Answer<Option<ErasureRequest>> {
        self.read(async move |tx, _| erasure::find(tx, subject).await).await
    }

    async fn erasures_asked(&self, limit: u32) -> Answer<Vec<ErasureRequest>> {
        self.read(async move |tx, _| erasure::list(tx, limit).await).await
    }

    async fn ask_address_ban(&self, network: Network, reason: String, by: Origin) -> Answer<AddressBanId> {
        self.write(async move |tx, now| address::ask(tx, network, &reason, &by, now).await).await
    }

    async fn withdraw_address_ban(&self, wanted: AddressBanId, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| address::withdraw(tx, wanted, &by, now).await).await
    }

    async fn agree_to_address_ban(&self, wanted: AddressBanId, by: Origin) -> Answer<Network> {
        self.write(async move |tx, now| address::agree(tx, wanted, &by, now).await).await
    }

    async fn address_bans_asked(&self, limit: u32) -> Answer<Vec<AddressBanRequest>> {
        self.read(async move |tx, _| address::asked(tx, limit).await).await
    }

    async fn address_bans(&self, before: Option<u64>, limit: u32) -> Answer<Vec<AddressBan>> {
        self.read(async move |tx, now| address::list(tx, before, limit, now).await).await
    }

    async fn due_letters(&self, limit: u32) -> Answer<Vec<DueLetter>> {
        self.read(async move |tx, _| letter::due(tx, limit).await).await
    }

    async fn due_letter(&self, wanted: DecisionId, told: Told) -> Answer<Option<DueLetter>> {
        self.read(async move |tx, _| letter::find(tx, wanted, told).await).await
    }

    async fn letter_sent(&self, wanted: DecisionId, told: Told) -> Answer<()> {
        self.write(async move |tx, now| letter::sent(tx, wanted, told, now).await).await
    }
}
