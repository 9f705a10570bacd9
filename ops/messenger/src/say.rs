//! What commands write for people and scripts: whole lines, and no panic when nobody reads them. `messenger … | head`
//! ends a command's words, not its work; a server goes on.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static LOST: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard output, like `println!`.
macro_rules! say {
    ($($part:tt)*) => { $crate::say::out(format_args!($($part)*)) };
}

/// Writes a line to standard error, like `eprintln!`.
macro_rules! tell {
    ($($part:tt)*) => { $crate::say::err(format_args!($($part)*)) };
}

/// A reader that went away has read what it wanted; anything else that keeps words from getting out is a failure.
pub fn out(line: Arguments) {
    let mut out = std::io::stdout().lock();
    let Err(error) = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()) else { return };
    if error.kind() != ErrorKind::BrokenPipe && !LOST.swap(true, Ordering::Relaxed) {
        err(format_args!("messenger: standard output is not written: {error}"));
    }
}

/// There is nowhere to complain about standard error.
pub fn err(line: Arguments) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Whether something that was said on standard output is lost.
pub fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}
