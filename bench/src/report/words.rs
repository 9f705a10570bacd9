//! Numbers as people read them: three significant digits, thousands apart, `n/a` where there is none.

use super::row::measured;

/// Where a number does not apply.
pub const NONE: &str = "n/a";

/// Three significant digits, thousands apart by commas.
pub fn number(value: f64) -> String {
    let Some(value) = measured(value) else { return NONE.into() };
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = (2 - magnitude).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    if magnitude < 3 { text } else { thousands(&text) }
}

/// Two decimals and the sign of a factor.
pub fn factor(value: f64) -> String {
    measured(value).map_or_else(|| NONE.into(), |value| format!("{value:.2}×"))
}

/// A rate with k or M.
pub fn rate(value: f64) -> String {
    match measured(value) {
        None => NONE.into(),
        Some(value) if value >= 1e6 => format!("{} M", number(value / 1e6)),
        Some(value) if value >= 1e5 => format!("{} k", number(value / 1e3)),
        Some(value) => number(value),
    }
}

/// Microseconds in the unit that reads best.
pub fn duration(us: f64) -> String {
    match measured(us) {
        None => NONE.into(),
        Some(us) if us >= 1e6 => format!("{} s", short(us / 1e6)),
        Some(us) if us >= 1e3 => format!("{} ms", short(us / 1e3)),
        Some(us) => format!("{} µs", short(us)),
    }
}

/// Three significant digits without zeros at the end.
fn short(value: f64) -> String {
    let text = number(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// A count with its thousands apart.
pub fn count(value: u64) -> String {
    thousands(&value.to_string())
}

fn thousands(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left.is_multiple_of(3) && digit.is_ascii_digit() && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
