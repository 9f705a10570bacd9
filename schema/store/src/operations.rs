//! What the pages about running the product ask of the store: backups and drills as they were noted, figures kept over
//! time, what was counted of all accounts, settings.

use std::future::Future;

use schema_wire::UserId;

use crate::accounts::Answer;
use crate::rows::account::Origin;
use crate::rows::backup::{
    BackupRequest, BackupRequestId, BackupRow, BackupWork, CheckRow, DrillRow, LogNote, LogNoted,
    RequestState,
};
use crate::rows::condition::Condition;
use crate::rows::operations::{Ranked, Setting, SettingChange, Statistics};

/// Longest figures of one stretch, in bytes.
pub const SPAN_BYTES_MAX: usize = 1024 * 1024;
/// An account that was used within this counts as active, in milliseconds.
pub const ACTIVE_FOR_MS: u64 = 7 * 86_400_000;
/// Senders listed.
pub const SENDERS_LISTED: u32 = 10;
/// Owners of media listed.
pub const OWNERS_LISTED: u32 = 20;

/// A request for a backup that nobody takes for so long is not taken any more, in milliseconds.
pub const REQUEST_WAITS_MS: u64 = 3_600_000;
/// Requests kept.
pub const REQUESTS_MAX: u32 = 100;
/// Longest line kept about what became of one, in characters.
const REQUEST_DETAIL_CHARS_MAX: usize = 512;
/// Drills kept, and checks.
pub(crate) const PROOFS_MAX: u32 = 4_096;
/// Longest line kept about one, in characters.
pub(crate) const PROOF_CHARS_MAX: usize = 512;
/// What became of one that was taken and not done.
pub(crate) const GIVEN_UP: &str = "whoever took it ended before it was done";

/// What operating needs of a store.
pub trait Operations: Clone + Send + Sync + 'static {
    /// Attempts at backups, newest first.
    fn backups_noted(&self, limit: u32) -> impl Future<Output = Answer<Vec<BackupRow>>> + Send;
    /// Drills, newest first.
    fn drills_noted(&self, limit: u32) -> impl Future<Output = Answer<Vec<DrillRow>>> + Send;

    /// Notes a drill; forgets the oldest ones.
    fn note_drill(&self, row: DrillRow) -> impl Future<Output = Answer<()>> + Send;
    /// Checks of backups, newest first.
    fn checks_noted(&self, limit: u32) -> impl Future<Output = Answer<Vec<CheckRow>>> + Send;
    /// Notes a check; forgets the oldest ones.
    fn note_check(&self, row: CheckRow) -> impl Future<Output = Answer<()>> + Send;
    /// How far the log is sealed; none when nobody ever followed it.
    fn log_noted(&self) -> impl Future<Output = Answer<Option<LogNoted>>> + Send;
    /// Notes how far the log is sealed, in place of what was said before. Gives up soon: it is said again.
    fn note_log(&self, note: LogNote) -> impl Future<Output = Answer<()>> + Send;

    /// Asks whoever makes backups for one, or for a drill. `Overtaken` while such a request waits already.
    fn ask_backup(&self, work: BackupWork, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// Such requests, newest first.
    fn backup_requests(&self, limit: u32) -> impl Future<Output = Answer<Vec<BackupRequest>>> + Send;
    /// Takes the oldest one that waits: nobody else gets it.
    fn take_backup_request(
        &self,
    ) -> impl Future<Output = Answer<Option<(BackupRequestId, BackupWork)>>> + Send;
    /// Says what became of one that was taken: a line, or why it failed.
    fn end_backup_request(
        &self,
        request: BackupRequestId,
        outcome: Result<String, String>,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Ends as failed what was taken and not done, by a process before this one; how many.
    fn give_up_backup_requests(&self) -> impl Future<Output = Answer<u64>> + Send;

    /// Keeps the figures of a stretch; of two for the same stretch, the first one stays.
    fn keep_span(
        &self,
        began_at: u64,
        length_s: u32,
        figures: Vec<u8>,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Stretches of this length that began from `from` on and before `until`, oldest first.
    fn spans(
        &self,
        length_s: u32,
        from: u64,
        until: u64,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<(u64, Vec<u8>)>>> + Send;
    /// Forgets stretches of this length that began before.
    fn forget_spans(&self, length_s: u32, before: u64) -> impl Future<Output = Answer<()>> + Send;

    /// How the database does. Costs it a little: ask now and then.
    fn condition(&self) -> impl Future<Output = Answer<Condition>> + Send;

    /// Counts accounts, messages and media, unless that was done after `older_than` or is being done; whether it counted.
    fn take_statistics(&self, older_than: u64) -> impl Future<Output = Answer<bool>> + Send;
    /// What was counted last.
    fn statistics(&self) -> impl Future<Output = Answer<Option<Statistics>>> + Send;

    /// Takes a piece of work that one console does at a time, or keeps it, for so many milliseconds from now; with 0 lets go
    /// of it. False: somebody else does it.
    fn hold_work(
        &self,
        work: &'static str,
        holder: [u8; 16],
        for_ms: u64,
    ) -> impl Future<Output = Answer<bool>> + Send;

    /// What somebody set, by name; what nobody set is missing.
    fn settings_set(&self) -> impl Future<Output = Answer<Vec<Setting>>> + Send;
    /// Sets them, all or none; each has its entry in the trail, with both values. The same again is no change.
    fn change_settings(
        &self,
        changes: Vec<SettingChange>,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// The same for one, which may be read by everybody; with `None` it goes back to the default.
    fn change_setting(
        &self,
        name: &'static str,
        value: Option<String>,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send {
        self.change_settings(vec![SettingChange { name, value, is_secret: false }], by)
    }
}

/// The state that the columns of a request say.
pub(crate) fn request_state(
    asked_at: u64,
    taken_at: Option<u64>,
    ended: Option<(u64, bool, String)>,
    now: u64,
) -> RequestState {
    match (taken_at, ended) {
        (_, Some((at, succeeded, detail))) => RequestState::Ended { at, succeeded, detail },
        (Some(at), None) => RequestState::Taken { at },
        (None, None) if now.saturating_sub(asked_at) < REQUEST_WAITS_MS => RequestState::Waits,
        (None, None) => RequestState::Lapsed,
    }
}

/// What is kept of an outcome.
pub(crate) fn request_end(outcome: &Result<String, String>) -> (bool, String) {
    let (Ok(line) | Err(line)) = outcome;
    (outcome.is_ok(), line.chars().take(REQUEST_DETAIL_CHARS_MAX).collect())
}

/// A counted number as it is kept: its name, its place in a list, and whose it is.
pub(crate) struct Counted {
    pub name: &'static str,
    pub place: u32,
    pub user: Option<UserId>,
    pub number: u64,
}

/// A single number.
pub(crate) fn single(name: &'static str, number: u64) -> Counted {
    Counted { name, place: 0, user: None, number }
}

/// A list, most first.
pub(crate) fn listed(name: &'static str, rows: Vec<(UserId, u64)>) -> impl Iterator<Item = Counted> {
    let places = 1..;
    rows.into_iter().zip(places).map(move |((user, number), place)| Counted {
        name,
        place,
        user: Some(user),
        number,
    })
}

/// A kept number as it is read, in the order of the places.
pub(crate) struct Read {
    pub name: String,
    pub user: Option<UserId>,
    pub email: Option<String>,
    pub number: u64,
    pub taken_at: u64,
}

/// The numbers together; `None`: nobody counted yet.
pub(crate) fn together(rows: Vec<Read>) -> Option<Statistics> {
    let taken_at = rows.first()?.taken_at;
    let mut all = Statistics { taken_at, active: 0, new_today: 0, senders: Vec::new(), storage: Vec::new() };
    for Read { name, user, email, number, .. } in rows {
        match (name.as_str(), user) {
            (ACTIVE, _) => all.active = number,
            (NEW, _) => all.new_today = number,
            (MESSAGES, Some(user)) => all.senders.push(Ranked { user, email, number }),
            (STORAGE, Some(user)) => all.storage.push(Ranked { user, email, number }),
            // Written by a newer program.
            _ => {}
        }
    }
    Some(all)
}

pub(crate) const ACTIVE: &str = "ACTIVE";
pub(crate) const NEW: &str = "NEW";
pub(crate) const MESSAGES: &str = "MESSAGES";
pub(crate) const STORAGE: &str = "STORAGE";
