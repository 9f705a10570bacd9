//! The shadow of a disk: of each file what was made durable last, by what identifies the file, and of each folder the
//! names made durable last. Compiled into the harness and into what is loaded into servers.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Variables of a program that runs on a machine: its disk, where the shadow is, whether the disk lies about what it
/// kept, and a file with the seconds by which the clock is wrong.
pub const DISK: &str = "MACHINE_DISK";
pub const SHADOW: &str = "MACHINE_SHADOW";
pub const SYNC: &str = "MACHINE_SYNC";
pub const CLOCK: &str = "MACHINE_CLOCK";
/// The word for a disk that says "kept" and keeps nothing.
pub const IGNORED: &str = "ignored";

/// Compared and copied at once.
const BLOCK: usize = 256 * 1024;

/// A folder as a disk, and where its shadow is.
#[derive(Debug)]
pub struct Shadow {
    pub disk: PathBuf,
    pub files: PathBuf,
    pub folders: PathBuf,
    /// Says "kept" and keeps nothing.
    lies: bool,
}

impl Shadow {
    /// `shadow` holds a folder `files` and a folder `folders`.
    pub fn new(disk: PathBuf, shadow: &Path, lies: bool) -> Self {
        Self { disk, files: shadow.join("files"), folders: shadow.join("folders"), lies }
    }

    /// What an open file holds, or which names an open folder has, is durable from here on. False for what is not on
    /// this disk.
    pub fn keep(&self, file: &File) -> io::Result<bool> {
        let path = std::fs::read_link(link_of(file))?;
        if !path.starts_with(&self.disk) {
            return Ok(false);
        }
        match file.metadata()?.is_dir() {
            _ if self.lies => {}
            true => self.keep_folder(&path)?,
            false => self.keep_file(file)?,
        }
        Ok(true)
    }

    /// Only what differs is written. Whoever dies in the middle has kept some of it, as it may be.
    fn keep_file(&self, file: &File) -> io::Result<()> {
        // The caller's may be for writing only.
        let source = File::open(link_of(file))?;
        let kept = self.files.join(identity(&source.metadata()?)?);
        let kept = File::options().read(true).write(true).create(true).truncate(false).open(kept)?;
        kept.lock()?;
        let length = source.metadata()?.len();
        if kept.metadata()?.len() != length {
            kept.set_len(length)?;
        }
        let (mut new, mut old) = (vec![0; BLOCK], vec![0; BLOCK]);
        let mut at = 0;
        loop {
            let bytes = fill(&source, &mut new, at)?;
            if bytes == 0 {
                return Ok(());
            }
            let known = fill(&kept, &mut old[..bytes], at)?;
            if known != bytes || new[..bytes] != old[..bytes] {
                kept.write_all_at(&new[..bytes], at)?;
            }
            at += bytes as u64;
        }
    }

    fn keep_folder(&self, folder: &Path) -> io::Result<()> {
        let names = self.folders.join(identity(&folder.metadata()?)?);
        // Of two at once, the one who looks later also writes later.
        let lock = File::options().create(true).append(true).open(names.with_extension("lock"))?;
        lock.lock()?;
        let mut text = String::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let of = match entry.metadata() {
                Err(gone) if gone.kind() == ErrorKind::NotFound => continue,
                of => of?,
            };
            let name =
                entry.file_name().into_string().map_err(|_| io::Error::from(ErrorKind::InvalidFilename))?;
            let (kind, which) = if of.is_symlink() {
                ("link", std::fs::read_link(entry.path())?.display().to_string())
            } else {
                (if of.is_dir() { "folder" } else { "file" }, identity(&of)?)
            };
            text.push_str(&format!("{kind}\t{which}\t{:o}\t{name}\n", of.mode() & 0o7777));
        }
        let fresh = names.with_extension("new");
        std::fs::write(&fresh, text)?;
        std::fs::rename(fresh, names)
    }
}

fn link_of(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// The inode and when it came about: inodes are used again.
pub fn identity(of: &Metadata) -> io::Result<String> {
    let born = of.created()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(format!("{:x}-{}", of.ino(), born.as_nanos()))
}

/// Reads until `bytes` is full or the file ends.
pub fn fill(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], at + read as u64)? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}
