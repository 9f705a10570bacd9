//! The folder in which pg_receivewal puts the log down: which files are whole, and how far the one in work reaches.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use tokio_uring::fs::File;

use crate::error::BackupError;
use crate::postgres::LogFile;

/// End of the name of a segment that is still being received.
const PARTIAL: &str = ".partial";
/// Where what is not sealed goes when the log went on without it.
const ASIDE: &str = "aside";
/// Bytes read at once.
const BLOCK_BYTES: u64 = 1024 * 1024;

/// The folder.
#[derive(Clone, Debug)]
pub struct Spool {
    pub folder: PathBuf,
    pub segment_bytes: u64,
}

/// A file in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    pub file: LogFile,
    pub path: PathBuf,
    pub is_whole: bool,
}

impl Spool {
    /// Whether there is room for one more segment, or nobody knows.
    pub fn has_room(&self) -> bool {
        let Ok(path) = CString::new(self.folder.as_os_str().as_bytes()) else { return true };
        // SAFETY: zeroed memory is a valid statvfs, which the call fills; the path ends in a zero.
        let free = unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            (libc::statvfs(path.as_ptr(), &mut stat) == 0)
                .then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
        };
        free.is_none_or(|free| free >= self.segment_bytes)
    }

    /// All files of the log, histories first, then segments as they were written.
    pub fn list(&self) -> Result<Vec<Received>, BackupError> {
        let fail = |why| BackupError::file(&self.folder, why);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let plain = name.strip_suffix(PARTIAL).unwrap_or(name);
            if let Some(file) = LogFile::parse(plain, self.segment_bytes) {
                let is_whole = plain == name;
                found.push(Received { file, path, is_whole });
            }
        }
        found.sort_by_key(|received| match received.file {
            LogFile::History { timeline } => (false, timeline, 0),
            LogFile::Segment { number, timeline, .. } => (true, timeline, number),
        });
        Ok(found)
    }

    /// Removes one; fine when it is gone already.
    pub fn remove(&self, received: &Received) -> Result<(), BackupError> {
        match std::fs::remove_file(&received.path) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                Err(BackupError::file(&received.path, why))
            }
            _ => Ok(()),
        }
    }

    /// Moves one where neither pg_receivewal nor this looks, under a name that nothing has.
    pub fn set_aside(&self, received: &Received) -> Result<(), BackupError> {
        let aside = self.folder.join(ASIDE);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&aside);
        made.map_err(|why| BackupError::file(&aside, why))?;
        let into = aside.join(format!("{}-{}", received.file, jiff::Timestamp::now().as_millisecond()));
        let moved = std::fs::rename(&received.path, &into);
        moved.map_err(|why| BackupError::file(&received.path, why))?;
        tracing::warn!(file = %into.display(), "not sealed, and not of the log that is followed now; moved aside");
        Ok(())
    }

    /// Opens one to read it; none when it got its whole name meanwhile.
    pub fn open<'a>(&self, received: &'a Received) -> Result<Option<Opened<'a>>, BackupError> {
        let opened = std::fs::File::open(&received.path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((length, file)) => Ok(Some(Opened { received, file: File::from_std(file), length })),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound && !received.is_whole => Ok(None),
            Err(why) => Err(BackupError::file(&received.path, why)),
        }
    }
}

/// A file of the spool that is being read.
pub struct Opened<'a> {
    pub received: &'a Received,
    pub file: File,
    length: u64,
}

impl Opened<'_> {
    /// Up to where it is received, looked for from a place on. Of a segment in work the zeros at its end do not count,
    /// which it is filled up with: who restores puts them back. What lies before a byte that was seen is written by now.
    pub async fn end(&self, from: u64) -> Result<u64, BackupError> {
        if self.received.is_whole || matches!(self.received.file, LogFile::History { .. }) {
            return Ok(self.length);
        }
        let mut to = self.length;
        while to > from {
            let begin = to.saturating_sub(BLOCK_BYTES).max(from);
            let block = Vec::with_capacity((to - begin) as usize);
            let (read, block) = self.file.read_exact_at(block, begin).await;
            read.map_err(|why| BackupError::file(&self.received.path, why))?;
            if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
                return Ok(begin + last as u64 + 1);
            }
            to = begin;
        }
        Ok(from)
    }
}
