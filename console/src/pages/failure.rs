//! The page of whatever went wrong: what to do about it, and a way on.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use leptos::prelude::*;

use crate::frame::render::{self, Page};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;

/// Shows it.
pub async fn show(visit: Visit, trouble: Trouble) -> Response {
    let mut response = render::show(trouble.status(), visit, trouble, draw).await;
    if let Trouble::TooMany(seconds) = trouble {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn draw(visit: &Visit, trouble: &Trouble) -> Page {
    let text = match trouble {
        Trouble::TooMany(seconds) => visit.language.count(trouble.key(), *seconds),
        _ => visit.t(trouble.key()),
    };
    let title = visit.t("error-title");
    let body = view! {
        <p>{text}</p>
        <p><a href="/">{visit.t("error-way-on")}</a></p>
    };
    Page { title, body: body.into_any() }
}
