//! Key bundles: opaque bytes that devices publish and others take to start an encrypted session. The server can't
//! use them; it only makes sure that each one-time package goes to one asker.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schema_store::accounts::{KEY_BYTES_MAX, KEY_PACKAGES_MAX};
use schema_store::rows::device::{KeyUpload, KeysLeft};
use schema_wire::{DeviceId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::{App, Backing};
use crate::front::body::{Body, FromText};
use crate::front::guard::{By, Caller};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(
            Method::PUT,
            "/api/v1/keys",
            "Publish keys of the calling device. A new identity key drops its older packages and tells others.",
        )
        .large()
        .takes::<KeysBody>()
        .gives::<KeysLeftBody>()
        .refuses(&[Code::Invalid, Code::TooMany])
        .to(publish::<S>),
        user(Method::GET, "/api/v1/keys", "How many one-time packages the calling device has left.")
            .gives::<KeysLeftBody>()
            .to(left::<S>),
        user(
            Method::GET,
            "/api/v1/users/{user}/keys",
            "Identity keys of the devices of somebody who shares a conversation with the caller.",
        )
        .gives::<IdentitiesBody>()
        .refuses(&[Code::NotFound])
        .to(identities::<S>),
        user(
            Method::POST,
            "/api/v1/users/{user}/devices/{device}/claim",
            "Take one one-time package of a device; nobody else gets it.",
        )
        .gives::<ClaimBody>()
        .refuses(&[Code::NotFound])
        .to(claim::<S>),
    ]
}

/// What a device publishes. All values are base64 (RFC 4648 §4), at most 16 KiB each.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysBody {
    /// Absent: the present one stays.
    #[serde(default)]
    pub identity: Option<String>,
    /// One-time packages to add; a device keeps at most 200.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Handed out when the others ran out, and kept.
    #[serde(default)]
    pub last_resort: Option<String>,
}

/// What a device has left.
#[derive(Serialize, ToSchema)]
pub struct KeysLeftBody {
    pub packages: u32,
    pub has_identity: bool,
    pub has_last_resort: bool,
}

/// Identity keys, one per device.
#[derive(Serialize, ToSchema)]
pub struct IdentitiesBody {
    pub devices: Vec<IdentityBody>,
}

/// One device's identity key.
#[derive(Serialize, ToSchema)]
pub struct IdentityBody {
    pub device: String,
    /// Base64.
    pub identity: String,
    /// Unix milliseconds.
    pub published_at: u64,
}

/// What starts an encrypted session with a device.
#[derive(Serialize, ToSchema)]
pub struct ClaimBody {
    /// Base64.
    pub identity: String,
    /// Base64; absent when they ran out.
    pub package: Option<String>,
    /// The package is the last-resort one: others may have it too.
    pub last_resort: bool,
}

async fn publish<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
    Body(body): Body<KeysBody>,
) -> Result<Json<KeysLeftBody>, Problem> {
    if body.packages.len() > KEY_PACKAGES_MAX {
        return Err(Problem::field("packages", "at most 200"));
    }
    let packages = body.packages.iter().map(|text| key("packages", text)).collect::<Result<_, _>>()?;
    let upload = KeyUpload {
        identity: body.identity.as_deref().map(|text| key("identity", text)).transpose()?,
        packages,
        last_resort: body.last_resort.as_deref().map(|text| key("last_resort", text)).transpose()?,
    };
    let left = app.store.publish_keys(caller.user, caller.device, upload, origin).await?;
    Ok(Json(left_body(left)))
}

async fn left<S: Backing>(State(app): State<App<S>>, caller: Caller) -> Result<Json<KeysLeftBody>, Problem> {
    Ok(Json(left_body(app.store.keys_left(caller.user, caller.device).await?)))
}

async fn identities<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(user): Path<String>,
) -> Result<Json<IdentitiesBody>, Problem> {
    let keys = app.store.identity_keys(UserId::from_text("user", &user)?, caller.user).await?;
    let devices = keys.into_iter().map(|key| IdentityBody {
        device: key.device.to_string(),
        identity: STANDARD.encode(key.identity),
        published_at: key.published_at,
    });
    Ok(Json(IdentitiesBody { devices: devices.collect() }))
}

async fn claim<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path((user, device)): Path<(String, String)>,
) -> Result<Json<ClaimBody>, Problem> {
    let user = UserId::from_text("user", &user)?;
    let device = DeviceId::from_text("device", &device)?;
    let claimed = app.store.claim_key(user, device, caller.user).await?;
    Ok(Json(ClaimBody {
        identity: STANDARD.encode(claimed.identity),
        package: claimed.package.map(|package| STANDARD.encode(package)),
        last_resort: claimed.last_resort,
    }))
}

fn key(field: &str, text: &str) -> Result<Bytes, Problem> {
    let bytes = STANDARD.decode(text).map_err(|_| Problem::field(field, "not base64"))?;
    if bytes.is_empty() || bytes.len() > KEY_BYTES_MAX {
        return Err(Problem::field(field, "1 byte to 16 KiB each"));
    }
    Ok(bytes.into())
}

fn left_body(left: KeysLeft) -> KeysLeftBody {
    KeysLeftBody {
        packages: left.packages,
        has_identity: left.has_identity,
        has_last_resort: left.has_last_resort,
    }
}
