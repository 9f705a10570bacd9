//! Devices: what is signed in, and signing it out from elsewhere.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use schema_wire::DeviceId;
use serde::Serialize;
use utoipa::ToSchema;

use super::{DoneBody, done};
use crate::app::{App, Backing};
use crate::front::body::FromText;
use crate::front::guard::{By, Caller};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(Method::GET, "/api/v1/devices", "The caller's devices, oldest first.")
            .gives::<DevicesBody>()
            .to(list::<S>),
        user(
            Method::DELETE,
            "/api/v1/devices/{device}",
            "Log a device out; its live sessions end within a second.",
        )
        .gives::<DoneBody>()
        .refuses(&[Code::NotFound])
        .to(revoke::<S>),
        user(Method::DELETE, "/api/v1/devices", "Log every other device out.")
            .gives::<DoneBody>()
            .to(revoke_others::<S>),
    ]
}

/// All devices.
#[derive(Serialize, ToSchema)]
pub struct DevicesBody {
    pub devices: Vec<DeviceBody>,
}

/// One device.
#[derive(Serialize, ToSchema)]
pub struct DeviceBody {
    pub id: String,
    pub name: String,
    /// Unix milliseconds.
    pub created_at: u64,
    /// Last login or refresh, unix milliseconds.
    pub last_seen_at: u64,
    /// Whether it has published keys.
    pub has_keys: bool,
    /// Whether it is the one asking.
    pub current: bool,
}

async fn list<S: Backing>(State(app): State<App<S>>, caller: Caller) -> Result<Json<DevicesBody>, Problem> {
    let devices = app.store.devices(caller.user).await?.into_iter().map(|device| DeviceBody {
        id: device.id.to_string(),
        name: device.name,
        created_at: device.created_at,
        last_seen_at: device.last_seen_at,
        has_keys: device.has_keys,
        current: device.id == caller.device,
    });
    Ok(Json(DevicesBody { devices: devices.collect() }))
}

async fn revoke<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
    Path(device): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    app.store.revoke_device(caller.user, DeviceId::from_text("device", &device)?, origin).await?;
    Ok(done())
}

async fn revoke_others<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
) -> Result<Json<DoneBody>, Problem> {
    app.store.revoke_sessions(caller.user, Some(caller.device), origin).await?;
    Ok(done())
}
