//! Problems: every expected "no" of the API, with its HTTP status, its stable name and what to do about it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schema_store::AccountError;
use schema_wire::record::{StoreFault, UserStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident = $status:literal, $name:literal, $todo:literal;)*) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The HTTP status it travels with.
            pub const fn status(self) -> u16 { match self { $(Code::$variant => $status,)* } }

            /// The stable upper-case name.
            pub const fn name(self) -> &'static str { match self { $(Code::$variant => $name,)* } }

            /// What the client should do, in a sentence.
            pub const fn advice(self) -> &'static str { match self { $(Code::$variant => $todo,)* } }
        }
    };
}

problems! {
    /// Not JSON, a wrong type, or a field that does not exist.
    Malformed = 400, "MALFORMED", "Send a JSON body as /api/docs describes it.";
    /// A value is not acceptable.
    Invalid = 422, "INVALID", "Correct the field the message names.";
    /// The new password is too weak.
    WeakPassword = 422, "WEAK_PASSWORD", "Choose a longer password that is harder to guess.";
    /// Only JSON is understood.
    NotJson = 415, "NOT_JSON", "Send `Content-Type: application/json`.";
    /// The body is larger than the route allows.
    TooLarge = 413, "TOO_LARGE", "Send less at once.";
    /// No such route.
    NoRoute = 404, "NO_ROUTE", "Check the path against /api/docs.";
    /// The route exists, not with this method.
    WrongMethod = 405, "WRONG_METHOD", "Check the method against /api/docs.";
    /// The request took too long to arrive or to answer.
    TimedOut = 408, "TIMED_OUT", "Send the request again.";

    /// No access token.
    TokenMissing = 401, "TOKEN_MISSING", "Send `Authorization: Bearer` with an access token.";
    /// Forged, foreign, revoked, or not an access token.
    TokenInvalid = 401, "TOKEN_INVALID", "Log in again and use the new access token.";
    /// The access token ran out.
    TokenExpired = 401, "TOKEN_EXPIRED", "Get a fresh access token with the refresh token.";
    /// Wrong address or wrong password: the two look alike on purpose.
    LoginFailed = 401, "LOGIN_FAILED", "Check the email address and the password.";
    /// The password that confirms a change is wrong.
    PasswordWrong = 403, "PASSWORD_WRONG", "Send the account's current password.";
    /// Unknown, used up, or run out.
    RefreshInvalid = 401, "REFRESH_INVALID", "Log in again.";
    /// A refresh token was used twice: one of the two holders is not the owner.
    RefreshReused = 401, "REFRESH_REUSED", "This session was ended because its refresh token was used twice; log in again.";
    /// The link of a letter is unknown, used up, or run out.
    LinkInvalid = 400, "LINK_INVALID", "The link was used or has run out; ask for a new one.";
    /// The invitation is unknown, used up, or run out.
    InviteInvalid = 403, "INVITE_INVALID", "Ask for a new invitation.";

    /// Nobody can register here.
    RegistrationClosed = 403, "REGISTRATION_CLOSED", "Ask the operator for an account.";
    /// An account with this address exists (told only where a letter can't tell it).
    EmailTaken = 409, "EMAIL_TAKEN", "Log in, or reset the password.";
    /// Waiting for approval or for the mail to be verified.
    AccountPending = 403, "ACCOUNT_PENDING", "Verify the email address, or wait for the operator's approval.";
    /// Suspended.
    AccountSuspended = 403, "ACCOUNT_SUSPENDED", "The account is suspended; ask the operator.";
    /// Banned.
    AccountBanned = 403, "ACCOUNT_BANNED", "The account is banned; ask the operator.";

    /// The address it comes from is banned.
    AddressBanned = 403, "ADDRESS_BANNED", "Requests from this network are refused; ask the operator.";

    /// No such thing, or none that this account may see: the two look alike on purpose.
    NotFound = 404, "NOT_FOUND", "Check the id; nothing tells whether it exists for others.";
    /// The role does not allow it.
    NotAllowed = 403, "NOT_ALLOWED", "Ask an owner or admin of the conversation.";
    /// The account has not the role the route is for.
    RoleMissing = 403, "ROLE_MISSING", "Only administrators may do this.";
    /// A group keeps an owner.
    LastOwner = 409, "LAST_OWNER", "Make somebody else an owner first.";
    /// The console keeps an administrator.
    LastAdministrator = 409, "LAST_ADMINISTRATOR", "Make another account an administrator first.";
    /// One of the two blocked the other.
    Blocked = 403, "BLOCKED", "This person does not take messages from you.";
    /// Somebody else was faster.
    Overtaken = 409, "OVERTAKEN", "Load it again: somebody else was faster.";
    /// A bound was reached.
    TooMany = 409, "TOO_MANY", "Remove something first.";

    /// Over the request limit.
    RateLimited = 429, "RATE_LIMITED", "Slow down; try again after the time given.";
    /// Too many requests under way.
    Busy = 503, "BUSY", "Try again after the time given.";
    /// The store does not answer.
    StoreUnavailable = 503, "STORE_UNAVAILABLE", "Nothing was stored; try again after the time given.";
    /// No way to send letters is set up.
    MailUnavailable = 503, "MAIL_UNAVAILABLE", "Ask the operator for a new password.";
    /// The disk is full.
    StoreFull = 507, "STORE_FULL", "Nothing was stored; the operator has to free space.";
    /// A defect of the server.
    Internal = 500, "INTERNAL", "Report the request id to the operator.";
}

/// One "no", ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    code: Code,
    message: Option<String>,
    retry_after: Option<u64>,
}

impl Problem {
    /// With a message that names the particulars.
    pub fn with(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), retry_after: None }
    }

    /// Worth trying again after so many seconds.
    pub fn after(code: Code, seconds: u64) -> Self {
        Self { code, message: None, retry_after: Some(seconds) }
    }

    /// A field that is not acceptable.
    pub fn field(field: &str, problem: &str) -> Self {
        Self::with(Code::Invalid, format!("{field}: {problem}"))
    }

    /// Which one it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What to do, in a sentence.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or(self.code.advice())
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self { code, message: None, retry_after: None }
    }
}

impl From<UserStatus> for Problem {
    fn from(status: UserStatus) -> Self {
        match status {
            UserStatus::Pending => Code::AccountPending,
            UserStatus::Suspended { .. } => Code::AccountSuspended,
            UserStatus::Banned => Code::AccountBanned,
            UserStatus::Active | UserStatus::Deleted => Code::TokenInvalid,
        }
        .into()
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Fault(StoreFault::Unavailable) => Self::after(Code::StoreUnavailable, 2),
            AccountError::Fault(StoreFault::Full) => Self::after(Code::StoreFull, 30),
            AccountError::Invalid { field, problem } => Self::field(field, problem),
            AccountError::EmailTaken => Code::EmailTaken.into(),
            AccountError::TokenInvalid => Code::TokenInvalid.into(),
            AccountError::RefreshReused { .. } => Code::RefreshReused.into(),
            AccountError::NotActive(status) => status.into(),
            AccountError::NotFound => Code::NotFound.into(),
            AccountError::NotAllowed => Code::NotAllowed.into(),
            AccountError::LastOwner => Code::LastOwner.into(),
            AccountError::LastAdministrator => Code::LastAdministrator.into(),
            AccountError::Blocked => Code::Blocked.into(),
            AccountError::Overtaken => Code::Overtaken.into(),
            AccountError::TooMany { limit } => {
                Self::with(Code::TooMany, format!("At most {limit} are allowed."))
            }
        }
    }
}

/// How a problem looks on the wire.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    pub error: ErrorDetail,
}

/// The inside of an error.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// A stable name from the table in /api/docs.
    pub code: String,
    /// What to do.
    pub message: String,
    /// Seconds after which the same request may succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).expect("the table holds valid statuses");
        let detail = ErrorDetail {
            code: self.code.name().to_owned(),
            message: self.message().to_owned(),
            retry_after: self.retry_after,
        };
        let mut response = (status, Json(ErrorBody { error: detail })).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| (400..600).contains(&code.status())));
    }

    #[test]
    fn a_wait_is_said_twice() {
        let response = Problem::after(Code::RateLimited, 7).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "7");
    }
}
