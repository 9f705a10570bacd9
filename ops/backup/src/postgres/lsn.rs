//! Positions in a server's log, and the names of its segments.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A position in the log, in bytes from its beginning; written as PostgreSQL writes it, such as `0/16B3748`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lsn(pub u64);

/// What is no position.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no position in the log; write it as PostgreSQL does, such as 0/16B3748")]
pub struct NotALsn(pub String);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = NotALsn;

    fn from_str(text: &str) -> Result<Self, NotALsn> {
        let half = |digits: &str| {
            let is_fine = (1..=8).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
            is_fine.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        let read = text.split_once('/').and_then(|(high, low)| Some(half(high)? << 32 | half(low)?));
        read.map(Self).ok_or_else(|| NotALsn(text.to_owned()))
    }
}

impl TryFrom<String> for Lsn {
    type Error = NotALsn;

    fn try_from(text: String) -> Result<Self, NotALsn> {
        text.parse()
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

/// A file of the log, as PostgreSQL names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogFile {
    /// A stretch of the log: its number, and the timeline it was written on.
    Segment { number: u64, timeline: u32, bytes: u64 },
    /// Where a timeline branched off.
    History { timeline: u32 },
}

/// Digits of a timeline and of each half of a segment's number.
const DIGITS: usize = 8;

impl LogFile {
    /// Reads a file's name; `bytes` is what a segment has on this server.
    pub fn parse(name: &str, bytes: u64) -> Option<Self> {
        let hex = |text: &str| {
            let is_fine =
                text.len() == DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
            is_fine.then(|| u32::from_str_radix(text, 16).ok()).flatten()
        };
        if let Some(timeline) = name.strip_suffix(".history") {
            return Some(Self::History { timeline: hex(timeline)? });
        }
        let (timeline, high, low) = (hex(name.get(..8)?)?, hex(name.get(8..16)?)?, hex(name.get(16..)?)?);
        let per_id = per_id(bytes)?;
        let is_fine = u64::from(low) < per_id;
        is_fine.then(|| Self::Segment { number: u64::from(high) * per_id + u64::from(low), timeline, bytes })
    }

    /// The segment of a position.
    pub fn of(lsn: Lsn, timeline: u32, bytes: u64) -> Self {
        Self::Segment { number: lsn.0 / bytes.max(1), timeline, bytes }
    }
}

/// Segments in 4 GiB of the log.
fn per_id(bytes: u64) -> Option<u64> {
    (bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes)).then(|| (1 << 32) / bytes)
}

impl fmt::Display for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Segment { number, timeline, bytes } => {
                let per_id = per_id(bytes).unwrap_or(1);
                write!(f, "{timeline:08X}{:08X}{:08X}", number / per_id, number % per_id)
            }
            Self::History { timeline } => write!(f, "{timeline:08X}.history"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_written_as_the_server_writes_them() {
        for (text, value) in [("0/0", 0), ("0/16B3748", 0x16b_3748), ("A/FFFFFFFF", 0xa_ffff_ffff)] {
            assert_eq!(text.parse(), Ok(Lsn(value)));
            assert_eq!(Lsn(value).to_string(), text);
        }
        for bad in ["", "0", "/", "0/", "0/123456789", "g/0", "+1/0", "0/0/0"] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn segments_are_named_as_the_server_names_them() {
        let bytes = 16 << 20;
        let segment = LogFile::of(Lsn(0x1_0203_0405), 3, bytes);
        assert_eq!(segment.to_string(), "000000030000000100000002");
        assert_eq!(LogFile::parse("000000030000000100000002", bytes), Some(segment));
        let history = LogFile::History { timeline: 0x1f };
        assert_eq!(LogFile::parse("0000001F.history", bytes), Some(history));
        assert_eq!(history.to_string(), "0000001F.history");
        for bad in [
            "",
            "000000030000000100000100",
            "00000003000000010000000",
            "00000003000000010000000g",
            "000000030000000100000002.partial",
            "../../../../etc/passwd.history",
            "0000001f.history",
        ] {
            assert_eq!(LogFile::parse(bad, bytes), None, "{bad}");
        }
        assert_eq!(LogFile::parse("000000030000000100000002", 12345), None);
    }
}
