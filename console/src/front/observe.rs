//! Around every request: an id, the access log, the metrics, the headers. Nothing personal is written anywhere:
//! no address, no query, no user, no path beyond the route's pattern.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::headers::{insist_on_tls, preflight, protect, share};
use super::problem::{Code, Problem};
use crate::app::{App, Backing};

/// Stands for every path that is no route.
const UNMATCHED: &str = "unmatched";

/// Wraps a request from arrival to answer.
pub async fn observe<S: Backing>(State(app): State<App<S>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = match preflight(&method, request.headers(), &app.config.cors_origins) {
        Some(response) => response,
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    protect(headers);
    if app.config.public_url.as_ref().is_some_and(|url| url.starts_with("https://")) {
        insist_on_tls(headers);
    }
    share(headers, origin.as_ref(), &app.config.cors_origins);
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    let status = response.status().as_u16();
    let took = began.elapsed();
    app.metrics.record(method.as_str(), &route, status, took);
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(request = %id, method = %method, route = %route, status, micros, "answered");
    response
}

/// The answer for a path that is no route.
pub async fn no_route() -> Response {
    Problem::from(Code::NoRoute).into_response()
}

/// The answer for a method the route does not have.
pub async fn wrong_method() -> Response {
    Problem::from(Code::WrongMethod).into_response()
}

fn request_id() -> String {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
