//! What somebody may ask for by law: a copy of everything kept about them, or that it goes. An erasure takes two
//! administrators, and the second one's word that it is meant: the address typed, password and code.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::accounts::Answer;
use schema_store::rows::moderation::ErasureRequest;
use schema_store::rows::oversight::PersonDetail;
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::code::{Checked, check};
use super::sign_in::lock_subject;
use super::user::{must_be_above, named};
use super::users::shown_name;
use crate::api::export::document;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::{Viewer, Visit};
use crate::parts::{Field, button, csrf, moment, span};

/// Longest reason, in bytes: the ledger keeps no more.
const REASON_BYTES_MAX: usize = 256;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(ADMINISTRATORS);
    vec![
        read("/users/{user}/erasure", who, "erasure.read").to(page::<S>),
        send("/users/{user}/erasure", who, "erasure.ask").to(ask::<S>),
        send("/users/{user}/erasure/withdraw", who, "erasure.withdraw").to(withdraw::<S>),
        send("/users/{user}/erasure/agree", who, "erasure.agree").guessing().to(agree::<S>),
        send("/users/{user}/export", who, "person.export").guessing().to(export::<S>),
    ]
}

struct Shown {
    detail: PersonDetail,
    asked: Option<ErasureRequest>,
    typed: Fields,
    /// The field that is wrong, and what to say about it.
    wrong: (&'static str, String),
}

async fn page<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    show(&app, visit, named(&user)?, Fields::default(), ("", String::new())).await
}

async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    user: UserId,
    typed: Fields,
    wrong: (&'static str, String),
) -> Result<Response, Trouble> {
    let detail = app.store.person(user).await?;
    if detail.row.status == UserStatus::Deleted {
        return Err(Trouble::NotFound);
    }
    let asked = app.store.erasure_asked(user).await?;
    let status = if wrong.0.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(render::show(status, visit, Shown { detail, asked, typed, wrong }, draw).await)
}

/// Back to the page, with a word about what became of it.
fn answer(visit: &Visit, user: UserId, done: Answer<()>, said: &str) -> Result<Response, Trouble> {
    let to = format!("/users/{user}/erasure");
    match done {
        Ok(()) => Ok(go(visit.jar, &to, Some(said))),
        Err(AccountError::Overtaken) => Ok(go(visit.jar, &to, Some("overtaken"))),
        Err(other) => Err(other.into()),
    }
}

async fn ask<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let user = named(&user)?;
    must_be_above(&app, &visit, user).await?;
    let reason = match fields.line("reason", REASON_BYTES_MAX) {
        Ok(reason) => reason,
        Err(key) => {
            let wrong = ("reason", visit.t(key));
            return show(&app, visit, user, fields, wrong).await;
        }
    };
    let done = app.store.ask_erasure(user, reason, visit.by.clone()).await;
    answer(&visit, user, done, "erasure-asked")
}

async fn withdraw<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    let user = named(&user)?;
    let done = app.store.withdraw_erasure(user, visit.by.clone()).await;
    answer(&visit, user, done, "erasure-withdrawn")
}

async fn agree<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let user = named(&user)?;
    let detail = must_be_above(&app, &visit, user).await?;
    let viewer = visit.signed_in().cloned().ok_or(Trouble::SignIn)?;
    // Whoever asked can't agree: no need to have a code used up for that.
    let asked = app.store.erasure_asked(user).await?;
    if asked.is_some_and(|asked| asked.asked_by == viewer.user) {
        return Err(Trouble::Forbidden);
    }
    if fields.text("confirm").to_lowercase() != detail.row.email.unwrap_or_default() {
        let wrong = ("confirm", visit.t("erasure-confirm-wrong"));
        return show(&app, visit, user, fields, wrong).await;
    }
    if let Some(wrong) = doubted(&app, &visit, &viewer, &fields).await? {
        return show(&app, visit, user, fields, wrong).await;
    }
    match app.store.agree_to_erasure(user, visit.by.clone()).await {
        Ok(_) => Ok(go(visit.jar, "/users", Some("erased"))),
        Err(other) => answer(&visit, user, Err(other), ""),
    }
}

/// What is wrong with the password or the code, if anything: failures count like those of signing in.
async fn doubted<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    viewer: &Viewer,
    fields: &Fields,
) -> Result<Option<(&'static str, String)>, Trouble> {
    let email = app.store.profile(viewer.user).await?.email;
    let subject = lock_subject(&email);
    let until = app.store.locked_until(subject).await?;
    if until > 0 {
        let wait = span(visit.language, until.saturating_sub(visit.now_ms));
        return Ok(Some(("password", visit.language.of("sign-in-locked", "wait", &wait))));
    }
    let kept = app.store.login_record(email).await?.map(|record| record.password_hash);
    if !app.hasher.verify(fields.raw("password").to_owned(), kept).await? {
        app.store.count_failure(subject, Some(viewer.user), "wrong password", visit.by.clone()).await?;
        return Ok(Some(("password", visit.t("erasure-password-wrong"))));
    }
    match check(app, visit, viewer, fields.text("code")).await? {
        Checked::Right(_) => Ok(None),
        Checked::Wrong(why) => Ok(Some(("code", why))),
    }
}

async fn export<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    let user = named(&user)?;
    must_be_above(&app, &visit, user).await?;
    Ok(document(app, user, "asked for by an administrator", visit.by).await?)
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let user = shown.detail.row.user;
    let own = visit.signed_in().map(|viewer| viewer.user);
    let form = match &shown.asked {
        None => ask_form(visit, shown),
        Some(asked) => view! {
            {asked_card(visit, asked)}
            {(Some(asked.asked_by) != own).then(|| agree_form(visit, shown))}
        }
        .into_any(),
    };
    let name = shown_name(visit, &shown.detail.row);
    let body = view! {
        <p><a href=format!("/users/{user}")>{name.clone()}</a></p>
        <section class="card" aria-labelledby="copy">
            <h2 id="copy">{visit.t("export-title")}</h2>
            <p>{visit.t("export-what")}</p>
            {button(visit, format!("/users/{user}/export"), visit.t("export-do"), "quiet")}
        </section>
        <section class="card" aria-labelledby="erase">
            <h2 id="erase">{visit.t("erasure-title")}</h2>
            <p>{visit.t("erasure-what")}</p>
            {form}
        </section>
    };
    Page { title: visit.language.of("erasure-page", "name", &name), body: body.into_any() }
}

fn ask_form(visit: &Visit, shown: &Shown) -> AnyView {
    let reason = field(visit, shown, ("reason", "decision-reason"), ("text", ""), REASON_BYTES_MAX);
    view! {
        <form method="post" action=format!("/users/{}/erasure", shown.detail.row.user)>
            {csrf(visit)}
            {reason}
            <button type="submit" class="warn">{visit.t("erasure-ask")}</button>
        </form>
    }
    .into_any()
}

fn asked_card(visit: &Visit, asked: &ErasureRequest) -> AnyView {
    let asker = if asked.asker.is_empty() { visit.t("somebody-gone") } else { asked.asker.clone() };
    let action = format!("/users/{}/erasure/withdraw", asked.user);
    view! {
        <p>
            <strong>{visit.t("erasure-asked-by")}</strong>" "<bdi>{asker}</bdi>" · "{moment(asked.asked_at)}": "
            <bdi>{asked.reason.clone()}</bdi>
        </p>
        {button(visit, action, visit.t("erasure-withdraw"), "quiet")}
    }
    .into_any()
}

fn agree_form(visit: &Visit, shown: &Shown) -> AnyView {
    let confirm = field(visit, shown, ("confirm", "erasure-confirm"), ("text", ""), 254);
    let password =
        field(visit, shown, ("password", "erasure-password"), ("password", "current-password"), 256);
    let code = field(visit, shown, ("code", "code"), ("text", "one-time-code"), 7);
    view! {
        <form method="post" action=format!("/users/{}/erasure/agree", shown.detail.row.user)>
            {csrf(visit)}
            {confirm}
            {password}
            {code}
            <button type="submit" class="bad">{visit.t("erasure-agree")}</button>
        </form>
    }
    .into_any()
}

/// A field by name and label, kind and completion.
fn field(
    visit: &Visit,
    shown: &Shown,
    (name, label): (&'static str, &str),
    (kind, fills): (&'static str, &'static str),
    length_max: usize,
) -> AnyView {
    // What is secret is not shown again.
    let value = if fills.is_empty() { shown.typed.raw(name) } else { "" };
    let error = if shown.wrong.0 == name { shown.wrong.1.clone() } else { String::new() };
    let (label, hint) = (visit.t(label), String::new());
    let length_max = u32::try_from(length_max).unwrap_or(u32::MAX);
    Field { name, label, value, kind, fills, hint, error, length_max }.draw()
}
