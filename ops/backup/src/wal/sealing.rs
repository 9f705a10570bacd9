//! Sealing what pg_receivewal has put down: whole segments as one piece, the beginning of the one in work when it is due.

use super::archive::Archive;
use super::branch::Branch;
use super::chain::Chain;
use super::piece::{self, Plain, Stretch};
use super::spool::{Opened, Received, Spool};
use super::stream::News;
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::postgres::LogFile;

/// Pieces of one segment before they are sealed as one.
const PIECES_MAX: usize = 32;

/// Most of the log that waits to be sealed, whatever the size of a segment.
const UNSEALED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What seals.
pub(super) struct Sealing<'a> {
    pub place: &'a Place,
    pub keys: &'a Keyring,
    pub spool: &'a Spool,
    pub chain: &'a mut Chain,
    pub told: &'a mut dyn FnMut(News<'_>),
}

impl Sealing<'_> {
    /// Seals what is whole, and when it is due also the beginning of what is not. False when some of it moved under its
    /// hands: the next round sees it.
    pub async fn round(&mut self, is_due: bool) -> Result<bool, BackupError> {
        let all = self.spool.list()?;
        let mut is_all = true;
        for (n, received) in all.iter().enumerate() {
            is_all &= match received.file {
                LogFile::History { .. } => self.history(received).await?,
                LogFile::Segment { number, timeline, bytes } => {
                    // What is followed by another one does not grow any more.
                    let is_due = is_due || n + 1 < all.len();
                    self.segment(received, (number, timeline, bytes), is_due).await?
                }
            };
        }
        Ok(is_all)
    }

    async fn segment(
        &mut self,
        received: &Received,
        (number, timeline, bytes): (u64, u32, u64),
        is_due: bool,
    ) -> Result<bool, BackupError> {
        let begins = self.chain.begins(timeline);
        if !self.chain.reach(number, timeline, bytes) {
            return self.forget(received, timeline).await;
        }
        if begins {
            self.turn(number, timeline, bytes).await?;
        }
        // pg_receivewal goes on after the newest file it finds, so that one stays.
        if self.chain.to == bytes {
            Ok(true)
        } else if received.is_whole {
            self.whole(received, bytes).await
        } else if is_due || self.is_much(received).await? {
            self.begun(received).await
        } else {
            Ok(true)
        }
    }

    /// A timeline begins, whose history is sealed before its segments.
    async fn turn(&mut self, number: u64, timeline: u32, bytes: u64) -> Result<(), BackupError> {
        let branch = Branch::sealed(self.place, self.keys, &self.chain.system, timeline).await?;
        let archive = Archive::list(self.place, &self.chain.system).await?;
        let from = archive.unbroken_from(&branch, number, bytes);
        if from == number && timeline > 1 {
            tracing::warn!(
                timeline,
                "nothing before it leads to this timeline of the log; make a base backup now"
            );
        }
        let first = branch.file_of(from, bytes);
        let since = archive.sealed_at(self.place, self.keys, &self.chain.system, &first).await;
        self.chain.turn(branch, from, since);
        Ok(())
    }

    /// What lies before the newest segment: false when it may still become another file.
    async fn forget(&self, received: &Received, timeline: u32) -> Result<bool, BackupError> {
        if !received.is_whole && !self.chain.is_past(timeline) {
            return Ok(false);
        }
        self.leave(received).await?;
        Ok(true)
    }

    /// Takes away what lies before the newest segment that is sealed, which nobody receives any more: pg_receivewal would go
    /// on after it, where the server may have nothing left.
    pub async fn leave_behind(&mut self) -> Result<(), BackupError> {
        let at = self.chain.at;
        let is_behind = |received: &Received| match received.file {
            LogFile::Segment { number, timeline, .. } => {
                at.is_some_and(|(last, of)| (timeline, number) < (of, last))
            }
            LogFile::History { .. } => false,
        };
        self.leave_all(is_behind).await.map(drop)
    }

    /// Takes away from the spool what is so; whether anything was.
    pub async fn leave_all(&self, is_left: impl Fn(&Received) -> bool) -> Result<bool, BackupError> {
        let mut was_any = false;
        for received in self.spool.list()?.iter().filter(|received| is_left(received)) {
            self.leave(received).await?;
            was_any = true;
        }
        Ok(was_any)
    }

    /// Removes what is sealed. What is not stays for whoever looks into it.
    pub async fn leave(&self, received: &Received) -> Result<(), BackupError> {
        let file = received.file.to_string();
        let archive = Archive::list_file(self.place, &self.chain.system, &file).await?;
        let sealed = archive.cover(&file).last().map_or(0, |last| last.to);
        match self.spool.open(received)? {
            Some(opened) if opened.end(sealed).await? > sealed => self.spool.set_aside(received),
            Some(_) => self.spool.remove(received),
            None => Ok(()),
        }
    }

    async fn history(&mut self, received: &Received) -> Result<bool, BackupError> {
        let file = received.file.to_string();
        let archive = Archive::list_file(self.place, &self.chain.system, &file).await?;
        if !archive.cover(&file).is_empty() {
            return Ok(true);
        }
        let Some(opened) = self.spool.open(received)? else { return Ok(false) };
        let stretch = Stretch { file, from: 0, to: opened.end(0).await? };
        self.write(&opened, 0, stretch, "").await?;
        Ok(true)
    }

    /// A whole segment, as one piece in place of those it began with.
    async fn whole(&mut self, received: &Received, bytes: u64) -> Result<bool, BackupError> {
        let Some(opened) = self.spool.open(received)? else { return Ok(false) };
        if opened.end(0).await? != bytes {
            // It gets its name before its last byte is seen here; the next round sees all.
            return Ok(false);
        }
        self.merge(&opened, bytes).await?;
        Ok(true)
    }

    /// Whether so much came of a segment since the last piece that it is sealed before it is due.
    async fn is_much(&self, received: &Received) -> Result<bool, BackupError> {
        let Some(opened) = self.spool.open(received)? else { return Ok(false) };
        opened.has_come_to(self.chain.to + UNSEALED_BYTES_MAX).await
    }

    /// What came of a segment since the last piece.
    async fn begun(&mut self, received: &Received) -> Result<bool, BackupError> {
        let from = self.chain.to;
        let Some(opened) = self.spool.open(received)? else { return Ok(false) };
        let to = opened.end(from).await?;
        if to <= from {
            return Ok(true);
        }
        if self.chain.pieces.len() >= PIECES_MAX {
            // What is sealed was received from the same place before.
            self.merge(&opened, to).await?;
            return Ok(true);
        }
        let stretch = Stretch { file: received.file.to_string(), from, to };
        let previous = self.chain.last.clone();
        self.write(&opened, self.spool.segment_bytes, stretch.clone(), &previous).await?;
        self.chain.pieces.push(stretch);
        Ok(true)
    }

    async fn merge(&mut self, opened: &Opened<'_>, to: u64) -> Result<(), BackupError> {
        let stretch = Stretch { file: opened.received.file.to_string(), from: 0, to };
        let before = self.chain.before.clone();
        self.write(opened, self.spool.segment_bytes, stretch.clone(), &before).await?;
        self.chain.old.append(&mut std::mem::replace(&mut self.chain.pieces, vec![stretch]));
        Ok(())
    }

    /// Removes pieces that others have taken the place of: one after the other, and nothing that is due waits for it.
    pub async fn remove_old(&mut self) -> Result<(), BackupError> {
        for old in std::mem::take(&mut self.chain.old) {
            self.place.delete(&old.header(&self.chain.system)).await?;
            self.place.delete(&old.path(&self.chain.system)).await?;
        }
        Ok(())
    }

    async fn write(
        &mut self,
        opened: &Opened<'_>,
        file_bytes: u64,
        stretch: Stretch,
        previous: &str,
    ) -> Result<(), BackupError> {
        let system = (self.chain.system.as_str(), file_bytes);
        let plain = Plain::File(&opened.file, &opened.received.path);
        let written = piece::write(self.place, self.keys.current(), system, stretch, previous, plain).await?;
        if file_bytes > 0 {
            self.chain.to = written.to;
            self.chain.since.get_or_insert(written.sealed_at);
            self.chain.last = written.object.hash().to_owned();
        }
        (self.told)(News::Sealed(&written));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::MasterKey;
    use crate::place::{BucketAccess, Location};

    #[test]
    fn what_a_merge_left_is_removed_when_nothing_waits() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keyring::of(MasterKey::generate());
        let spool = Spool { folder: folder.path().to_owned(), segment_bytes: 1 << 20 };
        let file = folder.path().join("000000010000000000000005");
        let partial = folder.path().join("000000010000000000000005.partial");
        let left = crate::block_on(async {
            let location = Location::Folder(folder.path().join("place"));
            let place = Place::open(&location, &BucketAccess::default())?;
            let mut chain = Chain::find(&place, &keys, "7", 1 << 20).await?;
            let told = &mut |_: News<'_>| {};
            let mut sealing = Sealing { place: &place, keys: &keys, spool: &spool, chain: &mut chain, told };
            let mut left = Vec::new();
            std::fs::write(&partial, vec![1; 1 << 19]).unwrap();
            sealing.round(true).await?;
            std::fs::remove_file(&partial).unwrap();
            std::fs::write(&file, vec![1; 1 << 20]).unwrap();
            sealing.round(true).await?;
            left.push(Archive::list(&place, "7").await?.stretches().count());
            sealing.remove_old().await?;
            left.push(Archive::list(&place, "7").await?.stretches().count());
            Ok(left)
        });
        assert_eq!(left.unwrap(), [2, 1]);
    }
}
