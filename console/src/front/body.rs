//! Reading requests: JSON bodies, queries and ids in paths, with one shape of error for all of them.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use schema_wire::{ConversationId, DeviceId, UserId};
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};
use crate::frame::fields::is_unprintable;

/// A JSON body. Fields that the type does not know are refused by the type itself.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Code::NotJson.into());
        }
        let bytes =
            Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Problem::from(Code::TooLarge),
                _ => Problem::from(Code::Malformed),
            })?;
        if has_nul(&bytes) {
            return Err(Problem::with(Code::Malformed, "No text may hold the character U+0000."));
        }
        if !is_object(&bytes) {
            return Err(Problem::with(Code::Malformed, "The body is a JSON object."));
        }
        match Json::<T>::from_bytes(&bytes) {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::JsonDataError(error)) => {
                let text = error.body_text();
                Err(Problem::with(Code::Malformed, text.rsplit("target type: ").next().unwrap_or(&text)))
            }
            Err(_) => Err(Code::Malformed.into()),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Whether this JSON can be an object: without a look, the values of an array would be taken for its fields, in order.
fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Whether a text in this JSON holds the one character that not every store takes. It can only be written as an escape.
fn has_nul(json: &[u8]) -> bool {
    let escapes = json.windows(6).enumerate().filter(|(_, six)| *six == b"\\u0000");
    let mut escapes =
        escapes.map(|(at, _)| json[..at].iter().rev().take_while(|byte| **byte == b'\\').count());
    // After another backslash it is no escape.
    escapes.any(|before| before % 2 == 0)
}

/// The same, whatever the request says its body is: command lines send JSON as a form.
pub struct AnyJson<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for AnyJson<T> {
    type Rejection = Problem;

    async fn from_request(mut request: Request, state: &S) -> Result<Self, Problem> {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Body::from_request(request, state).await.map(|Body(value)| Self(value))
    }
}

/// The query of a request.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|_| Problem::with(Code::Malformed, "The query holds an unknown or malformed parameter."))
    }
}

/// Ids in text form; a malformed one names its field.
pub trait FromText: Sized {
    /// From the hyphenated form.
    fn from_text(field: &str, text: &str) -> Result<Self, Problem>;
}

macro_rules! from_text {
    ($($id:ty),*) => {$(
        impl FromText for $id {
            fn from_text(field: &str, text: &str) -> Result<Self, Problem> {
                Self::parse(text).ok_or_else(|| Problem::field(field, "not an id"))
            }
        }
    )*};
}

from_text!(UserId, DeviceId, ConversationId);

/// A mail address that can be written to: checked for shape, not for existence.
pub fn check_email(email: &str) -> Result<(), Problem> {
    let shape = email.trim();
    let fits = shape.len() <= 254 && !shape.contains(|c: char| c.is_control() || c.is_whitespace());
    if fits && shape.parse::<lettre::Address>().is_ok() {
        return Ok(());
    }
    Err(Problem::field("email", "not a mail address"))
}

/// A name that can be shown: not empty, bounded, one line that reads as what it is.
pub fn check_name(field: &str, name: &str, bytes_max: usize) -> Result<(), Problem> {
    if name.trim().is_empty() {
        return Err(Problem::field(field, "must not be empty"));
    }
    if name.len() > bytes_max {
        return Err(Problem::field(field, &format!("at most {bytes_max} bytes")));
    }
    if name.chars().any(is_unprintable) {
        let problem = "must not hold control characters, nor marks that turn the reading direction";
        return Err(Problem::field(field, problem));
    }
    Ok(())
}

/// Text of several lines that reads as what it is; it may be empty.
pub fn check_lines(field: &str, text: &str, bytes_max: usize) -> Result<(), Problem> {
    if text.len() > bytes_max {
        return Err(Problem::field(field, &format!("at most {bytes_max} bytes")));
    }
    if text.chars().any(|c| is_unprintable(c) && !matches!(c, '\n' | '\r' | '\t')) {
        let problem =
            "must not hold control characters but line breaks, nor marks that turn the reading direction";
        return Err(Problem::field(field, problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_checked_for_shape() {
        assert!(check_email("alice@home.example").is_ok());
        for bad in ["", "alice", "@home.example", "a b@home.example", "a@b\r\nBcc: c@d.example"] {
            assert!(check_email(bad).is_err(), "{bad:?}");
        }
        assert!(check_lines("about", "two\r\nlines\t", 64).is_ok() && check_lines("about", "", 64).is_ok());
        for bad in ["\u{1b}[2J", "\u{202e}", &"x".repeat(65)] {
            assert!(check_lines("about", bad, 64).is_err(), "{bad:?}");
        }
        assert!(check_name("name", "Zoë 🦀", 128).is_ok());
        for bad in ["", "  ", "a\nb", "a\u{7}", "\u{202e}ecila", "\u{2066}alice", &"x".repeat(129)] {
            assert!(check_name("name", bad, 128).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_character_that_no_text_holds_is_seen() {
        for bad in [r#"{"a":"\u0000"}"#, r#"{"\u0000":1}"#, r#"["\\\u0000"]"#] {
            assert!(has_nul(bad.as_bytes()), "{bad}");
        }
        for good in [r#"{"a":"\\u0000"}"#, r#"{"a":"u0000"}"#, r#"{"a":"\u0001"}"#, "", "\\u000"] {
            assert!(!has_nul(good.as_bytes()), "{good}");
        }
    }

    #[test]
    fn an_array_is_no_object() {
        assert!(
            is_object(b" \n{}")
                && !is_object(b"[]")
                && !is_object(b" [{}]")
                && !is_object(b"")
                && !is_object(b"null")
        );
    }

    #[test]
    fn json_says_so() {
        let is = |kind: &'static str| {
            is_json(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        assert!(
            is("application/json") && is("Application/JSON; charset=utf-8") && is("application/problem+json")
        );
        assert!(!is("text/json") && !is("application/jsonp") && !is("") && !is_json(&HeaderMap::new()));
    }
}
