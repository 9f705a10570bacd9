//! The role of one account: changed or taken away by an administrator who shows password and second factor once more.
//! Nobody changes their own. Whoever is to be an administrator, or had no role yet, takes a second one, who agrees on the
//! page of the staff.

use axum::extract::{Path, State};
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::rows::console::{RoleChange, StaffRequest};
use schema_store::rows::oversight::PersonRow;
use schema_store::rows::role::AccountRole;
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::factor::Factors;
use super::key::Party;
use super::proof::{self, doubted};
use super::staff::role_name;
use super::user::named;
use super::users::shown_name;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, STAFF, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::form::{Typed, choice};
use crate::parts::{csrf, moment};

/// Requests and people with a role that are looked at.
const ROWS: u32 = 200;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(ADMINISTRATORS);
    vec![
        read("/users/{user}/role", who, "role.read").to(page::<S>),
        send("/users/{user}/role", who, "role.change").guessing().to(change::<S>),
    ]
}

struct Shown {
    person: PersonRow,
    asked: Option<StaffRequest>,
    /// Whether nobody but the viewer is an active administrator.
    is_alone: bool,
    /// Of the viewer.
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

/// An account that is there.
async fn person<S: Desk>(app: &App<S>, user: UserId) -> Result<PersonRow, Trouble> {
    let row = app.store.person(user).await?.row;
    if row.status == UserStatus::Deleted { Err(Trouble::NotFound) } else { Ok(row) }
}

async fn show<S: Desk>(app: &App<S>, visit: Visit, user: UserId, typed: Typed) -> Result<Response, Trouble> {
    let person = person(app, user).await?;
    let viewer = visit.signed_in().ok_or(Trouble::SignIn)?.user;
    let asked = app.store.staff_asked(ROWS).await?;
    let asked = asked.into_iter().find(|one| one.account.is_some_and(|(account, _)| account == user));
    let is_other = |one: &PersonRow| {
        one.role == AccountRole::Admin && one.status == UserStatus::Active && one.user != viewer
    };
    let is_alone = !app.store.staff(ROWS).await?.iter().any(is_other);
    let (factors, party) = (Factors::of(app, viewer).await?, app.party.clone());
    let shown = Shown { person, asked, is_alone, factors, party, typed };
    Ok(render::show(shown.typed.status(), visit, shown, draw).await)
}

async fn change<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let user = named(&user)?;
    let viewer = visit.signed_in().cloned().ok_or(Trouble::SignIn)?;
    let role = |name| AccountRole::parse(fields.raw(name)).ok_or(Trouble::Malformed);
    let change = RoleChange { user, from: role("from")?, to: role("role")? };
    let person = person(&app, user).await?;
    if user == viewer.user {
        return Err(Trouble::Forbidden);
    }
    let here = format!("/users/{user}/role");
    // Before a code is used up for it.
    if person.role != change.from {
        return Ok(go(visit.jar, &here, Some("overtaken")));
    }
    let wrong = if change.from == change.to {
        Some(("role", visit.t("role-same")))
    } else if change.takes_two() && person.status != UserStatus::Active {
        Some(("role", visit.t("role-inactive")))
    } else {
        doubted(&app, &visit, &viewer, &fields).await?
    };
    if let Some(wrong) = wrong {
        return show(&app, visit, user, Typed::wrong(fields, wrong)).await;
    }
    let (done, to, said) = if change.takes_two() {
        let asked = app.store.ask_role(change, visit.by.clone()).await;
        (asked.map(drop), "/staff".to_owned(), "staff-asked")
    } else {
        (app.store.change_role(change, visit.by.clone()).await, format!("/users/{user}"), "role-changed")
    };
    match done {
        Ok(()) => Ok(go(visit.jar, &to, Some(said))),
        // Its role, or that it was asked for, changed meanwhile; or its status did.
        Err(AccountError::Overtaken | AccountError::NotActive(_)) => {
            Ok(go(visit.jar, &here, Some("overtaken")))
        }
        Err(AccountError::LastAdministrator) => {
            let wrong = ("role", visit.t("role-last"));
            show(&app, visit, user, Typed::wrong(fields, wrong)).await
        }
        Err(other) => Err(other.into()),
    }
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let person = &shown.person;
    let name = shown_name(visit, person);
    let is_own = visit.signed_in().is_some_and(|viewer| viewer.user == person.user);
    let form = if is_own {
        let key = if shown.is_alone { "role-own-last" } else { "role-own" };
        view! { <p class="card">{visit.t(key)}</p> }.into_any()
    } else {
        form(visit, shown)
    };
    let body = view! {
        <p><a href=format!("/users/{}", person.user)><bdi>{name.clone()}</bdi></a></p>
        <dl class="facts card">
            <dt>{visit.t("email")}</dt><dd><bdi>{person.email.clone()}</bdi></dd>
            <dt>{visit.t("person-role")}</dt><dd>{role_name(visit, person.role)}</dd>
        </dl>
        {shown.asked.as_ref().map(|asked| asked_card(visit, asked))}
        <p>{visit.t("role-why")}</p>
        {form}
    };
    Page { title: visit.language.of("role-page", "name", &name), body: body.into_any() }
}

fn asked_card(visit: &Visit, asked: &StaffRequest) -> AnyView {
    let asker = if asked.asker.is_empty() { visit.t("somebody-gone") } else { asked.asker.clone() };
    view! {
        <p class="card">
            <strong>{visit.language.of("role-asked", "role", &role_name(visit, asked.role))}</strong>" · "
            <bdi>{asker}</bdi>" · "{moment(asked.asked_at)}" · "<a href="/staff">{visit.t("staff-waiting")}</a>
        </p>
    }
    .into_any()
}

fn form(visit: &Visit, shown: &Shown) -> AnyView {
    let person = &shown.person;
    let has = person.role.name();
    let typed = shown.typed.text("role");
    let chosen = if typed.is_empty() { has } else { typed };
    let roles = STAFF.iter().chain([&AccountRole::User]);
    let roles = roles.map(|role| (role.name(), role_name(visit, *role)));
    let label = visit.t("role-change-with-key");
    let button = shown
        .factors
        .can_be_typed()
        .then(|| view! { <button type="submit" class="warn">{visit.t("role-change")}</button> });
    view! {
        <form method="post" action=format!("/users/{}/role", person.user) class="card narrow">
            {csrf(visit)}
            <input type="hidden" name="from" value=has/>
            {choice("role", visit.t("role-new"), roles, chosen, shown.typed.error("role"))}
            {proof::part(visit, shown.factors, &shown.party, &shown.typed, Some(label))}
            {button}
        </form>
    }
    .into_any()
}
