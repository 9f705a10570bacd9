//! Reading requests: JSON bodies, queries and ids in paths, with one shape of error for all of them.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use schema_wire::{ConversationId, DeviceId, UserId};
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem};

/// A JSON body. Fields that the type does not know are refused by the type itself.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(Code::NotJson.into()),
            Err(JsonRejection::JsonDataError(error)) => {
                let text = error.body_text();
                Err(Problem::with(Code::Malformed, text.rsplit("target type: ").next().unwrap_or(&text)))
            }
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Code::TooLarge.into())
            }
            Err(_) => Err(Code::Malformed.into()),
        }
    }
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

/// A name that can be shown: not empty, bounded, without control characters.
pub fn check_name(field: &str, name: &str, bytes_max: usize) -> Result<(), Problem> {
    if name.trim().is_empty() {
        return Err(Problem::field(field, "must not be empty"));
    }
    if name.len() > bytes_max {
        return Err(Problem::field(field, &format!("at most {bytes_max} bytes")));
    }
    if name.chars().any(char::is_control) {
        return Err(Problem::field(field, "must not hold control characters"));
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
        assert!(check_name("name", "Zoë 🦀", 128).is_ok());
        for bad in ["", "  ", "a\nb", &"x".repeat(129)] {
            assert!(check_name("name", bad, 128).is_err(), "{bad:?}");
        }
    }
}
