//! The System V segment by which a PostgreSQL knows whether another one runs on its folder. A killed server leaves it
//! behind, a machine has 4,096 of them, and without a free one no server starts: tests take away what they leave.

use std::path::Path;
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::account;

/// What a server asks for since version 9.3: a header, all else is mapped anonymously (`sysv_shmem.c`).
const BYTES: u64 = 56;
/// A server attaches to what it made within moments, so what nobody is attached to after this long was left behind.
const LEFT_AFTER_S: u64 = 60;
const TABLE: &str = "/proc/sysvipc/shm";

/// One segment, by its number on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment(libc::c_int);

impl Segment {
    /// The one of the server that wrote this `postmaster.pid`.
    pub fn named(mark: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(mark).ok()?;
        text.lines().nth(6)?.split_whitespace().nth(1)?.parse().ok().map(Self)
    }

    /// Takes it away unless somebody is attached, or it is none of a server's of these tests (any more).
    pub fn remove(self) {
        if rows().iter().any(|row| row.segment == self && row.is_left()) {
            // SAFETY: the call takes a number and, for this command, no buffer.
            unsafe { libc::shmctl(self.0, libc::IPC_RMID, std::ptr::null_mut()) };
        }
    }

    /// Whether the machine still has it.
    pub fn is_there(self) -> bool {
        rows().iter().any(|row| row.segment == self)
    }
}

/// Takes away, once in a process, what tests that were killed themselves left behind.
pub fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let old = |row: &Row| row.is_left() && row.changed_s + LEFT_AFTER_S < now;
        rows().into_iter().filter(old).for_each(|row| row.segment.remove());
    });
}

/// What the machine says of a segment.
struct Row {
    segment: Segment,
    bytes: u64,
    attached: u64,
    owner: u32,
    changed_s: u64,
}

impl Row {
    fn is_left(&self) -> bool {
        self.attached == 0 && self.bytes == BYTES && self.owner == account::owner()
    }
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(TABLE).unwrap_or_default();
    text.lines().skip(1).filter_map(row).collect()
}

/// Fields of a line: key, id, mode, size, creator, last, attached, uid, gid, cuid, cgid, three times, …
fn row(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Row {
        segment: Segment(fields.get(1)?.parse().ok()?),
        bytes: number(3)?,
        attached: number(6)?,
        owner: u32::try_from(number(7)?).ok()?,
        changed_s: number(13)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "  10078752     163845   600       56  22585  22590      2 65534 65534 65534 65534 \
                    1795716399 0 1795716398   4096    0";
        let row = row(line).unwrap();
        assert_eq!((row.segment, row.bytes, row.attached), (Segment(163_845), 56, 2));
        assert_eq!((row.owner, row.changed_s), (65_534, 1_795_716_398));
    }
}
