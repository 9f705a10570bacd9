//! The folder in which pg_receivewal puts the log down: which files are whole, and how far the one in work reaches.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::BackupError;
use crate::postgres::LogFile;

/// End of the name of a segment that is still being received.
const PARTIAL: &str = ".partial";

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
            LogFile::History { timeline } => (false, u64::from(timeline), 0),
            LogFile::Segment { number, timeline, .. } => (true, number, timeline),
        });
        Ok(found)
    }

    /// Bytes of a file from a place on. Of a segment in work without the zeros at its end, which it is filled up with:
    /// who restores puts them back.
    pub async fn read(&self, received: &Received, from: u64) -> Result<Vec<u8>, BackupError> {
        let fail = |why| BackupError::file(&received.path, why);
        let file = std::fs::File::open(&received.path).map_err(fail)?;
        let length = file.metadata().map_err(fail)?.len();
        let file = tokio_uring::fs::File::from_std(file);
        let bytes = stretch(&file, &received.path, from, length).await?;
        if received.is_whole || matches!(received.file, LogFile::History { .. }) {
            return Ok(bytes);
        }
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { return Ok(Vec::new()) };
        // What lies before a byte that was seen is written by now, but may not have been when it was read.
        stretch(&file, &received.path, from, from + last as u64 + 1).await
    }
}

async fn stretch(
    file: &tokio_uring::fs::File,
    path: &Path,
    from: u64,
    to: u64,
) -> Result<Vec<u8>, BackupError> {
    let wanted = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
    if wanted == 0 {
        return Ok(Vec::new());
    }
    let (read, bytes) = file.read_exact_at(Vec::with_capacity(wanted), from).await;
    read.map_err(|why| BackupError::file(path, why))?;
    Ok(bytes)
}
