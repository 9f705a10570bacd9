//! What is looked for in texts that can be read: addresses made short, words that somebody fishes with, patterns of spam.

use crate::accounts::{AccountError, Answer};
use crate::rows::detection::ContentKind;

/// Most rules.
pub const RULES_MAX: u32 = 1000;
/// Length of a rule's text, in bytes.
const RULE_BYTES: core::ops::RangeInclusive<usize> = 3..=128;
/// Findings that are told of one text.
const TOLD_MAX: usize = 5;

/// The text of a rule as it is kept.
pub(crate) fn must_be_rule(kind: ContentKind, text: &str) -> Answer<String> {
    let text = plain(text);
    let invalid = |problem| Err(AccountError::Invalid { field: "text", problem });
    if !RULE_BYTES.contains(&text.len()) || text.chars().any(char::is_control) {
        return invalid("3 to 128 bytes without control characters");
    }
    let is_domain =
        || text.contains('.') && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    match kind {
        ContentKind::Shortener if !is_domain() => invalid("a domain"),
        ContentKind::Spam if parts(&text).next().is_none() => invalid("words, with * between them"),
        _ => Ok(text),
    }
}

/// What the rules find in a text, in words; at most a few of them.
pub(crate) fn judge(rules: &[(ContentKind, String)], text: &str) -> Vec<String> {
    let text = plain(text);
    let found = rules.iter().filter(|(kind, rule)| match kind {
        ContentKind::Shortener => has_domain(&text, rule),
        ContentKind::Phishing => text.contains(rule.as_str()),
        ContentKind::Spam => has_in_order(&text, rule),
    });
    found.take(TOLD_MAX).map(|(kind, rule)| format!("{} {rule}", kind.name().to_lowercase())).collect()
}

/// Small letters with single spaces.
fn plain(text: &str) -> String {
    text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The domain itself, not the end or the beginning of another one.
fn has_domain(text: &str, domain: &str) -> bool {
    text.match_indices(domain).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + domain.len()..].chars().next();
        let is_name = |c: char| c.is_alphanumeric() || c == '-';
        // A dot before it belongs to www; one behind it ends a sentence, unless more follows.
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    })
}

fn parts(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('*').map(str::trim).filter(|part| !part.is_empty())
}

fn has_in_order(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    parts(pattern).all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_find_what_they_are_for() {
        use ContentKind::{Phishing, Shortener, Spam};
        let found = |kind, rule: &str, text: &str| {
            let rule = must_be_rule(kind, rule).unwrap();
            !judge(&[(kind, rule)], text).is_empty()
        };
        for text in ["see https://t.co/abc", "T.CO/abc", "www.t.co", "(t.co)"] {
            assert!(found(Shortener, "t.co", text), "{text}");
        }
        for text in ["reddit.com", "t.company", "at.co", "a-t.co", ""] {
            assert!(!found(Shortener, "t.co", text), "{text}");
        }
        assert!(found(Phishing, "Verify your account", "please  VERIFY\nyour account now"));
        assert!(!found(Phishing, "verify your account", "verify the account"));
        assert!(found(Spam, "invest * double", "Invest today, DOUBLE tomorrow"));
        assert!(!found(Spam, "invest * double", "double what you invest"));
        assert_eq!(judge(&[(Spam, "a*b".into())], "a b"), ["spam a*b"]);
    }

    #[test]
    fn a_rule_says_something() {
        for (kind, bad) in [
            (ContentKind::Shortener, "no domain"),
            (ContentKind::Shortener, "localhost"),
            (ContentKind::Spam, "***"),
            (ContentKind::Phishing, "ab"),
            (ContentKind::Phishing, &"x".repeat(129)),
            (ContentKind::Phishing, "a\u{7}bc"),
        ] {
            assert!(must_be_rule(kind, bad).is_err(), "{bad}");
        }
        assert_eq!(must_be_rule(ContentKind::Shortener, " Bit.LY "), Ok("bit.ly".into()));
    }
}
