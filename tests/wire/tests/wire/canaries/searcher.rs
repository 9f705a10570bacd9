//! Looks for what must not be there: as it is, and in the forms in which programs write text.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Letters of a secret under which its forms would be found by chance.
const LETTERS_MIN: usize = 10;

/// One secret and its forms.
struct Wanted {
    secret: String,
    /// Looked for in the text as it is.
    exact: Vec<String>,
    /// Looked for in the text in small letters.
    small: Vec<String>,
}

/// Finds secrets in texts.
pub struct Searcher(Vec<Wanted>);

impl Searcher {
    /// For these.
    pub fn of(secrets: &[String]) -> Self {
        Self(secrets.iter().map(|secret| wanted(secret)).collect())
    }

    /// Those that stand in the text.
    pub fn found(&self, text: &str) -> Vec<&str> {
        let small = text.to_lowercase();
        let has = |one: &&Wanted| {
            one.exact.iter().any(|form| text.contains(form))
                || one.small.iter().any(|form| small.contains(form))
        };
        self.0.iter().filter(has).map(|one| one.secret.as_str()).collect()
    }
}

fn wanted(secret: &str) -> Wanted {
    assert!(secret.len() >= LETTERS_MIN, "{secret:?} is too short to be looked for");
    let bytes = secret.as_bytes();
    let exact = (0..3).flat_map(|offset| base64(bytes, offset)).collect();
    let mut small =
        vec![
            secret.to_owned(),
            written(bytes, |out, byte| write!(out, "{byte:02x}")),
            // As a list of numbers is printed.
            written(bytes, |out, byte| write!(out, "{byte}, ")).trim_end_matches(", ").to_owned(),
            written(bytes, |out, byte| write!(out, "%{byte:02x}")),
            written(bytes, percent),
            written(bytes, percent).replace("%20", "+"),
            // Letters beyond ASCII in a letter, and in strings of Rust, of JSON, of C.
            written(bytes, |out, byte| {
                if byte.is_ascii() { percent_free(out, byte) } else { write!(out, "={byte:02x}") }
            }),
            secret.escape_default().to_string(),
            written(bytes, |out, byte| {
                if byte.is_ascii() { percent_free(out, byte) } else { write!(out, "\\x{byte:02x}") }
            }),
            json(secret),
        ];
    small.iter_mut().for_each(|form| *form = form.to_lowercase());
    small.sort();
    small.dedup();
    Wanted { secret: secret.to_owned(), exact, small }
}

/// What of the encoding does not depend on what stands before and behind, `offset` bytes into a group of three.
fn base64(bytes: &[u8], offset: usize) -> [String; 2] {
    let padded = [&[0u8; 2][..offset.min(2)], bytes].concat();
    let whole = padded.len() / 3 * 3;
    let from = [0, 2, 3][offset];
    [
        STANDARD_NO_PAD.encode(&padded[..whole])[from..].to_owned(),
        URL_SAFE_NO_PAD.encode(&padded[..whole])[from..].to_owned(),
    ]
}

fn written(bytes: &[u8], each: impl Fn(&mut String, u8) -> std::fmt::Result) -> String {
    let mut out = String::new();
    for byte in bytes {
        each(&mut out, *byte).expect("a string takes everything");
    }
    out
}

fn percent_free(out: &mut String, byte: u8) -> std::fmt::Result {
    out.push(char::from(byte));
    Ok(())
}

fn percent(out: &mut String, byte: u8) -> std::fmt::Result {
    let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if is_plain { percent_free(out, byte) } else { write!(out, "%{byte:02x}") }
}

fn json(text: &str) -> String {
    let mut out = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit).ok().filter(u8::is_ascii) {
            Some(byte) => out.push(char::from(byte)),
            None => write!(out, "\\u{unit:04x}").expect("a string takes everything"),
        }
    }
    out
}

#[test]
fn what_is_planted_is_found_in_every_form() {
    let secret = "zoë.k7q2m9@nest-4x8.example".to_owned();
    let searcher = Searcher::of(&[secret.clone(), "0033612345678".to_owned()]);
    let mut planted = vec![
        format!("user={secret} status=200"),
        format!("USER={}", secret.to_uppercase()),
        format!("{:?}", secret.as_bytes()),
        secret.bytes().map(|byte| format!("{byte:02X}")).collect(),
        secret.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        "GET /users?q=zo%C3%AB.k7q2m9%40nest-4x8.example".to_owned(),
        "zo=C3=ABzo=C3=AB.k7q2m9@nest-4x8.example".to_owned(),
        r#"{"email":"zo\u00eb.k7q2m9@nest-4x8.example"}"#.to_owned(),
        secret.escape_default().to_string(),
    ];
    for before in ["", "a", "ab", "abc", "user:"] {
        planted.push(STANDARD_NO_PAD.encode(format!("{before}{secret}")));
        planted.push(URL_SAFE_NO_PAD.encode(format!("{before}{secret}:password")));
    }
    for text in planted {
        assert_eq!(searcher.found(&text), [secret.as_str()], "{text}");
    }
    assert_eq!(searcher.found("tel 0033612345678").len(), 1);
    assert!(searcher.found("zoe.k7q2m9@nest-4x8.exampl 003361234567").is_empty());
}
