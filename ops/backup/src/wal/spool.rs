//! The folder in which pg_receivewal puts the log down: which files are whole, and how far the one in work reaches.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};

use tokio_uring::fs::File;

use crate::error::BackupError;
use crate::postgres::LogFile;

/// End of the name of a segment that is still being received.
const PARTIAL: &str = ".partial";
/// Where what is not sealed goes when the log went on without it.
const ASIDE: &str = "aside";
/// Where it is noted whose log it is.
const SYSTEM: &str = "system";
/// Where a segment's first page names its server.
const SYSTEM_AT: u64 = 24;
/// Where it says how large segments are.
const SEGMENT_BYTES_AT: u64 = 32;
/// Characters of a segment's name.
const SEGMENT_NAME: usize = 24;
/// Largest page of the log that a server can be built with; smaller ones divide it.
const PAGE_BYTES_MAX: u64 = 64 * 1024;
/// Beginning of a page, which says what it is.
const PAGE_HEAD_BYTES: usize = 8;
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

impl Received {
    /// The server that a segment's first page names; none of a history, or of what has no first page yet.
    fn system(&self) -> Result<Option<String>, BackupError> {
        if matches!(self.file, LogFile::History { .. }) {
            return Ok(None);
        }
        let mut bytes = [0; 8];
        let read = std::fs::File::open(&self.path).and_then(|file| file.read_exact_at(&mut bytes, SYSTEM_AT));
        match (read, u64::from_ne_bytes(bytes)) {
            (Err(why), _) if why.kind() != std::io::ErrorKind::UnexpectedEof => {
                Err(BackupError::file(&self.path, why))
            }
            (Err(_), _) | (Ok(()), 0) => Ok(None),
            (Ok(()), system) => Ok(Some(system.to_string())),
        }
    }
}

impl Spool {
    /// The spool of a folder that says whose it is, and whose; none when its segments say something else, or nothing.
    pub fn of_known(folder: &Path) -> Result<Option<(Self, String)>, BackupError> {
        let Ok(system) = std::fs::read_to_string(folder.join(SYSTEM)) else { return Ok(None) };
        let system = system.trim().to_owned();
        let fail = |why| BackupError::file(folder, why);
        for entry in std::fs::read_dir(folder).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_segment =
                name.len() >= SEGMENT_NAME && name.bytes().take(SEGMENT_NAME).all(|b| b.is_ascii_hexdigit());
            let mut bytes = [0; 4];
            let read = |file: std::fs::File| file.read_exact_at(&mut bytes, SEGMENT_BYTES_AT);
            if !is_segment || std::fs::File::open(&path).and_then(read).is_err() {
                continue;
            }
            let spool = Self { folder: folder.to_owned(), segment_bytes: u32::from_ne_bytes(bytes).into() };
            let all = spool.list()?;
            for received in all.iter() {
                if received.system()?.is_some_and(|of| of != system) {
                    return Ok(None);
                }
            }
            if !all.is_empty() {
                return Ok(Some((spool, system)));
            }
        }
        Ok(None)
    }

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

    /// Binds the folder to a server: what another one left in it is moved aside, which would be sealed under this one's name.
    pub fn belong_to(&self, system: &str) -> Result<(), BackupError> {
        let note = self.folder.join(SYSTEM);
        let fail = |why| BackupError::file(&note, why);
        let noted = match std::fs::read_to_string(&note) {
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => None,
            read => Some(read.map_err(fail)?),
        };
        let noted = noted.as_deref().map(str::trim);
        let found = self.list()?;
        let mut named = Vec::new();
        for received in &found {
            named.push(received.system()?);
        }
        let is_other = |of: &Option<String>| of.as_ref().is_some_and(|of| of != system);
        // A history names no server, nor does the beginning of a segment that is not written yet.
        let is_left = noted.map_or(named.iter().any(is_other), |of| of != system);
        for (received, of) in found.iter().zip(&named) {
            if is_other(of) || is_left && of.is_none() {
                self.set_aside(received)?;
            }
        }
        if noted != Some(system) {
            std::fs::write(&note, format!("{system}\n")).map_err(fail)?;
        }
        Ok(())
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
            if let Some(length) = written(&block) {
                return Ok(begin + length as u64);
            }
            to = begin;
        }
        Ok(from)
    }

    /// Whether a segment in work is received up to a page that begins at or just before a place. A page begins with what is not
    /// zero, so that one look tells.
    pub async fn has_come_to(&self, at: u64) -> Result<bool, BackupError> {
        let page = at - at % PAGE_BYTES_MAX;
        if page + PAGE_HEAD_BYTES as u64 > self.length {
            return Ok(false);
        }
        let (read, head) = self.file.read_exact_at(Vec::with_capacity(PAGE_HEAD_BYTES), page).await;
        read.map_err(|why| BackupError::file(&self.received.path, why))?;
        Ok(head.iter().any(|byte| *byte != 0))
    }
}

/// Length of a block without the zeros at its end; none of nothing else. Most of a segment in work is zeros, so whole pages
/// are compared first.
fn written(block: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = block.len();
    for page in block.rchunks(ZEROS.len()) {
        if *page != ZEROS[..page.len()] {
            return page.iter().rposition(|byte| *byte != 0).map(|last| end - page.len() + last + 1);
        }
        end -= page.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment as the server of that number begins it.
    fn write(spool: &Spool, name: &str, system: u64) {
        let mut page = vec![7; 64];
        page[SYSTEM_AT as usize..][..8].copy_from_slice(&system.to_ne_bytes());
        std::fs::write(spool.folder.join(name), page).unwrap();
    }

    fn names(spool: &Spool) -> Vec<String> {
        let name = |received: &Received| received.path.file_name().unwrap().to_str().unwrap().to_owned();
        spool.list().unwrap().iter().map(name).collect()
    }

    #[test]
    fn zeros_at_the_end_do_not_count() {
        assert_eq!([written(&[]), written(&[0; 10_000])], [None, None]);
        for length in [1, 4_095, 4_096, 4_097, 5_904, 5_905, 9_999, 10_000] {
            let mut block = vec![0; 10_000];
            block[length - 1] = 1;
            assert_eq!(written(&block), Some(length));
        }
    }

    #[test]
    fn what_another_server_left_in_the_folder_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool { folder: folder.path().to_owned(), segment_bytes: 16 << 20 };
        let [one, two] = ["000000020000000000000005", "000000020000000000000006.partial"];
        let history = "00000002.history";
        std::fs::write(folder.path().join(history), "1\t0/5000300\tx\n").unwrap();
        write(&spool, one, 7);
        write(&spool, two, 0);
        spool.belong_to("7").unwrap();
        assert_eq!(names(&spool), [history, one, two], "it is its own");
        spool.belong_to("7").unwrap();
        assert_eq!(names(&spool).len(), 3, "and stays so");
        spool.belong_to("8").unwrap();
        assert!(names(&spool).is_empty());
        assert_eq!(std::fs::read_dir(folder.path().join(ASIDE)).unwrap().count(), 3);
    }

    #[test]
    fn a_folder_of_nobody_is_told_by_its_segments() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool { folder: folder.path().to_owned(), segment_bytes: 16 << 20 };
        std::fs::write(folder.path().join("00000002.history"), "1\t0/5000300\tx\n").unwrap();
        write(&spool, "000000020000000000000005", 7);
        spool.belong_to("8").unwrap();
        assert!(names(&spool).is_empty());
        write(&spool, "000000010000000000000001", 8);
        write(&spool, "000000010000000000000002", 7);
        spool.belong_to("8").unwrap();
        assert_eq!(names(&spool), ["000000010000000000000001"]);
    }
}
