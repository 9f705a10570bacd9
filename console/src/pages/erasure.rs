//! What somebody may ask for by law: a copy of everything kept about them, or that it goes. An erasure takes two
//! administrators, and the second one's word that it is meant: the address typed, password and second factor.

use axum::extract::{Path, State};
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::accounts::Answer;
use schema_store::rows::moderation::ErasureRequest;
use schema_store::rows::oversight::PersonDetail;
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::factor::Factors;
use super::key::Party;
use super::proof::{self, doubted};
use super::user::{hindered, hindrance, must_be_above, named};
use super::users::shown_name;
use crate::api::export::document;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::form::Typed;
use crate::parts::{button, csrf, moment};

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
    /// Of whoever looks at it.
    factors: Factors,
    party: Party,
    typed: Typed,
}

async fn page<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    show(&app, visit, named(&user)?, Typed::default()).await
}

async fn show<S: Desk>(app: &App<S>, visit: Visit, user: UserId, typed: Typed) -> Result<Response, Trouble> {
    let detail = app.store.person(user).await?;
    if detail.row.status == UserStatus::Deleted {
        return Err(Trouble::NotFound);
    }
    let asked = app.store.erasure_asked(user).await?;
    let viewer = visit.signed_in().ok_or(Trouble::SignIn)?.user;
    let (factors, party) = (Factors::of(app, viewer).await?, app.party.clone());
    let shown = Shown { detail, asked, factors, party, typed };
    Ok(render::show(shown.typed.status(), visit, shown, draw).await)
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
            return show(&app, visit, user, Typed::wrong(fields, wrong)).await;
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
        return show(&app, visit, user, Typed::wrong(fields, wrong)).await;
    }
    if let Some(wrong) = doubted(&app, &visit, &viewer, &fields).await? {
        return show(&app, visit, user, Typed::wrong(fields, wrong)).await;
    }
    match app.store.agree_to_erasure(user, visit.by.clone()).await {
        Ok(_) => Ok(go(visit.jar, "/users", Some("erased"))),
        Err(other) => answer(&visit, user, Err(other), ""),
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
    let role = shown.detail.row.role;
    let may_act = hindrance(visit, user, role).is_none();
    let form = match &shown.asked {
        None => may_act.then(|| ask_form(visit, shown)),
        Some(asked) => {
            let may_agree = may_act && Some(asked.asked_by) != own;
            let agree = may_agree.then(|| agree_form(visit, shown));
            Some(view! { {asked_card(visit, asked)} {agree} }.into_any())
        }
    };
    let export = format!("/users/{user}/export");
    let name = shown_name(visit, &shown.detail.row);
    let body = view! {
        <p><a href=format!("/users/{user}")>{name.clone()}</a></p>
        {hindered(visit, user, role)}
        <section class="card" aria-labelledby="copy">
            <h2 id="copy">{visit.t("export-title")}</h2>
            <p>{visit.t("export-what")}</p>
            {may_act.then(|| button(visit, export, visit.t("export-do"), "quiet"))}
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
    let reason = shown.typed.line(visit, "reason", "decision-reason", 256);
    view! {
        <form method="post" action=format!("/users/{}/erasure", shown.detail.row.user)>
            {csrf(visit)}
            {reason.draw()}
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
    let label = visit.t("erasure-agree-with-key");
    let button = shown
        .factors
        .can_be_typed()
        .then(|| view! { <button type="submit" class="bad">{visit.t("erasure-agree")}</button> });
    view! {
        <form method="post" action=format!("/users/{}/erasure/agree", shown.detail.row.user)>
            {csrf(visit)}
            {shown.typed.line(visit, "confirm", "erasure-confirm", 254).draw()}
            {proof::part(visit, shown.factors, &shown.party, &shown.typed, Some(label))}
            {button}
        </form>
    }
    .into_any()
}
