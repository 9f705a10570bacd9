//! A small filesystem of a server's own, so that it can be full: a tmpfs in a mount namespace that one sleeping process
//! keeps, and that is gone with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account;
use crate::folder::free;
use crate::process::Process;

/// How often room is taken that a server takes meanwhile.
const TRIES_MAX: u32 = 10_000;
/// Bytes taken at once.
const PIECE_MAX: u64 = 64 << 20;
const PIECE_MIN: u64 = 4_096;

/// The filesystem.
pub struct Disk {
    keeper: Process,
    at: PathBuf,
}

impl Disk {
    /// `mib` MiB over the folder `at`, for the account that runs servers.
    pub fn mount(at: &Path, mib: u32, log: &Path) -> Self {
        let mut command = Command::new("unshare");
        let owner = if account::is_root() {
            "uid=65534,gid=65534"
        } else {
            command.args(["--user", "--map-root-user"]);
            "uid=0,gid=0"
        };
        let script = format!(
            "mount -t tmpfs -o size={mib}m,mode=700,{owner} tmpfs \"$0\" && touch \"$0/.mounted\" && exec sleep infinity"
        );
        command.args(["--mount", "sh", "-c", &script]).arg(at);
        let mut disk = Self { keeper: Process::start("the mount", &mut command, log), at: at.to_owned() };
        let mark = disk.seen(".mounted");
        disk.keeper.until(|| mark.exists());
        disk
    }

    /// A file on it, as this process reaches it.
    pub fn seen(&self, name: &str) -> PathBuf {
        let at = self.at.strip_prefix("/").unwrap_or(&self.at);
        PathBuf::from(format!("/proc/{}/root", self.keeper.id())).join(at).join(name)
    }

    /// Makes `command` see it, and run as the account.
    pub fn enter(&self, program: &Path, folder: &Path) -> Command {
        let target = self.keeper.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &target, "--mount"]);
        if !account::is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.env("LC_ALL", "C.UTF-8").env("PATH", account::path()).current_dir(folder).arg("--");
        command.args(account::dropped()).arg(program);
        command
    }

    /// Takes all but `left_kib` KiB of what is free, also while somebody else writes: piece by piece, and what it has it
    /// keeps. One attempt at all of it comes to nothing as soon as somebody else takes a page.
    pub fn fill(&self, left_kib: u64) {
        let filler = std::fs::File::create(self.seen("filler")).expect("a small file fits");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&filler);
        let (mut taken, mut piece) = (0, PIECE_MAX);
        for _ in 0..TRIES_MAX {
            let bytes = (free_kib(&self.seen("")).saturating_sub(left_kib) * 1024).min(piece);
            if bytes == 0 {
                return;
            }
            let (from, count) = (taken as libc::off_t, bytes as libc::off_t);
            // SAFETY: the descriptor is open, and the call takes numbers besides it.
            if unsafe { libc::posix_fallocate(descriptor, from, count) } == 0 {
                taken += bytes;
                piece = (piece * 2).min(PIECE_MAX);
            } else {
                piece = (piece / 2).max(PIECE_MIN);
            }
        }
        panic!("what is free cannot be taken");
    }

    /// Gives back what `fill` took.
    pub fn clear(&self) {
        std::fs::remove_file(self.seen("filler")).expect("it was filled");
    }
}

fn free_kib(path: &Path) -> u64 {
    free(path).expect("the filesystem is there") / 1024
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::folder::Folder;

    #[test]
    fn a_disk_fills_while_somebody_writes_to_it() {
        const MIB: u64 = 512;
        let folder = Folder::new("disk");
        let at = folder.join("disk");
        std::fs::create_dir(&at).unwrap();
        let disk = Disk::mount(&at, MIB as u32, &folder.join("log"));
        let (path, done) = (disk.seen("written"), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Each time as long as there is room, then all over again, as a log whose old parts are removed.
                while !done.load(Ordering::Relaxed) {
                    let mut file = std::fs::File::create(&path).unwrap();
                    for _ in 0..1_000 {
                        std::thread::sleep(std::time::Duration::from_micros(50));
                        if file.write_all(&[1; 4_096]).is_err() {
                            break;
                        }
                    }
                }
            });
            disk.fill(0);
            done.store(true, Ordering::Relaxed);
        });
        let taken = std::fs::metadata(disk.seen("filler")).unwrap().len() >> 20;
        assert!((MIB - 8..=MIB).contains(&taken), "{taken} of {MIB} MiB");
        disk.clear();
    }
}
