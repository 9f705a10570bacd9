//! The chain of sealed pieces of one server's log: up to where it reaches, from where on nothing is missing.

use super::archive::{Archive, newest};
use super::piece::{self, Stretch};
use crate::catalogue::LogEnd;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::{LogFile, Lsn};

/// Up to where the chain of pieces reaches.
pub(super) struct Chain {
    pub system: String,
    /// The newest segment there is something of.
    pub at: Option<(u64, u32)>,
    /// The segment from which on none is missing.
    pub from: u64,
    /// How far it is sealed.
    pub to: u64,
    pub pieces: Vec<Stretch>,
    /// Hash of the piece before this segment.
    pub before: String,
    /// Hash of the newest piece.
    pub last: String,
}

impl Chain {
    /// Where an earlier process ended.
    pub async fn find(place: &Place, keys: &Keyring, system: &str, bytes: u64) -> Result<Self, BackupError> {
        let mut chain = Self {
            system: system.to_owned(),
            at: None,
            from: 0,
            to: 0,
            pieces: Vec::new(),
            before: String::new(),
            last: String::new(),
        };
        let Some(newest) = newest(place, keys, system, bytes).await? else { return Ok(chain) };
        let Some(LogFile::Segment { number, timeline, .. }) = LogFile::parse(&newest.file, bytes) else {
            return Ok(chain);
        };
        let cover = Archive::list_file(place, system, &newest.file).await?.cover(&newest.file);
        if let Some(first) = cover.first() {
            chain.before = piece::read(place, keys, system, first).await?.previous;
        }
        chain.from = Archive::list(place, system).await?.unbroken_from(bytes).unwrap_or(number);
        (chain.at, chain.to, chain.pieces) = (Some((number, timeline)), newest.to, cover);
        chain.last = newest.object.hash().to_owned();
        Ok(chain)
    }

    pub fn end(&self, segment_bytes: u64, at: jiff::Timestamp, lag_bytes: u64) -> Option<LogEnd> {
        let (number, timeline) = self.at?;
        let to = Lsn(number * segment_bytes + self.to);
        let from = Some(Lsn(self.from * segment_bytes));
        Some(LogEnd { system: self.system.clone(), timeline, from, to, at, lag_bytes })
    }

    /// Makes this segment the newest one; false when it lies before it.
    pub fn reach(&mut self, number: u64, timeline: u32, bytes: u64) -> bool {
        let Some((last, of)) = self.at else {
            (self.at, self.from) = (Some((number, timeline)), number);
            return true;
        };
        if (number, timeline) == (last, of) {
            return true;
        }
        if number < last || (number == last && timeline < of) {
            return false;
        }
        let follows = number == last + 1 && timeline == of && self.to == bytes;
        if !follows && timeline == of {
            tracing::error!("the log has a gap before segment {number}; make a base backup now");
        }
        if !follows && (timeline == of || number > last + 1) {
            self.from = number;
        }
        self.before = if follows { self.last.clone() } else { String::new() };
        (self.at, self.to, self.last) = (Some((number, timeline)), 0, self.before.clone());
        self.pieces.clear();
        true
    }
}
