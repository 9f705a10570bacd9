//! The first half of signing in: address and password. Unknown accounts, wrong passwords and accounts without a role
//! look alike, and each failure too many doubles the wait.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::account::LoginRecord;
use schema_store::rows::console::{NewConsoleSession, Stage};
use schema_store::rows::role::AccountRole;
use schema_store::{NewToken, TokenHash};
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::factor::{Factors, lock_subject, locked};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::cookie;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, STAFF, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::form::Typed;
use crate::parts::{Field, csrf};

/// Life of a session, used or not, in milliseconds.
const SESSION_MS: u64 = 12 * 3_600_000;
/// How long the second half may take, in milliseconds.
const HALFWAY_MS: u64 = 10 * 60_000;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![
        read("/sign-in", Who::Anybody, "session.begin").to(page),
        send("/sign-in", Who::Anybody, "session.begin").guessing().to(sign_in::<S>),
        send("/sign-out", Who::Anybody, "session.end").to(sign_out::<S>),
    ]
}

async fn page(visit: Visit) -> Response {
    if visit.signed_in().is_some() {
        return go(visit.jar, "/", None);
    }
    render::show(StatusCode::OK, visit, Typed::default(), draw).await
}

fn draw(visit: &Visit, typed: &Typed) -> Page {
    let email = Field { kind: "email", fills: "username", ..typed.line(visit, "email", "email", 254) };
    let password = typed.secret(visit, "password", "password", "current-password");
    let body = view! {
        <form method="post" action="/sign-in" class="card narrow">
            {csrf(visit)}
            {email.draw()}
            {password.draw()}
            <button type="submit" class="main">{visit.t("sign-in")}</button>
        </form>
    };
    Page { title: visit.t("sign-in"), body: body.into_any() }
}

async fn sign_in<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let email = fields.text("email").to_owned();
    let subject = lock_subject(&email);
    let until = app.store.locked_until(subject).await?;
    if until > 0 {
        return Ok(refuse(visit, fields, until).await);
    }
    let record = app.store.login_record(email).await?;
    let kept = record.as_ref().map(|record| record.password_hash.clone());
    let is_right = app.hasher.verify(fields.raw("password").to_owned(), kept).await?;
    let user = record.as_ref().map(|record| record.user);
    let Some(record) = record.filter(|record| is_right && may_enter(record)) else {
        let reason = if is_right { "no access to the console" } else { "wrong address or password" };
        let until = app.store.count_failure(subject, user, reason, visit.by.clone()).await?;
        return Ok(refuse(visit, fields, until).await);
    };
    let (stage, to) = if Factors::of(&app, record.user).await?.any() {
        (Stage::SecondFactor, "/sign-in/code")
    } else if record.role == AccountRole::Admin {
        (Stage::Enrol, "/sign-in/enrol")
    } else {
        (Stage::Full, "/")
    };
    open(&app, &visit, record.user, stage, None, Some(subject), to).await
}

fn may_enter(record: &LoginRecord) -> bool {
    record.status == UserStatus::Active && STAFF.contains(&record.role)
}

async fn refuse(visit: Visit, fields: Fields, until: u64) -> Response {
    let is_locked = until > visit.now_ms;
    let error = if is_locked { locked(&visit, until) } else { visit.t("sign-in-failed") };
    let status = if until > 0 { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::UNPROCESSABLE_ENTITY };
    render::show(status, visit, Typed::wrong(fields, ("email", error)), draw).await
}

/// Opens a session of this stage, under a fresh secret that only the browser keeps.
pub async fn open<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    user: UserId,
    stage: Stage,
    replaces: Option<TokenHash>,
    lock_subject: Option<[u8; 32]>,
    to: &str,
) -> Result<Response, Trouble> {
    let life = if stage == Stage::Full { SESSION_MS } else { HALFWAY_MS };
    let (secret, token) = NewToken::generate(app.clock.now_ms() + life);
    let new = NewConsoleSession { token, user, stage, replaces, lock_subject };
    app.store.open_console_session(new, visit.by.clone()).await?;
    let mut response = go(visit.jar, to, None);
    visit.jar.set(response.headers_mut(), cookie::SESSION, &secret, None);
    Ok(response)
}

async fn sign_out<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    if let Some(viewer) = &visit.viewer {
        app.store.close_console_session(viewer.user, viewer.session, visit.by.clone()).await?;
    }
    let mut response = go(visit.jar, "/sign-in", Some("signed-out"));
    visit.jar.clear(response.headers_mut(), cookie::SESSION);
    Ok(response)
}
