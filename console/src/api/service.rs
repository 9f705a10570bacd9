//! What machines ask: the published keys, and whether the process lives and can work.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Backing};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, public};

/// Seconds a relay or client may keep the published keys.
const JWKS_AGE: &str = "public, max-age=300";

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        public(
            Method::GET,
            "/.well-known/jwks.json",
            "The public keys that verify access tokens (RFC 7517).",
        )
        .to(jwks::<S>),
        public(Method::GET, "/health", "The process lives.").uncounted().gives::<HealthBody>().to(health),
        public(Method::GET, "/ready", "The process can work: its store answers.")
            .uncounted()
            .gives::<HealthBody>()
            .refuses(&[Code::StoreUnavailable, Code::StoreFull])
            .to(ready::<S>),
    ]
}

/// How the process is.
#[derive(Serialize, ToSchema)]
pub struct HealthBody {
    /// Always `ok`: anything else is an error.
    pub status: &'static str,
}

async fn jwks<S: Backing>(State(app): State<App<S>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static(JWKS_AGE)),
    ];
    (headers, app.jwks.clone()).into_response()
}

async fn health() -> Json<HealthBody> {
    Json(HealthBody { status: "ok" })
}

async fn ready<S: Backing>(State(app): State<App<S>>) -> Result<Json<HealthBody>, Problem> {
    app.store.check().await.map_err(schema_store::AccountError::from)?;
    Ok(Json(HealthBody { status: "ok" }))
}
