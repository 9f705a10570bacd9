//! Email addresses as account names: one spelling per address, and a check that refuses what can't be one.

/// Longest address (RFC 5321 §4.5.3.1.3, without the angle brackets), in bytes.
pub const EMAIL_BYTES_MAX: usize = 254;

/// Trimmed and lower-cased; `None` when it can't be an address. Only the mail proves that it is one.
pub fn normalise_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.rsplit_once('@')?;
    let plain = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_whitespace() || c.is_control());
    let fits = email.len() <= EMAIL_BYTES_MAX && local.len() <= 64 && !local.contains('@');
    let dotted = !domain.starts_with('.') && !domain.ends_with('.') && !domain.contains("..");
    (fits && plain(local) && plain(domain) && dotted).then_some(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_per_address() {
        assert_eq!(normalise_email(" Alice@Example.ORG ").as_deref(), Some("alice@example.org"));
        for bad in [
            "",
            "alice",
            "@x.org",
            "alice@",
            "a b@x.org",
            "a@b@x.org",
            "a@x..org",
            "a@.org",
            "a@x.org\r\nBcc: y",
        ] {
            assert_eq!(normalise_email(bad), None, "{bad:?}");
        }
        assert_eq!(normalise_email(&format!("{}@x.org", "a".repeat(65))), None);
    }
}
