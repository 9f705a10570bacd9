//! Names: `secure-messenger_YYYYMMDD_HHMMSS`, so that names in order are backups in order.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Beginning of every name.
const PREFIX: &str = "secure-messenger_";
const FORMAT: &str = "%Y%m%d_%H%M%S";
/// Folder of all backups in a place.
pub const ROOT: &str = "database";

/// A backup's name, which is when it began, to the second, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BackupName(Timestamp);

impl BackupName {
    /// The name of a backup that begins now.
    pub fn at(time: Timestamp) -> Self {
        Self(Timestamp::from_second(time.as_second()).expect("a time cut to the second stays in range"))
    }

    /// When it began.
    pub fn time(self) -> Timestamp {
        self.0
    }

    /// Where one of its objects lies in a place.
    pub fn path(self, object: &str) -> String {
        format!("{ROOT}/{self}/{object}")
    }

    /// The name in the path of one of its objects.
    pub fn of_path(path: &str) -> Option<Self> {
        path.strip_prefix(ROOT)?.strip_prefix('/')?.split('/').next()?.parse().ok()
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0.to_zoned(TimeZone::UTC).strftime(FORMAT))
    }
}

/// What is not a backup's name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no backup's name; `messenger backup list` shows them")]
pub struct NotAName(pub String);

impl FromStr for BackupName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let refused = || NotAName(text.to_owned());
        let stamp = text.strip_prefix(PREFIX).ok_or_else(refused)?;
        let time = jiff::civil::DateTime::strptime(FORMAT, stamp).map_err(|_| refused())?;
        let name = Self::at(time.to_zoned(TimeZone::UTC).map_err(|_| refused())?.timestamp());
        // One name, one spelling: it becomes a path.
        if name.to_string() == text { Ok(name) } else { Err(refused()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_times_in_one_spelling() {
        let name: BackupName = "secure-messenger_20241204_120000".parse().unwrap();
        assert_eq!(name.time().to_string(), "2024-12-04T12:00:00Z");
        assert_eq!(name.to_string(), "secure-messenger_20241204_120000");
        assert_eq!(BackupName::of_path(&name.path("manifest.json")), Some(name));
        for bad in [
            "",
            "latest",
            "secure-messenger_20241204",
            "secure-messenger_20241304_120000",
            "secure-messenger_20241204_120000/../x",
            "secure-messenger_20241204_1200000",
        ] {
            assert!(bad.parse::<BackupName>().is_err(), "{bad}");
        }
    }
}
