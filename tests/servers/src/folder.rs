//! The folder of one server: temporary, owned by the account that runs it, and short, since sockets lie in it. In memory
//! where nobody waits for a disk: a database is a thousand files, and making them is most of what a test's server costs.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::account;

/// Where folders are on a disk, and where in memory.
const DISK: &str = "/tmp";
const MEMORY: &str = "/dev/shm";
/// So much must be free there before one more folder is put into memory, in bytes.
const ROOM_MIN: u64 = 4 << 30;

/// A folder that goes with the value.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// A new one on a disk.
    pub fn new(prefix: &str) -> Self {
        Self::within(Path::new(DISK), prefix)
    }

    /// A new one of what need not outlive the machine: in memory as long as there is plenty.
    pub fn fleeting(prefix: &str) -> Self {
        let has_room = free(Path::new(MEMORY)).min(available()).is_some_and(|bytes| bytes >= ROOM_MIN);
        Self::within(Path::new(if has_room { MEMORY } else { DISK }), prefix)
    }

    /// A new one into which what is at `path` can be renamed.
    pub fn beside(path: &Path, prefix: &str) -> Self {
        let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
        let is_same = device(path).is_some() && device(path) == device(Path::new(MEMORY));
        Self::within(Path::new(if is_same { MEMORY } else { DISK }), prefix)
    }

    fn within(place: &Path, prefix: &str) -> Self {
        let made = tempfile::Builder::new().prefix(prefix).tempdir_in(place);
        let folder = made.unwrap_or_else(|e| panic!("{} is writable: {e}", place.display()));
        account::hand_over(folder.path(), 0o700);
        Self(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file that only the account reads.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        account::hand_over(&path, 0o600);
        path
    }
}

/// Memory that programs can still have, in bytes.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What is free of a filesystem, in bytes.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: zeroed memory is a valid statvfs, which the call fills; the path ends in a zero.
    unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &mut stat) == 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
