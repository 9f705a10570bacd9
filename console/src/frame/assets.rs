//! The stylesheet and the script: compiled in, sent once and kept by browsers until their content changes.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

const STYLE: &str = concat!(
    include_str!("../style/tokens.css"),
    include_str!("../style/base.css"),
    include_str!("../style/parts.css"),
    include_str!("../style/figures.css")
);
const SCRIPT: &str = concat!(
    include_str!("../style/comfort.js"),
    include_str!("../style/figures.js"),
    include_str!("../style/keys.js")
);

const ICON: &str = include_str!("../style/icon.svg");

/// Paths with the content's hash, so that a new content is a new path.
pub static STYLE_PATH: LazyLock<String> = LazyLock::new(|| format!("/assets/console.css?v={}", mark(STYLE)));
pub static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| format!("/assets/comfort.js?v={}", mark(SCRIPT)));

fn mark(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The stylesheet.
pub async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

/// The script.
pub async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// The picture in a browser's tab.
pub async fn icon() -> Response {
    asset("image/svg+xml", ICON)
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    (headers, text).into_response()
}
