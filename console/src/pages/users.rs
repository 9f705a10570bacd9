//! People: found by what stands in a mail address or name, or by the beginning of an id.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::accounts::Answer;
use schema_store::oversight::FOUND_MAX;
use schema_store::rows::oversight::PersonRow;
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, PEOPLE_READERS, Who, read};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, moment, table};

/// Longest text to search for, in characters.
const TEXT_CHARS_MAX: usize = 254;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![read("/users", Who::Roles(PEOPLE_READERS), "people.find").to(page::<S>)]
}

struct Found {
    text: String,
    people: Vec<PersonRow>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let (text, people) = look_for(&app, &fields).await?;
    Ok(render::show(StatusCode::OK, visit, Found { text, people }, draw).await)
}

/// The text of a search, and a page of whom it finds.
pub async fn look_for<S: Desk>(app: &App<S>, fields: &Fields) -> Answer<(String, Vec<PersonRow>)> {
    let text: String = fields.text("q").chars().take(TEXT_CHARS_MAX).collect();
    let people = app.store.find_people(text.clone(), UserId::parse(fields.raw("before"))).await?;
    Ok((text, people))
}

fn draw(visit: &Visit, found: &Found) -> Page {
    let body = view! {
        {search_form(visit, "/users", &found.text)}
        {people(visit, "/users", &found.text, &found.people)}
    };
    Page { title: visit.t("nav-users"), body: body.into_any() }
}

/// The form that looks for people, in this room.
pub fn search_form(visit: &Visit, room: &'static str, text: &str) -> AnyView {
    view! {
        <form method="get" action=room class="row" role="search">
            <div class="field">
                <label for="q">{visit.t("people-search")}</label>
                <input id="q" name="q" type="search" value=text.to_owned() maxlength="254" autocomplete="off"
                    aria-keyshortcuts="/" data-search=""/>
            </div>
            <button type="submit">{visit.t("search")}</button>
        </form>
    }
    .into_any()
}

/// Those who were found, each with a way to what this room shows of them.
pub fn people(visit: &Visit, room: &'static str, text: &str, people: &[PersonRow]) -> AnyView {
    if people.is_empty() {
        return view! { <p class="card">{visit.t("people-none")}</p> }.into_any();
    }
    let heads = ["person-name", "email", "fact-status", "person-role", "person-since", "fact-active"];
    let rows: Vec<AnyView> = people.iter().map(|person| row(visit, room, person)).collect();
    let caption = visit.t(if text.is_empty() { "people-newest" } else { "people-found" });
    let next = people.last().filter(|_| people.len() == FOUND_MAX as usize);
    let next = next.map(|last| next_form(visit, room, text, last.user));
    view! {
        {table(caption, heads.map(|key| visit.t(key)).to_vec(), rows)}
        {next}
    }
    .into_any()
}

/// A form, so that the browser writes whatever was looked for into the address.
fn next_form(visit: &Visit, room: &'static str, text: &str, last: UserId) -> AnyView {
    view! {
        <form method="get" action=room>
            <input type="hidden" name="q" value=text.to_owned()/>
            <input type="hidden" name="before" value=last.to_string()/>
            <button type="submit">{visit.t("next-page")}</button>
        </form>
    }
    .into_any()
}

fn row(visit: &Visit, room: &'static str, person: &PersonRow) -> AnyView {
    let role = visit.t(&format!("role-{}", person.role.name().to_lowercase()));
    // Of a deleted account only the profile is left.
    let room = if person.status == UserStatus::Deleted { "/users" } else { room };
    view! {
        <tr data-case="">
            <th scope="row">
                <a href=format!("{room}/{}", person.user)><bdi>{shown_name(visit, person)}</bdi></a>
            </th>
            <td><bdi>{person.email.clone()}</bdi></td>
            <td>{status(visit, person.status)}</td>
            <td>{role}</td>
            <td>{moment(person.created_at)}</td>
            <td>{person.last_active_at.map(moment)}</td>
        </tr>
    }
    .into_any()
}

/// A deleted account has no name any more.
pub fn shown_name(visit: &Visit, person: &PersonRow) -> String {
    if person.name.is_empty() { visit.t("somebody-gone") } else { person.name.clone() }
}

/// What an account may do at present.
pub fn status(visit: &Visit, status: UserStatus) -> AnyView {
    match status {
        UserStatus::Active => badge("good", visit.t("status-active")),
        UserStatus::Pending => badge("", visit.t("status-pending")),
        UserStatus::Suspended { until } => view! {
            {badge("warn", visit.t("status-suspended"))}" "{until.map(moment)}
        }
        .into_any(),
        UserStatus::Banned => badge("bad", visit.t("status-banned")),
        UserStatus::Deleted => badge("", visit.t("status-deleted")),
    }
}
