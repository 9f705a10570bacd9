//! Text from elsewhere, made fit for a terminal: no control characters, times as people write them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Characters that could move the cursor, hide text or reorder it are replaced; tabs and line ends become spaces.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            c if c.is_control() => '\u{fffd}',
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => {
                '\u{fffd}'
            }
            c => c,
        })
        .collect()
}

/// The body as text when it is UTF-8, else how long it is.
pub fn body(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => printable(text),
        Err(_) => format!("({} bytes that are not text)", bytes.len()),
    }
}

/// Unix milliseconds as RFC 3339, in UTC.
pub fn rfc3339(unix_ms: u64) -> String {
    moment(unix_ms).map_or_else(|| unix_ms.to_string(), |t| t.to_string())
}

/// Unix milliseconds as hours and minutes here.
pub fn clock(unix_ms: u64) -> String {
    let local = moment(unix_ms).map(|t| t.to_zoned(TimeZone::system()));
    local.map_or_else(|| "--:--".to_owned(), |t| t.strftime("%H:%M").to_string())
}

fn moment(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_cannot_drive_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{202e}c\nd"), "a\u{fffd}[2Jb\u{fffd}c d");
        assert_eq!(body(&[0xff, 0xfe]), "(2 bytes that are not text)");
        assert_eq!(body("grüße 👋".as_bytes()), "grüße 👋");
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(u64::MAX), u64::MAX.to_string());
    }
}
