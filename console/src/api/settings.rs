//! Settings and blocks: small things a user decides, told to all their devices.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use schema_store::accounts::SETTING_BYTES_MAX;
use schema_wire::UserId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::{DoneBody, done};
use crate::app::{App, Backing};
use crate::front::body::{Body, FromText, Params, check_name};
use crate::front::guard::Caller;
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// Longest name of a setting, in bytes.
const SETTING_NAME_BYTES_MAX: usize = 64;
/// People in one page of blocks.
const BLOCKS_PAGE: u32 = 200;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(Method::GET, "/api/v1/me/settings", "All settings.").gives::<SettingsBody>().to(settings::<S>),
        user(Method::PUT, "/api/v1/me/settings/{name}", "Set one setting. `add_to_groups` says who may add the caller to groups without asking: `everybody` (unless set), `known` (who shares a conversation) or `nobody`.")
            .takes::<SettingBody>()
            .gives::<DoneBody>()
            .refuses(&[Code::Invalid, Code::TooMany])
            .to(set::<S>),
        user(Method::DELETE, "/api/v1/me/settings/{name}", "Remove one setting.")
            .gives::<DoneBody>()
            .to(remove::<S>),
        user(Method::GET, "/api/v1/me/blocks", "People the caller has blocked, by id, 200 at a time.")
            .asks(&[("after", "Last id of the page before.")])
            .gives::<BlocksBody>()
            .to(blocks::<S>),
        user(Method::PUT, "/api/v1/me/blocks/{user}", "Block somebody, either way: no direct messages, no adding to groups, no typing, receipts, signals or presence. What waits between the two is deleted.")
            .gives::<DoneBody>()
            .refuses(&[Code::NotFound, Code::TooMany, Code::Invalid])
            .to(block::<S>),
        user(Method::DELETE, "/api/v1/me/blocks/{user}", "Unblock somebody.")
            .gives::<DoneBody>()
            .refuses(&[Code::NotFound])
            .to(unblock::<S>),
    ]
}

/// All settings by name.
#[derive(Serialize, ToSchema)]
pub struct SettingsBody {
    pub settings: BTreeMap<String, String>,
}

/// One value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingBody {
    /// At most 4 KiB.
    pub value: String,
}

/// A page of people.
#[derive(Serialize, ToSchema)]
pub struct BlocksBody {
    pub users: Vec<String>,
}

/// Where a page begins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: Option<String>,
}

async fn settings<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
) -> Result<Json<SettingsBody>, Problem> {
    let settings = app.store.settings(caller.user).await?.into_iter().collect();
    Ok(Json(SettingsBody { settings }))
}

async fn set<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(name): Path<String>,
    Body(body): Body<SettingBody>,
) -> Result<Json<DoneBody>, Problem> {
    check_name("name", &name, SETTING_NAME_BYTES_MAX)?;
    if body.value.is_empty() || body.value.len() > SETTING_BYTES_MAX {
        return Err(Problem::field("value", "1 byte to 4 KiB; to remove a setting, use DELETE"));
    }
    app.store.set_setting(caller.user, name, body.value).await?;
    Ok(done())
}

async fn remove<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    check_name("name", &name, SETTING_NAME_BYTES_MAX)?;
    app.store.set_setting(caller.user, name, String::new()).await?;
    Ok(done())
}

async fn blocks<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Params(page): Params<After>,
) -> Result<Json<BlocksBody>, Problem> {
    let after = page.after.as_deref().map(|text| UserId::from_text("after", text)).transpose()?;
    let users = app.store.blocks(caller.user, after, BLOCKS_PAGE).await?;
    Ok(Json(BlocksBody { users: users.into_iter().map(|user| user.to_string()).collect() }))
}

async fn block<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(other): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    let other = UserId::from_text("user", &other)?;
    if other == caller.user {
        return Err(Problem::field("user", "nobody can block themselves"));
    }
    app.store.set_block(caller.user, other, true).await?;
    Ok(done())
}

async fn unblock<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(other): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    app.store.set_block(caller.user, UserId::from_text("user", &other)?, false).await?;
    Ok(done())
}
