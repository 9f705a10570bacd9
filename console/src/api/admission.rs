//! Who is let in: invitations and approvals. For accounts with the role ADMIN; everybody else is refused.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use schema_store::AccountError;
use schema_store::accounts::{Answer, PAGE_ROWS_MAX};
use schema_store::rows::account::{InviteId, NewInvite};
use schema_store::rows::role::AccountRole;
use schema_store::token::NewToken;
use schema_wire::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DoneBody, done};
use crate::app::{App, Backing};
use crate::front::body::{Body, FromText, Params, check_email};
use crate::front::guard::By;
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, admin};

/// Life of an invitation unless asked otherwise, in seconds.
const INVITE_S: u64 = 7 * 24 * 60 * 60;
/// Longest life of an invitation, in seconds.
const INVITE_S_MAX: u64 = 90 * 24 * 60 * 60;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        admin(Method::POST, "/api/v1/invites", "Invite somebody; the secret is shown once.")
            .takes::<InviteBody>()
            .gives::<InvitedBody>()
            .status(201)
            .refuses(&[Code::Invalid])
            .to(invite::<S>),
        admin(Method::GET, "/api/v1/invites", "Invitations, newest first, 200 at a time.")
            .asks(&[("before", "Last id of the page before.")])
            .gives::<InvitesBody>()
            .to(invites::<S>),
        admin(Method::DELETE, "/api/v1/invites/{invite}", "An unused invitation stops working.")
            .gives::<DoneBody>()
            .refuses(&[Code::NotFound])
            .to(revoke::<S>),
        admin(Method::GET, "/api/v1/registrations", "Accounts that wait, oldest first, 200 at a time.")
            .asks(&[("after", "Last id of the page before.")])
            .gives::<WaitingBody>()
            .to(waiting::<S>),
        admin(Method::POST, "/api/v1/registrations/{user}/approve", "Let a waiting account in.")
            .gives::<DoneBody>()
            .refuses(&[Code::NotFound, Code::Overtaken])
            .to(approve::<S>),
        admin(
            Method::POST,
            "/api/v1/registrations/{user}/refuse",
            "Refuse a waiting account: it is erased, and whoever made it may register again.",
        )
        .gives::<DoneBody>()
        .refuses(&[Code::NotFound, Code::Overtaken])
        .to(refuse::<S>),
    ]
}

/// Whom to invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteBody {
    /// Only this address may use it, if set.
    #[serde(default)]
    pub email: Option<String>,
    /// Seconds it works; 7 days if absent, at most 90.
    #[serde(default)]
    pub valid_for: Option<u64>,
}

/// An invitation just made.
#[derive(Serialize, ToSchema)]
pub struct InvitedBody {
    pub id: String,
    /// For `invite` when registering. Only its hash is kept.
    pub invite: String,
    /// Unix milliseconds.
    pub expires_at: u64,
}

/// A page of invitations.
#[derive(Serialize, ToSchema)]
pub struct InvitesBody {
    pub invites: Vec<InviteRow>,
}

/// One invitation. Times in unix milliseconds.
#[derive(Serialize, ToSchema)]
pub struct InviteRow {
    pub id: String,
    pub email: Option<String>,
    pub created_at: u64,
    pub expires_at: u64,
    pub used_at: Option<u64>,
    pub revoked_at: Option<u64>,
}

/// A page of accounts that wait.
#[derive(Serialize, ToSchema)]
pub struct WaitingBody {
    pub registrations: Vec<WaitingRow>,
}

/// One account that waits.
#[derive(Serialize, ToSchema)]
pub struct WaitingRow {
    pub user: String,
    pub email: String,
    pub name: String,
    /// Unix milliseconds.
    pub created_at: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    after: Option<String>,
}

async fn invite<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Body(body): Body<InviteBody>,
) -> Result<(StatusCode, Json<InvitedBody>), Problem> {
    body.email.as_deref().map_or(Ok(()), check_email)?;
    let valid_s = body.valid_for.unwrap_or(INVITE_S);
    if !(1..=INVITE_S_MAX).contains(&valid_s) {
        return Err(Problem::field("valid_for", "1 second to 90 days"));
    }
    let expires_at = app.clock.now_ms() + valid_s * 1000;
    let (secret, token) = NewToken::generate(expires_at);
    let new = NewInvite { token, email: body.email, role: AccountRole::User };
    let id = app.store.create_invite(new, origin).await?;
    Ok((StatusCode::CREATED, Json(InvitedBody { id: text(id), invite: secret, expires_at })))
}

async fn invites<S: Backing>(
    State(app): State<App<S>>,
    Params(page): Params<Page>,
) -> Result<Json<InvitesBody>, Problem> {
    let before = page.before.as_deref().map(|text| invite_id("before", text)).transpose()?;
    let rows = app.store.invites(before, PAGE_ROWS_MAX).await?.into_iter().map(|row| InviteRow {
        id: text(row.id),
        email: row.email,
        created_at: row.created_at,
        expires_at: row.expires_at,
        used_at: row.used_at,
        revoked_at: row.revoked_at,
    });
    Ok(Json(InvitesBody { invites: rows.collect() }))
}

async fn revoke<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Path(invite): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    app.store.revoke_invite(invite_id("invite", &invite)?, origin).await?;
    Ok(done())
}

async fn waiting<S: Backing>(
    State(app): State<App<S>>,
    Params(page): Params<Page>,
) -> Result<Json<WaitingBody>, Problem> {
    let after = page.after.as_deref().map(|text| UserId::from_text("after", text)).transpose()?;
    let rows = app.store.pending(after, PAGE_ROWS_MAX).await?.into_iter().map(|profile| WaitingRow {
        user: profile.user.to_string(),
        email: profile.email,
        name: profile.name,
        created_at: profile.created_at,
    });
    Ok(Json(WaitingBody { registrations: rows.collect() }))
}

async fn approve<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Path(user): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    let approved = app.store.approve(UserId::from_text("user", &user)?, origin).await;
    waited(approved)
}

async fn refuse<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Path(user): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    let refused = app.store.refuse_registration(UserId::from_text("user", &user)?, origin).await;
    waited(refused)
}

/// Whether the account is in or out says nothing about who asks.
fn waited(answer: Answer<()>) -> Result<Json<DoneBody>, Problem> {
    match answer {
        Ok(()) => Ok(done()),
        Err(AccountError::NotActive(_)) => Err(Code::Overtaken.into()),
        Err(other) => Err(other.into()),
    }
}

/// Invitations have ids of the same kind as users.
fn text(id: InviteId) -> String {
    UserId(id.0).to_string()
}

fn invite_id(field: &str, text: &str) -> Result<InviteId, Problem> {
    UserId::from_text(field, text).map(|id| InviteId(id.0))
}
