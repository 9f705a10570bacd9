//! The data folder of a new server as a copy: initdb costs two seconds of a core, and most tests start a server. It runs once on
//! a machine for each account and version; every copy gets a system identifier of its own, as initdb would have given.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::account;
use crate::folder::Folder;

/// Where the control file is; it begins with the identifier.
const CONTROL: &str = "global/pg_control";
/// What the control file has said at most when its checksum comes, in bytes.
const CONTROL_BYTES_MAX: usize = 512;
/// The first segment of the log, whose first page names the server here (`XLogLongPageHeaderData`).
const FIRST_SEGMENT: &str = "pg_wal/000000010000000000000001";
const SEGMENT_SYSTEM_AT: u64 = 24;

/// Lays a data folder out at `to`; `make` is initdb's, for when there is none to copy yet.
pub fn lay_out(to: &Path, programs: &Path, make: impl FnOnce(&Path)) {
    let template = place(programs);
    if !exists(&template) {
        let folder = Folder::new("pgt");
        let made = folder.join("data");
        make(&made);
        close(&made);
        // Somebody else's, made meanwhile, is as good.
        if let Err(why) = std::fs::rename(&made, &template) {
            assert!(exists(&template), "{} can be made: {why}", template.display());
        }
    }
    copy(&template, to);
    identify(to, identifier());
}

/// Where the template of a server is: another one when the server's program is another one.
fn place(programs: &Path) -> PathBuf {
    let program = programs.join("postgres").metadata().expect("the server is there");
    let version = format!("{}-{}-{}", account::owner(), program.mtime(), program.size());
    Path::new("/tmp").join(format!("messenger-test-postgres-{version}"))
}

/// Whether it is there. Panics when somebody else can have written into it.
fn exists(template: &Path) -> bool {
    let Ok(found) = template.symlink_metadata() else { return false };
    // SAFETY: the call reads the process's own user id and can't fail.
    let me = unsafe { libc::geteuid() };
    let is_ours = found.is_dir() && found.uid() == me && found.mode() & 0o077 == 0;
    assert!(is_ours, "{} is not of this account; remove it", template.display());
    true
}

/// Takes it from the account that runs servers.
fn close(made: &Path) {
    std::fs::set_permissions(made, std::fs::Permissions::from_mode(0o700)).expect("our own folder");
    if account::is_root() {
        chown(made, Some(0), Some(0)).expect("root may take files");
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap_or_else(|e| panic!("{} can be made: {e}", to.display()));
    account::hand_over(to, 0o700);
    for entry in std::fs::read_dir(from).expect("the template is readable") {
        let entry = entry.expect("the template is readable");
        let into = to.join(entry.file_name());
        if entry.file_type().expect("it has a type").is_dir() {
            copy(&entry.path(), &into);
        } else {
            std::fs::copy(entry.path(), &into)
                .unwrap_or_else(|e| panic!("{} can be made: {e}", into.display()));
            account::hand_over(&into, 0o600);
        }
    }
}

/// A new identifier, by initdb's own rule: the time of day and the process (`BootStrapXLOG`).
fn identifier() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    now.as_secs() << 32 | u64::from(now.subsec_micros()) << 12 | u64::from(std::process::id()) & 0xFFF
}

/// Writes it down in the two places that must agree.
fn identify(data: &Path, identifier: u64) {
    let control = data.join(CONTROL);
    let mut bytes = std::fs::read(&control).expect("the copy has a control file");
    let end = checksum_at(&bytes).expect("the control file has its checksum");
    bytes[..8].copy_from_slice(&identifier.to_ne_bytes());
    let checksum = crc32c(&bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&checksum.to_ne_bytes());
    std::fs::write(&control, bytes).expect("the copy is writable");
    let segment = std::fs::File::options().write(true).open(data.join(FIRST_SEGMENT));
    let segment = segment.expect("the copy has a log");
    segment.write_all_at(&identifier.to_ne_bytes(), SEGMENT_SYSTEM_AT).expect("the copy is writable");
}

/// Where the checksum of all before it is; each version has it elsewhere.
fn checksum_at(control: &[u8]) -> Option<usize> {
    let is_here = |end: &usize| {
        let said = control
            .get(*end..*end + 4)
            .map(|bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        said == Some(crc32c(&control[..*end]))
    };
    (8..CONTROL_BYTES_MAX.min(control.len())).step_by(4).find(is_here)
}

/// CRC-32C (RFC 3720, appendix B.4), bit by bit: it is asked for a few hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
