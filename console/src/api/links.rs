//! What links in letters do: confirm an address, choose a new password. Each works once and for a bounded time.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use schema_store::AccountError;
use schema_store::rows::account::Origin;
use schema_store::token::TokenHash;
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::account_subject;
use super::{DoneBody, done};
use crate::access::limit::Budget;
use crate::access::password::check_password;
use crate::app::{App, Backing};
use crate::front::body::{Body, check_email};
use crate::front::guard::{By, count};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, public};
use crate::mail::Errand;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        public(Method::POST, "/api/v1/auth/verify-mail", "Confirm the address with the token of the letter.")
            .guessing()
            .takes::<VerifyBody>()
            .gives::<DoneBody>()
            .refuses(&[Code::LinkInvalid])
            .to(verify::<S>),
        public(
            Method::POST,
            "/api/v1/auth/password-reset",
            "Ask for a letter with a reset link. The answer is the same for every address.",
        )
        .guessing()
        .takes::<ResetRequestBody>()
        .gives::<DoneBody>()
        .status(202)
        .refuses(&[Code::MailUnavailable, Code::Invalid])
        .to(request_reset::<S>),
        public(
            Method::POST,
            "/api/v1/auth/password-reset/confirm",
            "Set a new password with the token of the letter (once, within 1 hour); every device is logged out.",
        )
        .guessing()
        .takes::<ResetBody>()
        .gives::<DoneBody>()
        .refuses(&[Code::LinkInvalid, Code::WeakPassword])
        .to(confirm_reset::<S>),
    ]
}

/// The token of a verification letter.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBody {
    pub token: String,
}

/// Whose password was forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetRequestBody {
    pub email: String,
}

/// The token of a reset letter, and the password to set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetBody {
    pub token: String,
    pub password: String,
}

async fn verify<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Body(body): Body<VerifyBody>,
) -> Result<Json<DoneBody>, Problem> {
    verify_mail(&app, &body.token, origin).await?;
    Ok(done())
}

async fn request_reset<S: Backing>(
    State(app): State<App<S>>,
    By(by): By,
    Body(body): Body<ResetRequestBody>,
) -> Result<(StatusCode, Json<DoneBody>), Problem> {
    check_email(&body.email)?;
    if !app.post.is_open() {
        return Err(Code::MailUnavailable.into());
    }
    count(&app, Some(Budget::Auth), account_subject(&body.email)).await?;
    let errand = Errand::PasswordReset { email: body.email.trim().to_owned(), by };
    if !app.post.leave(errand) {
        return Err(Problem::after(Code::Busy, 5));
    }
    Ok((StatusCode::ACCEPTED, done()))
}

async fn confirm_reset<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Body(body): Body<ResetBody>,
) -> Result<Json<DoneBody>, Problem> {
    reset_password(&app, &body.token, body.password, origin).await?;
    Ok(done())
}

/// Confirms an address. Also behind the page the letter links to.
pub async fn verify_mail<S: Backing>(app: &App<S>, token: &str, origin: Origin) -> Result<(), Problem> {
    app.store.verify_mail(TokenHash::of(token), origin).await.map(drop).map_err(link_problem)
}

/// Sets a forgotten password. Also behind the page the letter links to.
pub async fn reset_password<S: Backing>(
    app: &App<S>,
    token: &str,
    password: String,
    origin: Origin,
) -> Result<(), Problem> {
    check_password(&password, "")?;
    let hash = app.hasher.hash(password).await?;
    app.store.reset_password(TokenHash::of(token), hash, origin).await.map(drop).map_err(link_problem)
}

fn link_problem(error: AccountError) -> Problem {
    match error {
        AccountError::TokenInvalid | AccountError::NotFound => Code::LinkInvalid.into(),
        other => other.into(),
    }
}
