//! Who runs the servers: PostgreSQL and PgBouncer refuse root, so tests that are root lend them an account without rights.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The account without rights.
const NOBODY: u32 = 65_534;

/// Whether this process is root.
pub fn is_root() -> bool {
    // SAFETY: the call reads the process's own user id and can't fail.
    unsafe { libc::geteuid() == 0 }
}

/// The user id under which the servers run.
pub(crate) fn owner() -> u32 {
    if is_root() {
        return NOBODY;
    }
    // SAFETY: the call reads the process's own user id and can't fail.
    unsafe { libc::geteuid() }
}

/// A command that runs in `folder` with nothing of the caller's environment, never as root.
pub fn command(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", path()).env("LC_ALL", "C.UTF-8").current_dir(folder);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Where programs are: first those of the PostgreSQL that is asked for. Debian keeps servers where only root looks.
pub(crate) fn path() -> std::ffi::OsString {
    let mut path = std::env::var_os(crate::postgres::WANTED).unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(std::env::var_os("PATH").unwrap_or_default());
    path.push(":/usr/sbin:/sbin");
    path
}

/// Gives `path` to the account, and nobody else a look at it.
pub fn hand_over(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("our own file");
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
    }
}

/// Arguments that make a program started by another one run as the account.
pub fn dropped() -> Vec<String> {
    if is_root() {
        let id = NOBODY.to_string();
        ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--"].map(str::to_owned).into()
    } else {
        // Inside a user namespace one is root, which PostgreSQL refuses, until one is somebody else in the next.
        ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"].map(str::to_owned).into()
    }
}
