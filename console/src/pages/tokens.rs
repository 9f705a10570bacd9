//! Programs that use the administration interface: their tokens, each with a role, shown once.

use axum::extract::{Path, State};
use axum::response::Response;
use leptos::prelude::*;
use schema_store::NewToken;
use schema_store::accounts::NAME_BYTES_MAX;
use schema_store::rows::role::AccountRole;
use schema_store::rows::service::{NewServiceToken, ServiceToken, ServiceTokenId};
use schema_wire::UserId;

use super::staff::role_name;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, STAFF, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::form::{Typed, choice, once};
use crate::parts::{Field, badge, button, csrf, moment, table};

/// Rows of the list; older ones make room.
const ROWS: u32 = 200;
/// How long a token works, in milliseconds.
const TOKEN_MS: u64 = 90 * 86_400_000;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(ADMINISTRATORS);
    vec![
        read("/tokens", who, "tokens.read").to(page::<S>),
        send("/tokens", who, "token.create").to(create::<S>),
        send("/tokens/{token}/revoke", who, "token.revoke").to(revoke::<S>),
    ]
}

struct Shown {
    tokens: Vec<ServiceToken>,
    typed: Typed,
    /// A token just made: shown this once.
    secret: Option<String>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, Typed::default(), None).await
}

async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    typed: Typed,
    secret: Option<String>,
) -> Result<Response, Trouble> {
    let tokens = app.store.service_tokens(ROWS).await?;
    Ok(render::show(typed.status(), visit, Shown { tokens, typed, secret }, draw).await)
}

async fn create<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let name = match fields.line("name", NAME_BYTES_MAX) {
        Ok(name) => name,
        Err(key) => {
            let wrong = ("name", visit.t(key));
            return show(&app, visit, Typed::wrong(fields, wrong), None).await;
        }
    };
    let role = AccountRole::parse(fields.raw("role")).filter(|role| STAFF.contains(role));
    let role = role.ok_or(Trouble::Malformed)?;
    let (secret, token) = NewToken::generate(app.clock.now_ms() + TOKEN_MS);
    app.store.create_service_token(NewServiceToken { token, name, role }, visit.by.clone()).await?;
    show(&app, visit, Typed::default(), Some(secret)).await
}

async fn revoke<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(token): Path<String>,
) -> Result<Response, Trouble> {
    let id = UserId::parse(&token).ok_or(Trouble::NotFound)?;
    app.store.revoke_service_token(ServiceTokenId(id.0), visit.by.clone()).await?;
    Ok(go(visit.jar, "/tokens", Some("token-revoked")))
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let secret = shown.secret.clone().map(|secret| once(visit.t("token-once"), secret));
    let body = view! {
        {secret}
        <p>{visit.t("tokens-why")}</p>
        {create_form(visit, shown)}
        {list(visit, &shown.tokens)}
    };
    Page { title: visit.t("nav-tokens"), body: body.into_any() }
}

fn create_form(visit: &Visit, shown: &Shown) -> AnyView {
    let name = Field { hint: visit.t("token-hint"), ..shown.typed.line(visit, "name", "token-name", 128) };
    let roles = STAFF.iter().map(|role| (role.name(), role_name(visit, *role)));
    view! {
        <form method="post" action="/tokens" class="card narrow">
            {csrf(visit)}
            {name.draw()}
            {choice("role", visit.t("person-role"), roles, shown.typed.text("role"), String::new())}
            <button type="submit">{visit.t("token-make")}</button>
        </form>
    }
    .into_any()
}

fn list(visit: &Visit, tokens: &[ServiceToken]) -> AnyView {
    if tokens.is_empty() {
        return view! { <p class="card">{visit.t("tokens-none")}</p> }.into_any();
    }
    let heads = [
        "token-name",
        "person-role",
        "decision-by",
        "session-since",
        "session-seen",
        "invite-until",
        "session-end",
    ];
    let rows = tokens.iter().map(|token| row(visit, token)).collect();
    table(visit.t("tokens-title"), heads.map(|key| visit.t(key)).to_vec(), rows)
}

fn row(visit: &Visit, token: &ServiceToken) -> AnyView {
    let action = format!("/tokens/{}/revoke", UserId(token.id.0));
    let end = match token.revoked_at {
        Some(_) => badge("", visit.t("invite-revoked")),
        None if token.expires_at <= visit.now_ms => badge("", visit.t("invite-expired")),
        None => button(visit, action, visit.t("session-end"), "quiet"),
    };
    view! {
        <tr>
            <th scope="row"><bdi>{token.name.clone()}</bdi></th>
            <td>{role_name(visit, token.role)}</td>
            <td><bdi>{token.created_by.clone()}</bdi></td>
            <td>{moment(token.created_at)}</td>
            <td>{token.last_used_at.map(moment)}</td>
            <td>{moment(token.expires_at)}</td>
            <td>{end}</td>
        </tr>
    }
    .into_any()
}
