//! Where inputs are kept: `corpus/TARGET` is committed, `found` holds what broke a promise until it is mended.

use std::path::{Path, PathBuf};

use crate::random::digest;

/// Most files of one target.
pub const FILES_MAX: usize = 199;

/// The committed inputs of a target.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// All inputs in order of their names; empty when there is no folder.
///
/// # Errors
/// A file cannot be read.
pub fn load(target: &str) -> std::io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let Ok(entries) = std::fs::read_dir(folder(target)) else { return Ok(Vec::new()) };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(&path).map(|bytes| (path, bytes))).collect()
}

/// Adds an input under a name made of its content.
///
/// # Errors
/// The folder cannot be written.
pub fn keep(target: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    write(&folder(target), &format!("{:016x}", digest(input)), input)
}

/// Puts an input aside that broke a promise.
///
/// # Errors
/// The folder cannot be written.
pub fn report(target: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("found");
    write(&folder, &format!("{target}-{:016x}", digest(input)), input)
}

fn write(folder: &Path, name: &str, input: &[u8]) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(name);
    std::fs::write(&path, input)?;
    Ok(path)
}
