//! One's own account in the console: second factors, and sessions to be ended.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::TokenHash;
use schema_store::rows::console::{ConsoleSession, SecurityKey};
use schema_wire::UserId;

use crate::app::App;
use crate::frame::Desk;
use crate::frame::cookie;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, STAFF, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, button, moment, table};

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let own = Who::Roles(STAFF);
    vec![
        read("/account", own, "own.read").to(page::<S>),
        send("/account/sessions/{session}/end", own, "own.sessions.end").to(end::<S>),
        send("/account/sessions/end-others", own, "own.sessions.end").to(end_others::<S>),
    ]
}

struct Own {
    sessions: Vec<ConsoleSession>,
    has_codes: bool,
    keys: Vec<SecurityKey>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let user = visit.signed_in().ok_or(Trouble::SignIn)?.user;
    let sessions = app.store.console_sessions(user).await?;
    let has_codes = app.store.second_factor(user).await?.is_some();
    let keys = app.store.security_keys(user).await?;
    Ok(render::show(StatusCode::OK, visit, Own { sessions, has_codes, keys }, draw).await)
}

fn draw(visit: &Visit, own: &Own) -> Page {
    let this = visit.signed_in().map(|viewer| viewer.session);
    let factor = if own.has_codes {
        view! { <p>{badge("good", visit.t("factor-on"))}</p> }.into_any()
    } else {
        view! { <p><a class="button" href="/account/second-factor">{visit.t("factor-add")}</a></p> }
            .into_any()
    };
    let heads = ["session-since", "session-seen", "session-from", "session-browser", "session-end"];
    let rows = own.sessions.iter().map(|session| row(visit, session, Some(session.id) == this)).collect();
    let others = (own.sessions.len() > 1)
        .then(|| button(visit, "/account/sessions/end-others".into(), visit.t("session-end-others"), "warn"));
    let body = view! {
        <section aria-labelledby="factor">
            <h2 id="factor">{visit.t("factor-title")}</h2>
            {factor}
        </section>
        {keys(visit, &own.keys)}
        <section>
            <h2>{visit.t("sessions-title")}</h2>
            {table(visit.t("sessions-title"), heads.map(|key| visit.t(key)).to_vec(), rows)}
            {others}
        </section>
    };
    Page { title: visit.t("nav-account"), body: body.into_any() }
}

fn keys(visit: &Visit, keys: &[SecurityKey]) -> AnyView {
    let heads = ["key-name", "session-since", "session-seen", "session-end"];
    let row = |key: &SecurityKey| {
        let remove = format!("/account/keys/{}/remove", UserId(key.id.0));
        let label = visit.language.of("key-remove-named", "name", &key.name);
        view! {
            <tr>
                <th scope="row"><bdi>{key.name.clone()}</bdi></th>
                <td>{moment(key.created_at)}</td>
                <td>{key.last_used_at.map(moment)}</td>
                <td><a href=remove aria-label=label>{visit.t("key-remove")}</a></td>
            </tr>
        }
        .into_any()
    };
    let title = visit.t("key-list");
    let list = (!keys.is_empty()).then(|| {
        table(title.clone(), heads.map(|key| visit.t(key)).to_vec(), keys.iter().map(row).collect())
    });
    view! {
        <section id="keys">
            <h2>{title.clone()}</h2>
            {list}
            <p><a class="button" href="/account/keys">{visit.t("key-add")}</a></p>
        </section>
    }
    .into_any()
}

fn row(visit: &Visit, session: &ConsoleSession, is_this: bool) -> AnyView {
    let end = if is_this {
        badge("good", visit.t("session-this"))
    } else {
        button(visit, format!("/account/sessions/{}/end", hex(session.id)), visit.t("session-end"), "quiet")
    };
    view! {
        <tr>
            <td>{moment(session.created_at)}</td>
            <td>{moment(session.seen_at)}</td>
            <td>{session.address.map(|address| address.to_string())}</td>
            <td class="wide">{session.user_agent.clone()}</td>
            <td>{end}</td>
        </tr>
    }
    .into_any()
}

async fn end<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(session): Path<String>,
) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().ok_or(Trouble::SignIn)?;
    let id = parse_hex(&session).ok_or(Trouble::NotFound)?;
    app.store.close_console_session(viewer.user, id, visit.by.clone()).await?;
    if id != viewer.session {
        return Ok(go(visit.jar, "/account", Some("session-ended")));
    }
    let mut response = go(visit.jar, "/sign-in", Some("signed-out"));
    visit.jar.clear(response.headers_mut(), cookie::SESSION);
    Ok(response)
}

async fn end_others<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().ok_or(Trouble::SignIn)?;
    app.store.close_other_console_sessions(viewer.user, viewer.session, visit.by.clone()).await?;
    Ok(go(visit.jar, "/account", Some("session-ended")))
}

fn hex(id: TokenHash) -> String {
    id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_hex(text: &str) -> Option<TokenHash> {
    let mut id = [0u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(TokenHash(id))
}
