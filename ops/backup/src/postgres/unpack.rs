//! From the plain stream of a base backup to files, on a thread of its own: nothing leaves the folder.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use tokio::sync::mpsc::Receiver;

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
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        // A link could lead what comes after it elsewhere; a base backup in one stream has none.
        let is_plain = kind.is_file() || kind.is_dir();
        if !is_plain || !entry.unpack_in(into)? {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "what is not a file of the server is in the backup",
            ));
        }
    }
    // The padding behind the last entry is authentic as well only when all of it was read.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
}
