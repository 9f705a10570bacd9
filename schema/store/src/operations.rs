//! What the pages about running the product ask of the store: backups and drills as they were noted, figures kept over
//! time, settings.

use std::future::Future;

use crate::accounts::Answer;
use crate::rows::account::Origin;
use crate::rows::backup::{BackupRow, DrillRow};
use crate::rows::operations::Setting;

/// Longest figures of one stretch, in bytes.
pub const SPAN_BYTES_MAX: usize = 1024 * 1024;

/// What operating needs of a store.
pub trait Operations: Clone + Send + Sync + 'static {
    /// Attempts at backups, newest first.
    fn backups_noted(&self, limit: u32) -> impl Future<Output = Answer<Vec<BackupRow>>> + Send;
    /// Drills, newest first.
    fn drills_noted(&self, limit: u32) -> impl Future<Output = Answer<Vec<DrillRow>>> + Send;

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

    /// What somebody set, by name; what nobody set is missing.
    fn settings_set(&self) -> impl Future<Output = Answer<Vec<Setting>>> + Send;
    /// Sets it, or with `None` goes back to the default; the entry in the trail has both. The same again is no change.
    fn change_setting(
        &self,
        name: &'static str,
        value: Option<String>,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
}
