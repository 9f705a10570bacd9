//! One sealed piece of a file of the log: which stretch of it, what came before, and where it lies.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio_uring::fs::File;

use crate::error::BackupError;
use crate::key::{Keyring, MasterKey};
use crate::manifest::{MANIFEST_BYTES_MAX, Object};
use crate::pipe::{self, Sink, open_object, seal_bytes, seal_file_hashed};
use crate::place::Place;
use crate::signed;

/// Folder of all logs in a place.
pub const ROOT: &str = "wal";
/// Version of the format.
const FORMAT: u32 = 1;
/// Keeps signatures of pieces apart from those of anything else.
const PURPOSE: &[u8] = b"log piece";
/// End of the name of what says of a piece what it is; written last.
const HEADER: &str = ".json";

/// What is known of a piece; signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    format: u32,
    /// The server.
    pub system: String,
    /// The file, as the server names it.
    pub file: String,
    /// Of the file; 0 for a history.
    pub file_bytes: u64,
    pub from: u64,
    pub to: u64,
    /// Hash of the piece before it in the log; empty where a chain begins.
    pub previous: String,
    pub sealed_at: jiff::Timestamp,
    pub object: Object,
}

/// Where a piece lies, as a listing shows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stretch {
    pub file: String,
    pub from: u64,
    pub to: u64,
}

impl Stretch {
    /// The path of its object.
    pub fn path(&self, system: &str) -> String {
        format!("{ROOT}/{system}/{}/{:08x}-{:08x}", self.file, self.from, self.to)
    }

    /// The path of what says what it is.
    pub fn header(&self, system: &str) -> String {
        self.path(system) + HEADER
    }

    /// Reads the path of a header; none of anything else.
    pub fn of_header(path: &str, system: &str) -> Option<Self> {
        let inner = path.strip_prefix(ROOT)?.strip_prefix('/')?.strip_prefix(system)?.strip_prefix('/')?;
        let (file, stretch) = inner.strip_suffix(HEADER)?.split_once('/')?;
        let (from, to) = stretch.split_once('-')?;
        let hex = |text: &str| (text.len() == 8).then(|| u64::from_str_radix(text, 16).ok()).flatten();
        Some(Self { file: file.to_owned(), from: hex(from)?, to: hex(to)? })
    }
}

impl Piece {
    /// Where it lies.
    pub fn stretch(&self) -> Stretch {
        Stretch { file: self.file.clone(), from: self.from, to: self.to }
    }
}

/// What is sealed into a piece.
pub enum Plain<'a> {
    Bytes(&'a [u8]),
    /// The stretch of a file, of whatever size.
    File(&'a File, &'a Path),
}

/// Seals a piece and writes it, its header last. Another one under that name is left alone and refused.
pub async fn write(
    place: &Place,
    key: &MasterKey,
    (system, file_bytes): (&str, u64),
    stretch: Stretch,
    previous: &str,
    plain: Plain<'_>,
) -> Result<Piece, BackupError> {
    let path = stretch.path(system);
    let header = stretch.header(system);
    if place.get(&header, MANIFEST_BYTES_MAX).await?.is_some() {
        let why = "it is sealed there already; another `backup stream` may be running".to_owned();
        return Err(BackupError::Log { place: place.to_string(), segment: stretch.file, why });
    }
    let (sealed, hash) = match plain {
        Plain::Bytes(bytes) => seal_bytes(place, &path, key, bytes).await?,
        Plain::File(file, at) => {
            let stretch = pipe::Stretch { file, path: at, from: stretch.from, to: stretch.to };
            seal_file_hashed(place, &path, key, stretch).await?
        }
    };
    let piece = Piece {
        format: FORMAT,
        system: system.to_owned(),
        file: stretch.file,
        file_bytes,
        from: stretch.from,
        to: stretch.to,
        previous: previous.to_owned(),
        sealed_at: jiff::Timestamp::now(),
        object: Object::new(path, &sealed).with_hash(&hash),
    };
    let document = signed::sign(PURPOSE, &piece, key);
    if place.create(&header, &document).await? {
        return Ok(piece);
    }
    let why = "another `backup stream` seals the same log there; stop one of them".to_owned();
    Err(BackupError::Log { place: place.to_string(), segment: piece.file, why })
}

/// Reads what a piece is; refuses what was altered or lies under another name.
pub async fn read(
    place: &Place,
    keys: &Keyring,
    system: &str,
    stretch: &Stretch,
) -> Result<Piece, BackupError> {
    let header = stretch.header(system);
    let refuse = |why| BackupError::Manifest { name: header.clone(), why };
    let found = place.get(&header, MANIFEST_BYTES_MAX).await?;
    let (document, _) = found.ok_or_else(|| BackupError::Log {
        place: place.to_string(),
        segment: stretch.file.clone(),
        why: "it went while it was read".to_owned(),
    })?;
    let piece: Piece = signed::read(PURPOSE, &document, keys).map_err(refuse)?;
    if piece.format != FORMAT {
        return Err(refuse(crate::manifest::ManifestError::Malformed));
    }
    let is_here = piece.stretch() == *stretch
        && piece.system == system
        && piece.object.name == stretch.path(system)
        && piece.object.plain_bytes == piece.to - piece.from;
    if is_here { Ok(piece) } else { Err(refuse(crate::manifest::ManifestError::Foreign(piece.object.name))) }
}

/// Opens it: hands its plain bytes to `sink`.
pub async fn open(place: &Place, keys: &Keyring, piece: &Piece, sink: Sink<'_>) -> Result<(), BackupError> {
    open_object(place, &piece.object.name, &piece.object, keys, sink).await
}

/// The same piece with its data key under the present master key, signed again; false when it was already.
pub async fn rekey(
    place: &Place,
    keys: &Keyring,
    system: &str,
    stretch: &Stretch,
) -> Result<bool, BackupError> {
    let header = stretch.header(system);
    let Some((document, version)) = place.get(&header, MANIFEST_BYTES_MAX).await? else { return Ok(false) };
    let mut piece = read(place, keys, system, stretch).await?;
    let envelope = piece.object.envelope();
    let envelope = envelope.map_err(|why| BackupError::Manifest { name: header.clone(), why })?;
    if envelope.key() != keys.current().id() {
        let rewrapped = envelope.rewrap(keys, &piece.object.name);
        let path = piece.object.name.clone();
        let rewrapped = rewrapped.map_err(|why| BackupError::Object { object: path, why })?;
        piece.object = piece.object.with_envelope(&rewrapped);
    }
    let signed = signed::sign(PURPOSE, &piece, keys.current());
    if signed == document {
        return Ok(false);
    }
    // Who merged or removed it meanwhile is right as well.
    place.replace(&header, &signed, &version).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_read_from_its_path() {
        let stretch = Stretch { file: "000000010000000000000002".to_owned(), from: 16, to: 0x100_0000 };
        let header = stretch.header("7");
        assert_eq!(header, "wal/7/000000010000000000000002/00000010-01000000.json");
        assert_eq!(Stretch::of_header(&header, "7"), Some(stretch.clone()));
        assert_eq!(Stretch::of_header(&stretch.path("7"), "7"), None);
        assert_eq!(Stretch::of_header(&header, "8"), None);
    }
}
