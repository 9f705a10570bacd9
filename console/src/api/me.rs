//! One's own account: read it, change it, leave for good.

use axum::Json;
use axum::extract::State;
use axum::http::Method;
use schema_store::accounts::NAME_BYTES_MAX;
use schema_store::rows::account::{Profile, ProfileChange};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::account_subject;
use super::{DoneBody, done};
use crate::access::limit::Budget;
use crate::access::password::check_password;
use crate::app::{App, Backing};
use crate::front::body::{Body, check_email, check_lines, check_name};
use crate::front::guard::{By, Caller, count};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// Longest text about oneself, in bytes.
const ABOUT_BYTES_MAX: usize = 512;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(Method::GET, "/api/v1/me", "The account of the caller.").gives::<MeBody>().to(read::<S>),
        user(Method::PATCH, "/api/v1/me", "Change what the body names.")
            .takes::<ChangeBody>()
            .gives::<MeBody>()
            .refuses(&[Code::Invalid])
            .to(change::<S>),
        user(Method::PUT, "/api/v1/me/password", "Change the password; every other device is logged out.")
            .guessing()
            .takes::<PasswordBody>()
            .gives::<DoneBody>()
            .refuses(&[Code::PasswordWrong, Code::WeakPassword])
            .to(change_password::<S>),
        user(
            Method::DELETE,
            "/api/v1/me",
            "Delete the account: profile, sessions and keys are gone, own messages become tombstones. Not undoable.",
        )
        .guessing()
        .takes::<DeleteBody>()
        .gives::<ErasedBody>()
        .refuses(&[Code::PasswordWrong, Code::LastAdministrator])
        .to(delete::<S>),
        user(Method::POST, "/api/v1/users/find", "Find somebody by mail address, to start a conversation.")
            .guessing()
            .takes::<FindBody>()
            .gives::<PersonBody>()
            .refuses(&[Code::NotFound, Code::Invalid])
            .to(find::<S>),
    ]
}

/// An account, as its owner sees it.
#[derive(Serialize, ToSchema)]
pub struct MeBody {
    pub id: String,
    pub email: String,
    pub email_verified: bool,
    pub name: String,
    pub about: String,
    pub role: &'static str,
    /// Unix milliseconds.
    pub created_at: u64,
    /// The device the caller's token belongs to.
    pub device: String,
}

/// What to change; absent fields stay.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeBody {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub about: Option<String>,
}

/// The password to leave and the one to take.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordBody {
    pub current_password: String,
    pub new_password: String,
}

/// The password, to be sure.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteBody {
    pub password: String,
}

/// What was deleted.
#[derive(Serialize, ToSchema)]
pub struct ErasedBody {
    /// Unix milliseconds.
    pub erased_at: u64,
    /// Messages that are tombstones now.
    pub messages: u64,
    pub conversations_left: u64,
    pub devices: u64,
}

/// Whom to look for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindBody {
    pub email: String,
}

/// Somebody else.
#[derive(Serialize, ToSchema)]
pub struct PersonBody {
    pub id: String,
    pub name: String,
}

async fn read<S: Backing>(State(app): State<App<S>>, caller: Caller) -> Result<Json<MeBody>, Problem> {
    let profile = app.store.profile(caller.user).await?;
    Ok(Json(me(profile, &caller)))
}

async fn change<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
    Body(body): Body<ChangeBody>,
) -> Result<Json<MeBody>, Problem> {
    if let Some(name) = &body.name {
        check_name("name", name, NAME_BYTES_MAX)?;
    }
    if let Some(about) = &body.about {
        check_lines("about", about, ABOUT_BYTES_MAX)?;
    }
    let change = ProfileChange { name: body.name.map(|name| name.trim().to_owned()), about: body.about };
    let profile = app.store.update_profile(caller.user, change, origin).await?;
    Ok(Json(me(profile, &caller)))
}

async fn change_password<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
    Body(body): Body<PasswordBody>,
) -> Result<Json<DoneBody>, Problem> {
    let email = confirm(&app, &caller, body.current_password).await?;
    check_password(&body.new_password, &email)?;
    let hash = app.hasher.hash(body.new_password).await?;
    app.store.change_password(caller.user, hash, Some(caller.device), origin).await?;
    Ok(done())
}

async fn delete<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
    Body(body): Body<DeleteBody>,
) -> Result<Json<ErasedBody>, Problem> {
    confirm(&app, &caller, body.password).await?;
    let erased = app.store.erase_account(caller.user, "asked for by the account".to_owned(), origin).await?;
    Ok(Json(ErasedBody {
        erased_at: erased.at,
        messages: erased.messages,
        conversations_left: erased.conversations_left,
        devices: erased.devices,
    }))
}

async fn find<S: Backing>(
    State(app): State<App<S>>,
    _caller: Caller,
    Body(body): Body<FindBody>,
) -> Result<Json<PersonBody>, Problem> {
    check_email(&body.email)?;
    let profile = app.store.find_user(body.email).await?;
    if profile.status != schema_wire::record::UserStatus::Active {
        return Err(Code::NotFound.into());
    }
    Ok(Json(PersonBody { id: profile.user.to_string(), name: profile.name }))
}

/// Checks the caller's own password, and gives back their mail address.
async fn confirm<S: Backing>(app: &App<S>, caller: &Caller, password: String) -> Result<String, Problem> {
    let email = app.store.profile(caller.user).await?.email;
    count(app, Some(Budget::Auth), account_subject(&email)).await?;
    let kept = app.store.login_record(email.clone()).await?.map(|record| record.password_hash);
    if app.hasher.verify(password, kept).await? {
        return Ok(email);
    }
    Err(Code::PasswordWrong.into())
}

fn me(profile: Profile, caller: &Caller) -> MeBody {
    MeBody {
        id: profile.user.to_string(),
        email: profile.email,
        email_verified: profile.email_verified,
        name: profile.name,
        about: profile.about,
        role: profile.role.name(),
        created_at: profile.created_at,
        device: caller.device.to_string(),
    }
}
