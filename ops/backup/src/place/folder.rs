//! A folder as a place: files written aside on io_uring, flushed, then renamed, so that a crash leaves no half object.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Listed, PlaceError, Version};
use crate::hex;
use crate::hint;

/// Bytes read at once.
const BLOCK_BYTES: usize = 1024 * 1024;
/// Beginning of names of files that are not objects yet.
const ASIDE: &str = ".aside-";
/// Keeps two processes from replacing the same document.
const LOCK: &str = ".lock";

/// A folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}

impl Folder {
    /// Opens it; made for its owner only when it is missing.
    pub fn open(root: &Path) -> Result<Self, PlaceError> {
        let folder = Self { root: root.to_owned() };
        folder.make(root)?;
        Ok(folder)
    }

    fn make(&self, path: &Path) -> Result<(), PlaceError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| self.fail(error))
    }

    fn fail(&self, error: io::Error) -> PlaceError {
        let place = self.to_string();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => PlaceError::Full { place },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => PlaceError::Denied { place },
            _ => PlaceError::Failed { place, why: error.to_string() },
        }
    }

    fn missing(&self, path: &str) -> PlaceError {
        PlaceError::Missing { place: self.to_string(), object: path.to_owned() }
    }

    /// Begins an object beside its place.
    pub(super) async fn begin(&self, path: &str) -> Result<FileWriter, PlaceError> {
        let target = self.root.join(path);
        let parent = target.parent().unwrap_or(&self.root).to_owned();
        self.make(&parent)?;
        let random = getrandom::u64().expect("the operating system has randomness");
        let aside = parent.join(format!("{ASIDE}{random:016x}"));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        let file = tokio_uring::fs::File::from_std(opened.map_err(|error| self.fail(error))?);
        Ok(FileWriter { folder: self.clone(), aside: Aside(aside), target, file, at: 0, written_out: 0 })
    }

    pub(super) async fn replace(
        &self,
        path: &str,
        content: &[u8],
        expected: &Version,
    ) -> Result<bool, PlaceError> {
        let _lock = self.lock()?;
        let is_expected = match self.get(path, usize::MAX).await? {
            None => *expected == Version::Absent,
            Some((present, _)) if present == content => return Ok(true),
            Some((_, version)) => *expected == version,
        };
        if is_expected {
            let mut file = self.begin(path).await?;
            file.push(content.to_vec()).await?;
            file.finish().await?;
        }
        Ok(is_expected)
    }

    /// Waits for whoever replaces a document here; that takes milliseconds.
    fn lock(&self) -> Result<File, PlaceError> {
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).mode(0o600).open(self.root.join(LOCK));
        let locked = opened.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| self.fail(error))
    }

    pub(super) async fn get(
        &self,
        path: &str,
        bytes_max: usize,
    ) -> Result<Option<(Vec<u8>, Version)>, PlaceError> {
        let file = match File::open(self.root.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fail(error)),
        };
        let mut content = Vec::new();
        let bound = (bytes_max as u64).saturating_add(1);
        file.take(bound).read_to_end(&mut content).map_err(|error| self.fail(error))?;
        if content.len() > bytes_max {
            let why = format!("{path} is larger than it can be");
            return Err(PlaceError::Failed { place: self.to_string(), why });
        }
        let version = Version::Is(hex::encode(&Sha256::digest(&content)));
        Ok(Some((content, version)))
    }

    pub(super) async fn read(&self, path: &str) -> Result<FileReader, PlaceError> {
        let opened = File::open(self.root.join(path)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => self.missing(path),
            _ => self.fail(error),
        });
        Ok(FileReader { folder: self.clone(), file: tokio_uring::fs::File::from_std(opened?), at: 0 })
    }

    pub(super) fn list(&self, below: &str) -> Result<Vec<Listed>, PlaceError> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.join(below)];
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(self.fail(error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| self.fail(error))?;
                let kind = entry.metadata().map_err(|error| self.fail(error))?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if let Ok(path) = entry.path().strip_prefix(&self.root) {
                    found.push(Listed { path: path.to_string_lossy().into_owned(), bytes: kind.len() });
                }
            }
        }
        Ok(found)
    }

    /// The folders around the object go with the last one in them.
    pub(super) fn delete(&self, path: &str) -> Result<(), PlaceError> {
        let target = self.root.join(path);
        match std::fs::remove_file(&target) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.fail(error)),
            _ => {}
        }
        let around = target.ancestors().skip(1).take_while(|folder| *folder != self.root);
        for folder in around {
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// A file beside its place, removed unless it got there.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        // Renamed by now, or worthless.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An object being written.
pub struct FileWriter {
    folder: Folder,
    aside: Aside,
    target: PathBuf,
    file: tokio_uring::fs::File,
    at: u64,
    /// Up to where the disk was told to begin.
    written_out: u64,
}

impl FileWriter {
    pub(super) async fn push(&mut self, bytes: Vec<u8>) -> Result<(), PlaceError> {
        let count = bytes.len() as u64;
        let (written, _) = self.file.write_all_at(bytes, self.at).await;
        written.map_err(|error| self.folder.fail(error))?;
        self.at += count;
        if self.at - self.written_out >= hint::WRITE_OUT_BYTES {
            hint::write_out(&self.file, self.written_out, self.at);
            self.written_out = self.at;
        }
        Ok(())
    }

    pub(super) async fn finish(self) -> Result<(), PlaceError> {
        let Self { folder, aside, target, file, .. } = self;
        let fail = |error| folder.fail(error);
        file.sync_all().await.map_err(fail)?;
        file.close().await.map_err(fail)?;
        std::fs::rename(&aside.0, &target).map_err(fail)?;
        // The name is durable once its folder is.
        let parent = target.parent().unwrap_or(&folder.root);
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(fail)
    }

    pub(super) fn abandon(self) {
        drop(self);
    }
}

/// An object being read.
pub struct FileReader {
    folder: Folder,
    file: tokio_uring::fs::File,
    at: u64,
}

impl FileReader {
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, PlaceError> {
        let (read, mut block) = self.file.read_at(Vec::with_capacity(BLOCK_BYTES), self.at).await;
        let count = read.map_err(|error| self.folder.fail(error))?;
        block.truncate(count);
        self.at += count as u64;
        Ok((count > 0).then(|| block.into()))
    }
}
