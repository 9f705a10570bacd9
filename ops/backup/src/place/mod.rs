//! Where backups lie: a bucket of any S3-compatible server, or a folder. Objects appear whole or not at all.

mod bucket;
mod folder;
mod parts;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;

pub use bucket::{Bucket, BucketAccess};
pub use folder::Folder;

/// Why a place did not do as asked. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("{place}: no room left; free some, or prune backups")]
    Full { place: String },
    #[error("{place}: permission denied; give this account the right to list, read, write and delete there")]
    Denied { place: String },
    #[error("{place}: the server refuses this machine's clock; set it")]
    Clock { place: String },
    #[error("{place}: no such bucket; make it, or correct BACKUP_LOCATION")]
    NoBucket { place: String },
    #[error("{place}: {object} is not there")]
    Missing { place: String, object: String },
    #[error("{place}: {why}")]
    Failed { place: String, why: String },
}

/// Which place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    Folder(PathBuf),
    Bucket { bucket: String, prefix: String },
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text.split_once("://") {
                Some(("file", path)) => Ok(Self::Folder(path.into())),
                Some((scheme, _)) => {
                    Err(format!("{scheme}:// is no place for backups; use s3://BUCKET or a folder"))
                }
                None if text.is_empty() => Err("empty; use s3://BUCKET or a folder".to_owned()),
                None => Ok(Self::Folder(text.into())),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("s3:// without a bucket; use s3://BUCKET".to_owned());
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// An object of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    pub path: String,
    pub bytes: u64,
}

/// What a document must be for [`Place::replace`] to replace it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Version {
    Absent,
    /// As it was read; a bucket's entity tag, or the content's hash in a folder.
    Is(String),
}

/// An open place.
#[derive(Debug)]
pub enum Place {
    Folder(Folder),
    Bucket(Bucket),
}

impl Place {
    /// Opens a place; a folder is made when it is missing, a bucket is not.
    pub fn open(location: &Location, access: &BucketAccess) -> Result<Self, PlaceError> {
        match location {
            Location::Folder(path) => Folder::open(path).map(Self::Folder),
            Location::Bucket { bucket, prefix } => Bucket::open(bucket, prefix, access).map(Self::Bucket),
        }
    }

    /// Begins an object. It is there once [`Writer::finish`] returned.
    pub async fn begin(&self, path: &str) -> Result<Writer, PlaceError> {
        match self {
            Self::Folder(folder) => folder.begin(path).await.map(Writer::Folder),
            Self::Bucket(bucket) => Ok(Writer::Bucket(bucket.begin(path))),
        }
    }

    /// Writes a small object that must not be there yet; false when it is, with another content.
    pub async fn create(&self, path: &str, content: &[u8]) -> Result<bool, PlaceError> {
        self.replace(path, content, &Version::Absent).await
    }

    /// Writes a small object if it is as expected; false when it is not, and not what it was to become.
    pub async fn replace(&self, path: &str, content: &[u8], expected: &Version) -> Result<bool, PlaceError> {
        match self {
            Self::Folder(folder) => folder.replace(path, content, expected).await,
            Self::Bucket(bucket) => bucket.replace(path, content, expected).await,
        }
    }

    /// A small object and its version; `None` when it is not there.
    pub async fn get(&self, path: &str, bytes_max: usize) -> Result<Option<(Vec<u8>, Version)>, PlaceError> {
        match self {
            Self::Folder(folder) => folder.get(path, bytes_max).await,
            Self::Bucket(bucket) => bucket.get(path, bytes_max).await,
        }
    }

    /// Begins to read an object.
    pub async fn read(&self, path: &str) -> Result<Reader, PlaceError> {
        match self {
            Self::Folder(folder) => folder.read(path).await.map(Reader::Folder),
            Self::Bucket(bucket) => bucket.read(path).await.map(Reader::Bucket),
        }
    }

    /// Everything below a folder, in order.
    pub async fn list(&self, below: &str) -> Result<Vec<Listed>, PlaceError> {
        let mut found = match self {
            Self::Folder(folder) => folder.list(below)?,
            Self::Bucket(bucket) => bucket.list(below).await?,
        };
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Removes an object; fine when it is gone already.
    pub async fn delete(&self, path: &str) -> Result<(), PlaceError> {
        match self {
            Self::Folder(folder) => folder.delete(path),
            Self::Bucket(bucket) => bucket.delete(path).await,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.fmt(f),
            Self::Bucket(bucket) => bucket.fmt(f),
        }
    }
}

/// An object on its way in.
pub enum Writer {
    Folder(folder::FileWriter),
    Bucket(parts::PartWriter),
}

impl Writer {
    /// Takes the next bytes.
    pub async fn push(&mut self, bytes: Vec<u8>) -> Result<(), PlaceError> {
        match self {
            Self::Folder(file) => file.push(bytes).await,
            Self::Bucket(parts) => parts.push(bytes).await,
        }
    }

    /// Makes the object appear, durably.
    pub async fn finish(self) -> Result<(), PlaceError> {
        match self {
            Self::Folder(file) => file.finish().await,
            Self::Bucket(parts) => parts.finish().await,
        }
    }

    /// Gives up: nothing appears.
    pub async fn abandon(self) {
        match self {
            Self::Folder(file) => file.abandon(),
            Self::Bucket(parts) => parts.abandon().await,
        }
    }
}

/// An object on its way out.
pub enum Reader {
    Folder(folder::FileReader),
    Bucket(parts::PartReader),
}

impl Reader {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PlaceError> {
        match self {
            Self::Folder(file) => file.next().await,
            Self::Bucket(parts) => parts.next().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_shown() {
        for text in ["s3://backups", "s3://backups/team/one", "/var/backups", "backups"] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        assert_eq!("file:///var/x".parse(), Ok(Location::Folder("/var/x".into())));
        for bad in ["", "s3://", "s3:///x", "ftp://x"] {
            assert!(bad.parse::<Location>().is_err(), "{bad}");
        }
    }
}
