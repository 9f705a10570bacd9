//! Sends a page: Leptos writes it on the server, in order, with a nonce for the only script; no other source is allowed.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leptos::nonce::use_nonce;
use leptos::prelude::{AnyView, expect_context};
use leptos_axum::{ResponseOptions, render_app_to_stream_in_order_with_context};

use super::cookie::{self, Jar};
use super::visit::Visit;
use crate::pages::layout::layout;

/// A page: its title, and what it shows.
pub struct Page {
    pub title: String,
    pub body: AnyView,
}

/// Draws `data` as a page.
pub async fn show<T: Send + Sync + 'static>(
    status: StatusCode,
    visit: Visit,
    data: T,
    draw: fn(&Visit, &T) -> Page,
) -> Response {
    let jar = visit.jar;
    let was_said = visit.said.is_some();
    let (visit, data) = (Arc::new(visit), Arc::new(data));
    let app = move || {
        let nonce = use_nonce().map(|nonce| nonce.to_string()).unwrap_or_default();
        expect_context::<ResponseOptions>().insert_header(header::CONTENT_SECURITY_POLICY, policy(&nonce));
        layout(&visit, draw(&visit, &data), nonce)
    };
    let handler = render_app_to_stream_in_order_with_context(|| (), app);
    let mut response = handler(Request::new(Body::empty())).await;
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // The token check needs the browser to name its origin to its own site.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    if was_said {
        jar.clear(headers, cookie::SAID);
    }
    response
}

fn policy(nonce: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("a nonce is plain text")
}

/// Goes on to another page after something was done, and leaves word of it.
pub fn go(jar: Jar, to: &str, said: Option<&str>) -> Response {
    /// Seconds after which a word is stale.
    const SAID_S: u64 = 30;
    let mut headers = HeaderMap::new();
    headers.insert(header::LOCATION, HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/")));
    if let Some(said) = said {
        jar.set(&mut headers, cookie::SAID, said, Some(SAID_S));
    }
    (StatusCode::SEE_OTHER, headers).into_response()
}
