//! Hints to the kernel that shorten long streams and change nothing else. One that is refused does no harm.

use std::os::fd::AsRawFd;

/// Bytes of a stream after which its file is written out, while it goes on.
pub const WRITE_OUT_BYTES: u64 = 8 * 1024 * 1024;
/// Room in a pipe between two programs.
const PIPE_BYTES: libc::c_int = 1024 * 1024;

/// Begins to write a stretch of a file to its disk, so that a later flush has little left to wait for.
pub fn write_out(file: &impl AsRawFd, from: u64, to: u64) {
    let (Ok(from), Ok(count)) = (i64::try_from(from), i64::try_from(to - from)) else { return };
    // SAFETY: an open descriptor of the caller's and two numbers; no memory is touched.
    unsafe { libc::sync_file_range(file.as_raw_fd(), from, count, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Lets a program write further ahead of the one that reads: fewer changes between them.
pub fn widen(pipe: &impl AsRawFd) {
    // SAFETY: an open descriptor of the caller's and a number; no memory is touched.
    unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, PIPE_BYTES) };
}
