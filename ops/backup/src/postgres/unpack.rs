//! From the plain stream of a base backup to files, on a thread of its own: nothing leaves the folder.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path};

use tokio::sync::mpsc::Receiver;

use crate::hint;

/// Bytes of one write.
const BLOCK_BYTES: usize = 256 * 1024;

/// Reads what a channel brings.
struct Pieces {
    coming: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Some(piece) = self.coming.blocking_recv() else { return Ok(0) };
            (self.piece, self.at) = (piece, 0);
        }
        let count = into.len().min(self.piece.len() - self.at);
        into[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Unpacks the stream into a folder that is there and empty.
pub fn unpack(coming: Receiver<Vec<u8>>, into: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(Pieces { coming, piece: Vec::new(), at: 0 });
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(false);
    archive.set_overwrite(false);
    let mut block = vec![0; BLOCK_BYTES];
    for entry in archive.entries()? {
        let mut entry = entry?;
        // A link could lead what comes after it elsewhere; a base backup in one stream has none.
        match entry.header().entry_type() {
            kind if kind.is_file() => write(&mut entry, into, &mut block)?,
            kind if kind.is_dir() && entry.unpack_in(into)? => {}
            _ => return Err(foreign()),
        }
    }
    // The padding behind the last entry is authentic as well only when all of it was read.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
}

/// One file in large writes, on their way to the disk while the next ones come.
fn write(entry: &mut tar::Entry<'_, Pieces>, into: &Path, block: &mut [u8]) -> io::Result<()> {
    let path = entry.path()?.into_owned();
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(foreign());
    }
    let mode = entry.header().mode()? & 0o777;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into.join(path))?;
    file.set_permissions(Permissions::from_mode(mode))?;
    let (mut at, mut written_out) = (0, 0);
    loop {
        let count = entry.read(block)?;
        if count == 0 {
            break;
        }
        file.write_all(&block[..count])?;
        at += count as u64;
        if at - written_out >= hint::WRITE_OUT_BYTES {
            hint::write_out(&file, written_out, at);
            written_out = at;
        }
    }
    if at == entry.size() { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn foreign() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "what is not a file of the server is in the backup")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unpacks what `build` put together; gives the folder.
    fn unpacked(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> (tempfile::TempDir, io::Result<()>) {
        let mut archive = tar::Builder::new(Vec::new());
        build(&mut archive);
        let bytes = archive.into_inner().unwrap();
        let (pieces, coming) = tokio::sync::mpsc::channel(bytes.len());
        bytes.chunks(1_000).for_each(|piece| pieces.try_send(piece.to_vec()).unwrap());
        drop(pieces);
        let folder = tempfile::tempdir().unwrap();
        let into = folder.path().join("data");
        std::fs::create_dir(&into).unwrap();
        let done = unpack(coming, &into);
        (folder, done)
    }

    fn add(archive: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, content: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        if kind.is_symlink() {
            header.set_link_name("/tmp").unwrap();
        }
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }

    #[test]
    fn files_come_out_as_they_went_in() {
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let (folder, done) = unpacked(|archive| {
            add(archive, tar::EntryType::Directory, "base", &[]);
            add(archive, tar::EntryType::Regular, "base/1", &content);
            add(archive, tar::EntryType::Regular, "./empty", &[]);
        });
        done.unwrap();
        let file = folder.path().join("data/base/1");
        assert!(std::fs::read(&file).unwrap() == content);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::metadata(folder.path().join("data/empty")).unwrap().len(), 0);
    }

    #[test]
    fn nothing_leaves_the_folder() {
        for name in ["../out", "base/../../out", "/tmp/messenger-out"] {
            let (folder, done) = unpacked(|archive| add(archive, tar::EntryType::Regular, name, b"x"));
            assert!(done.is_err(), "{name}");
            assert!(!folder.path().join("out").exists() && !Path::new("/tmp/messenger-out").exists());
        }
        for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Fifo] {
            let (_folder, done) = unpacked(|archive| add(archive, kind, "base", &[]));
            assert!(done.is_err(), "{kind:?}");
        }
    }
}
