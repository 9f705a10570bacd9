//! Language and colours, kept in cookies of one's own browser: they work before anybody signs in.

use axum::response::Response;

use crate::frame::Desk;
use crate::frame::cookie;
use crate::frame::fields::Fields;
use crate::frame::render::go;
use crate::frame::route::{Entry, Who, send};
use crate::frame::visit::{Theme, Visit};
use crate::text::Language;

/// How long a choice is remembered, in seconds.
const KEPT_S: u64 = 365 * 24 * 3600;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![send("/preferences", Who::Anybody, "preferences.choose").to(choose)]
}

async fn choose(visit: Visit, fields: Fields) -> Response {
    let mut response = go(visit.jar, local(fields.raw("back")), None);
    let headers = response.headers_mut();
    if let Some(language) = Language::parse(fields.raw("language")) {
        visit.jar.set(headers, cookie::LANGUAGE, language.code(), Some(KEPT_S));
    }
    match Theme::parse(fields.raw("theme")) {
        Some(theme) => visit.jar.set(headers, cookie::THEME, theme.name(), Some(KEPT_S)),
        None => visit.jar.clear(headers, cookie::THEME),
    }
    response
}

/// A path of this site, and nothing that a browser could take for another site's.
fn local(path: &str) -> &str {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if path.starts_with('/') && !path.starts_with("//") && is_plain { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn nobody_is_led_away() {
        assert_eq!(local("/users?q=a"), "/users?q=a");
        for bad in ["", "https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "/a\r\nb"]
        {
            assert_eq!(local(bad), "/", "{bad:?}");
        }
    }
}
