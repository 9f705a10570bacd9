//! Forged requests: a token that only this browser's cookie makes, and the browser's own word where a request began.

use aws_lc_rs::{constant_time, hmac};
use axum::http::{HeaderMap, header};

const PURPOSE: &[u8] = b"secure-messenger console form v1";

/// The token for the forms of whoever holds this cookie.
pub fn token(cookie: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, cookie.as_bytes());
    hmac::sign(&key, PURPOSE).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a form's token is this cookie's.
pub fn matches(cookie: &str, given: &str) -> bool {
    constant_time::verify_slices_are_equal(token(cookie).as_bytes(), given.as_bytes()).is_ok()
}

/// Whether the browser says that the request began on a page of this site. What says nothing is not believed.
pub fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN.as_str());
    let is_here = origin.is_some_and(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == text(header::HOST.as_str())
    });
    match text("sec-fetch-site") {
        Some("same-origin") => origin.is_none() || is_here,
        Some(_) => false,
        None => is_here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_token_belongs_to_one_cookie() {
        assert!(matches("one", &token("one")));
        assert!(!matches("one", &token("two")) && !matches("one", ""));
    }

    #[test]
    fn only_this_site_is_believed() {
        let host = ("host", "console.example");
        for (lines, expected) in [
            (vec![host, ("sec-fetch-site", "same-origin"), ("origin", "https://console.example")], true),
            (vec![host, ("sec-fetch-site", "same-site"), ("origin", "https://console.example")], false),
            (vec![host, ("sec-fetch-site", "cross-site")], false),
            (vec![host, ("sec-fetch-site", "none")], false),
            (vec![host, ("sec-fetch-site", "same-origin"), ("origin", "null")], false),
            (vec![host, ("origin", "https://console.example")], true),
            (vec![host, ("origin", "https://console.example:444")], false),
            (vec![host, ("origin", "https://elsewhere.example")], false),
            (vec![host], false),
        ] {
            assert_eq!(is_own(&headers(&lines)), expected, "{lines:?}");
        }
    }
}
