//! A small filesystem of a server's own, so that it can be full: a tmpfs in a mount namespace that one sleeping process
//! keeps, and that is gone with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account;
use crate::process::Process;

/// How often room is taken that a server takes meanwhile.
const TRIES_MAX: u32 = 1_000;

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

    /// Takes all but `left_kib` KiB of what is free, or less when somebody else takes some at the same time.
    pub fn fill(&self, left_kib: u64) {
        let filler = std::fs::File::create(self.seen("filler")).expect("a small file fits");
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&filler);
        for _ in 0..TRIES_MAX {
            let bytes = (free_kib(&self.seen("")).saturating_sub(left_kib) * 1024) as libc::off_t;
            // SAFETY: the descriptor is open, and the call takes numbers besides it.
            if bytes == 0 || unsafe { libc::posix_fallocate(descriptor, 0, bytes) } == 0 {
                return;
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
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("no zero in a path");
    // SAFETY: zeroed memory is a valid statvfs, which the call fills; the path ends in a zero.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        assert_eq!(libc::statvfs(path.as_ptr(), &mut stat), 0, "the filesystem is there");
        stat
    };
    stat.f_bavail * stat.f_frsize / 1024
}
