//! Signing in and out. Unknown accounts cost the same work and get the same answer as wrong passwords.

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use schema_store::AccountError;
use schema_store::accounts::NAME_BYTES_MAX;
use schema_store::rows::device::{NewSession, SessionGrant};
use schema_store::token::{NewToken, TokenHash};
use schema_wire::DeviceId;
use schema_wire::record::UserStatus;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{DoneBody, done};
use crate::access::limit::{Budget, Subject};
use crate::access::password::is_outdated;
use crate::app::{App, Backing};
use crate::front::body::{Body, FromText, check_name};
use crate::front::guard::{By, Caller, count};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, public, user};

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        public(Method::POST, "/api/v1/auth/login", "Log in with email and password.")
            .guessing()
            .takes::<LoginBody>()
            .gives::<SessionBody>()
            .refuses(&[
                Code::LoginFailed,
                Code::AccountPending,
                Code::AccountSuspended,
                Code::AccountBanned,
                Code::Invalid,
                Code::TooMany,
            ])
            .to(login::<S>),
        public(
            Method::POST,
            "/api/v1/auth/refresh",
            "Exchange a refresh token for fresh tokens; each works once.",
        )
        .takes::<RefreshBody>()
        .gives::<SessionBody>()
        .refuses(&[Code::RefreshInvalid, Code::RefreshReused, Code::AccountSuspended, Code::AccountBanned])
        .to(refresh::<S>),
        user(Method::POST, "/api/v1/auth/logout", "Log this device out: its tokens end within a second.")
            .gives::<DoneBody>()
            .to(logout::<S>),
    ]
}

/// Who wants in, on what.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    pub email: String,
    pub password: String,
    /// Name of the device, shown in the list of devices.
    pub device: String,
    /// Id of the device from an earlier login, to be the same device again.
    #[serde(default)]
    pub device_id: Option<String>,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshBody {
    pub refresh_token: String,
}

/// A session: tokens for the API and the relay.
#[derive(Serialize, ToSchema)]
pub struct SessionBody {
    /// For `Authorization: Bearer` here and for the relay.
    pub access_token: String,
    /// For one use at /api/v1/auth/refresh.
    pub refresh_token: String,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds the access token lives.
    pub expires_in: u64,
    /// The user's id.
    pub user: String,
    /// The device's id.
    pub device: String,
    /// The user's name.
    pub name: String,
}

async fn login<S: Backing>(
    State(app): State<App<S>>,
    By(mut origin): By,
    Body(body): Body<LoginBody>,
) -> Result<Json<SessionBody>, Problem> {
    check_name("device", &body.device, NAME_BYTES_MAX)?;
    let device = body.device_id.as_deref().map(|text| DeviceId::from_text("device_id", text)).transpose()?;
    count(&app, Some(Budget::Auth), account_subject(&body.email)).await?;
    let record = app.store.login_record(body.email).await?;
    let kept = record.as_ref().map(|record| record.password_hash.clone());
    let is_right = app.hasher.verify(body.password.clone(), kept).await?;
    let Some(record) = record.as_ref().filter(|_| is_right) else {
        let reason = if record.is_some() { "wrong password" } else { "unknown account" };
        app.store.login_failed(record.map(|record| record.user), reason, origin).await?;
        return Err(Code::LoginFailed.into());
    };
    if record.status != UserStatus::Active {
        app.store.login_failed(Some(record.user), "account not active", origin).await?;
        return Err(match record.status {
            UserStatus::Deleted | UserStatus::Active => Code::LoginFailed.into(),
            status => status.into(),
        });
    }
    origin.actor = Some(record.user);
    let (secret, refresh) = NewToken::generate(app.clock.now_ms() + app.config.refresh_ttl_s * 1000);
    let device_name = body.device.trim().to_owned();
    let rehash = match is_outdated(&record.password_hash) {
        true => Some(app.hasher.hash(body.password).await?),
        false => None,
    };
    let new = NewSession { user: record.user, device, device_name, refresh, rehash };
    let grant = app.store.open_session(new, origin).await?;
    session(&app, grant, secret)
}

async fn refresh<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Body(body): Body<RefreshBody>,
) -> Result<Json<SessionBody>, Problem> {
    let (secret, new) = NewToken::generate(app.clock.now_ms() + app.config.refresh_ttl_s * 1000);
    let rotated = app.store.rotate_refresh(TokenHash::of(&body.refresh_token), new, origin).await;
    let grant = rotated.map_err(|error| match error {
        AccountError::TokenInvalid | AccountError::NotFound => Problem::from(Code::RefreshInvalid),
        AccountError::NotActive(UserStatus::Deleted) => Problem::from(Code::RefreshInvalid),
        other => other.into(),
    })?;
    session(&app, grant, secret)
}

async fn logout<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
) -> Result<Json<DoneBody>, Problem> {
    app.store.revoke_device(caller.user, caller.device, origin).await?;
    Ok(done())
}

fn session<S>(
    app: &App<S>,
    grant: SessionGrant,
    refresh_token: String,
) -> Result<Json<SessionBody>, Problem> {
    let access_token = app
        .tokens
        .issue(grant.user, grant.device, app.clock.now_s())
        .map_err(|_| Problem::from(Code::Internal))?;
    Ok(Json(SessionBody {
        access_token,
        refresh_token,
        token_type: "Bearer",
        expires_in: app.tokens.access_ttl_s,
        user: grant.user.to_string(),
        device: grant.device.to_string(),
        name: grant.name,
    }))
}

/// What guesses at one account count against, whether it exists or not.
pub fn account_subject(email: &str) -> Subject {
    Subject::Account(Sha256::digest(email.trim().to_lowercase().as_bytes()).into())
}
