//! The guard before every page: limits, session, role, form. What it lets through carries the visit; what it does not,
//! or what goes wrong behind it, becomes a page that says so.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schema_store::rows::account::Origin;
use schema_store::rows::console::Stage;
use schema_store::{NewToken, TokenHash};

use super::Desk;
use super::cookie::{self, Jar};
use super::fields::{FORM_BYTES_MAX, Fields};
use super::render::go;
use super::route::{Duty, Who};
use super::trouble::Trouble;
use super::visit::{Theme, Viewer, Visit};
use crate::access::address::{client_address, limit_subject};
use crate::access::csrf;
use crate::access::limit::Subject;
use crate::app::App;
use crate::front::guard::{Held, Peer, tally, user_agent};
use crate::pages;
use crate::text::Language;

/// How long a page may take, its form included.
const PAGE_DEADLINE: Duration = Duration::from_secs(20);

/// Lets a request through to its page, or not.
pub async fn guard<S: Desk>(
    State((app, duty)): State<(App<S>, Arc<Duty>)>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let jar = Jar { on_tls: app.config.pages.is_on_tls() };
    let mut visit = visit_of(&app, &parts, jar);
    let cookie = jar.get(&parts.headers, cookie::SESSION).or(jar.get(&parts.headers, cookie::VISIT));
    // Without a cookie there is nothing a form's token could belong to: this visit begins with one.
    let (secret, fresh) = match cookie {
        Some(secret) => (secret, None),
        None => {
            let (secret, _) = NewToken::generate(0);
            (secret.clone(), Some(secret))
        }
    };
    visit.csrf = csrf::token(&secret);
    let mut response = match admit(&app, &duty, &mut visit, &secret, &mut parts, body).await {
        Err(trouble) => trouble.into_response(),
        Ok(()) => {
            parts.extensions.insert(visit.clone());
            let answer = next.run(Request::from_parts(parts, Body::empty()));
            match tokio::time::timeout(PAGE_DEADLINE, answer).await {
                Ok(response) => response,
                Err(_) => Trouble::TimedOut.into_response(),
            }
        }
    };
    if let Some(trouble) = response.extensions_mut().remove::<Trouble>() {
        response = explain(visit, trouble, &duty.method).await;
    }
    if let Some(fresh) = fresh {
        jar.set(response.headers_mut(), cookie::VISIT, &fresh, None);
    }
    response
}

/// A path that is no page, or not for this method.
pub async fn lost<S: Desk>(State(app): State<App<S>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let visit = visit_of(&app, &parts, Jar { on_tls: app.config.pages.is_on_tls() });
    let trouble = if parts.method == Method::GET { Trouble::NotFound } else { Trouble::WrongMethod };
    explain(visit, trouble, &parts.method).await
}

async fn explain(visit: Visit, trouble: Trouble, method: &Method) -> Response {
    if trouble == Trouble::SignIn && method == Method::GET {
        return go(visit.jar, "/sign-in", None);
    }
    pages::failure::show(visit, trouble).await
}

fn visit_of<S: Desk>(app: &App<S>, parts: &Parts, jar: Jar) -> Visit {
    let headers = &parts.headers;
    let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let address = client_address(peer, headers, &app.config.trusted_proxies);
    Visit {
        viewer: None,
        language: language(headers, jar),
        theme: jar.get(headers, cookie::THEME).and_then(|name| Theme::parse(&name)),
        csrf: String::new(),
        path: parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        said: jar.get(headers, cookie::SAID),
        now_ms: app.clock.now_ms(),
        open_cases: app.caseload.open(),
        by: Origin { actor: None, address: Some(address), user_agent: user_agent(headers) },
        jar,
    }
}

fn language(headers: &HeaderMap, jar: Jar) -> Language {
    let chosen = jar.get(headers, cookie::LANGUAGE).and_then(|code| Language::parse(&code));
    chosen.unwrap_or_else(|| {
        let wished = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Language::accepted(wished.unwrap_or(""))
    })
}

async fn admit<S: Desk>(
    app: &App<S>,
    duty: &Duty,
    visit: &mut Visit,
    secret: &str,
    parts: &mut Parts,
    body: Body,
) -> Result<(), Trouble> {
    if let Some(address) = visit.by.address.map(limit_subject).map(Subject::Address) {
        tally(app, duty.budget, address).await.map_err(|held| match held {
            Held::Over(seconds) => Trouble::TooMany(seconds),
            Held::Uncounted => Trouble::Unavailable,
        })?;
    }
    if let Some(id) = visit.jar.get(&parts.headers, cookie::SESSION) {
        let found = app.store.console_session(TokenHash::of(&id)).await?;
        visit.viewer = found.map(Viewer::from);
        visit.by.actor = visit.viewer.as_ref().map(|viewer| viewer.user);
    }
    let fields = if duty.method == Method::GET {
        Fields::decode(parts.uri.query().unwrap_or("")).ok_or(Trouble::Malformed)?
    } else {
        form(secret, &parts.headers, body).await?
    };
    may(duty.who, visit)?;
    parts.extensions.insert(fields);
    Ok(())
}

fn may(who: Who, visit: &Visit) -> Result<(), Trouble> {
    match (who, &visit.viewer) {
        (Who::Anybody, _) => Ok(()),
        (Who::Halfway(stage), Some(viewer)) if viewer.stage == stage => Ok(()),
        (Who::Roles(_), Some(viewer)) if viewer.stage == Stage::Full => {
            if who.admits(viewer.role) {
                Ok(())
            } else {
                Err(Trouble::Forbidden)
            }
        }
        _ => Err(Trouble::SignIn),
    }
}

/// A form that this browser was given by this site.
async fn form(secret: &str, headers: &HeaderMap, body: Body) -> Result<Fields, Trouble> {
    if !csrf::is_own(headers) {
        return Err(Trouble::Forged);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Trouble::Malformed);
    }
    let bytes = to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| Trouble::Malformed)?;
    let text = str::from_utf8(&bytes).map_err(|_| Trouble::Malformed)?;
    let fields = Fields::decode(text).ok_or(Trouble::Malformed)?;
    if csrf::matches(secret, fields.raw("csrf")) { Ok(fields) } else { Err(Trouble::Forged) }
}
