//! What goes wrong on the way to a page. The guard turns it into a page in the visitor's language.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schema_store::AccountError;
use schema_wire::record::StoreFault;

use crate::front::problem::Problem;

/// Why somebody does not get what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Nobody is signed in, or not any more.
    SignIn,
    /// The role does not allow it.
    Forbidden,
    NotFound,
    WrongMethod,
    /// The form is not one of this browser's, or an old one.
    Forged,
    /// The form can't be read.
    Malformed,
    /// Too many requests; seconds to wait.
    TooMany(u64),
    /// The store does not answer.
    Unavailable,
    TimedOut,
}

impl Trouble {
    /// Its HTTP status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::SignIn => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Forged => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The key of what to do about it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::SignIn => "error-sign-in",
            Self::Forbidden => "error-forbidden",
            Self::NotFound => "error-not-found",
            Self::WrongMethod => "error-wrong-method",
            Self::Forged => "error-forged",
            Self::Malformed => "error-malformed",
            Self::TooMany(_) => "error-too-many",
            Self::Unavailable => "error-unavailable",
            Self::TimedOut => "error-timed-out",
        }
    }
}

impl From<AccountError> for Trouble {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Fault(StoreFault::Unavailable | StoreFault::Full) => Self::Unavailable,
            AccountError::NotAllowed => Self::Forbidden,
            AccountError::NotFound => Self::NotFound,
            _ => Self::Malformed,
        }
    }
}

impl From<Problem> for Trouble {
    /// Of what the hasher refuses: only that too much waits.
    fn from(_: Problem) -> Self {
        Self::TooMany(1)
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Self::TooMany(seconds) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}
