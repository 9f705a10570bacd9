//! Who has a role in the console. One administrator asks for a further account, or for what takes two for one that is
//! there; another one agrees. Whoever had no role before chooses a password with a link that goes to their own address
//! only: an administrator who saw it would be two people.

use axum::extract::{Path, State};
use axum::response::Response;
use leptos::prelude::*;
use schema_store::accounts::NAME_BYTES_MAX;
use schema_store::rows::console::{Agreed, NewStaff, StaffRequest, StaffRequestId};
use schema_store::rows::oversight::PersonRow;
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, NewToken, normalise_email};
use schema_wire::UserId;

use super::users::{shown_name, status};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, STAFF, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::mail::{Errand, RESET_TTL_MS};
use crate::parts::form::{Typed, choice};
use crate::parts::{Field, button, csrf, moment, table};

/// Rows of each list.
const ROWS: u32 = 200;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(ADMINISTRATORS);
    vec![
        read("/staff", who, "staff.read").to(page::<S>),
        send("/staff", who, "staff.ask").to(ask::<S>),
        send("/staff/{request}/withdraw", who, "staff.withdraw").to(withdraw::<S>),
        send("/staff/{request}/agree", who, "staff.agree").to(agree::<S>),
    ]
}

struct Shown {
    staff: Vec<PersonRow>,
    asked: Vec<StaffRequest>,
    typed: Typed,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, Typed::default()).await
}

async fn show<S: Desk>(app: &App<S>, visit: Visit, typed: Typed) -> Result<Response, Trouble> {
    let (staff, asked) = (app.store.staff(ROWS).await?, app.store.staff_asked(ROWS).await?);
    Ok(render::show(typed.status(), visit, Shown { staff, asked, typed }, draw).await)
}

async fn ask<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let role = AccountRole::parse(fields.raw("role")).filter(|role| STAFF.contains(role));
    let role = role.ok_or(Trouble::Malformed)?;
    let wrong = match wanted(&fields, role) {
        Err(wrong) => wrong,
        Ok(new) => match app.store.ask_staff(new, visit.by.clone()).await {
            Ok(_) => return Ok(go(visit.jar, "/staff", Some("staff-asked"))),
            Err(AccountError::EmailTaken) => ("email", "error-email-taken"),
            Err(AccountError::Overtaken) => ("email", "error-asked-already"),
            Err(other) => return Err(other.into()),
        },
    };
    let wrong = (wrong.0, visit.t(wrong.1));
    show(&app, visit, Typed::wrong(fields, wrong)).await
}

/// The account a form asks for; otherwise the field and the key of what is wrong with it.
fn wanted(fields: &Fields, role: AccountRole) -> Result<NewStaff, (&'static str, &'static str)> {
    let email = normalise_email(fields.text("email")).ok_or(("email", "error-email"))?;
    let name = fields.line("name", NAME_BYTES_MAX).map_err(|key| ("name", key))?;
    Ok(NewStaff { email, name, role })
}

fn named(text: &str) -> Result<StaffRequestId, Trouble> {
    UserId::parse(text).map(|id| StaffRequestId(id.0)).ok_or(Trouble::NotFound)
}

async fn withdraw<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(request): Path<String>,
) -> Result<Response, Trouble> {
    let said = match app.store.withdraw_staff(named(&request)?, visit.by.clone()).await {
        Ok(()) => "staff-withdrawn",
        Err(AccountError::Overtaken) => "overtaken",
        Err(other) => return Err(other.into()),
    };
    Ok(go(visit.jar, "/staff", Some(said)))
}

async fn agree<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(request): Path<String>,
) -> Result<Response, Trouble> {
    if !app.post.is_open() {
        return Ok(go(visit.jar, "/staff", Some("mail-closed")));
    }
    let (secret, token) = NewToken::generate(app.clock.now_ms() + RESET_TTL_MS);
    match app.store.agree_to_staff(named(&request)?, token, visit.by.clone()).await {
        Ok(Agreed::Changed(_)) => Ok(go(visit.jar, "/staff", Some("role-changed"))),
        Ok(Agreed::Made(user) | Agreed::Raised(user)) => {
            let left = app.post.leave(Errand::FirstPassword { user, secret });
            Ok(go(visit.jar, "/staff", Some(if left { "staff-mailed" } else { "mail-closed" })))
        }
        Err(AccountError::Overtaken) => Ok(go(visit.jar, "/staff", Some("overtaken"))),
        // Somebody registered with this address in between: the request stays, to be withdrawn.
        Err(AccountError::EmailTaken) => Ok(go(visit.jar, "/staff", Some("email-taken"))),
        // Or it was suspended, banned or erased.
        Err(AccountError::NotActive(_) | AccountError::NotFound) => {
            Ok(go(visit.jar, "/staff", Some("role-not-active")))
        }
        Err(other) => Err(other.into()),
    }
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let body = view! {
        <p>{visit.t("staff-why")}</p>
        {asked(visit, &shown.asked)}
        {ask_form(visit, shown)}
        {list(visit, &shown.staff)}
    };
    Page { title: visit.t("nav-staff"), body: body.into_any() }
}

/// What a role is called.
pub fn role_name(visit: &Visit, role: AccountRole) -> String {
    visit.t(&format!("role-{}", role.name().to_lowercase()))
}

fn ask_form(visit: &Visit, shown: &Shown) -> AnyView {
    let email = Field { kind: "email", ..shown.typed.line(visit, "email", "email", 254) };
    let roles = STAFF.iter().map(|role| (role.name(), role_name(visit, *role)));
    view! {
        <form method="post" action="/staff" class="card narrow">
            {csrf(visit)}
            {email.draw()}
            {shown.typed.line(visit, "name", "person-name", 128).draw()}
            {choice("role", visit.t("person-role"), roles, shown.typed.text("role"), String::new())}
            <button type="submit">{visit.t("staff-ask")}</button>
        </form>
    }
    .into_any()
}

fn asked(visit: &Visit, rows: &[StaffRequest]) -> Option<AnyView> {
    if rows.is_empty() {
        return None;
    }
    let heads = ["email", "person-name", "person-role", "decision-by", "decision-at", "decision-do"];
    let rows = rows.iter().map(|request| asked_row(visit, request)).collect();
    Some(table(visit.t("staff-waiting"), heads.map(|key| visit.t(key)).to_vec(), rows))
}

fn asked_row(visit: &Visit, request: &StaffRequest) -> AnyView {
    let id = UserId(request.id.0);
    let is_own = visit.signed_in().is_some_and(|viewer| viewer.user == request.asked_by);
    let wanted = role_name(visit, request.role);
    let wanted = match request.account {
        None => wanted,
        Some((_, has)) => format!("{} → {wanted}", role_name(visit, has)),
    };
    let asker = if request.asker.is_empty() { visit.t("somebody-gone") } else { request.asker.clone() };
    let agree =
        (!is_own).then(|| button(visit, format!("/staff/{id}/agree"), visit.t("decision-agree"), "bad"));
    view! {
        <tr>
            <th scope="row"><bdi>{request.email.clone()}</bdi></th>
            <td><bdi>{request.name.clone()}</bdi></td>
            <td>{wanted}</td>
            <td><bdi>{asker}</bdi></td>
            <td>{moment(request.asked_at)}</td>
            <td>
                {agree}" "
                {button(visit, format!("/staff/{id}/withdraw"), visit.t("decision-withdraw"), "quiet")}
            </td>
        </tr>
    }
    .into_any()
}

fn list(visit: &Visit, staff: &[PersonRow]) -> AnyView {
    let heads =
        ["person-name", "email", "person-role", "fact-status", "person-since", "fact-active", "role-change"];
    let own = visit.signed_in().map(|viewer| viewer.user);
    let rows = staff.iter().map(|person| {
        let label = visit.language.of("role-change-of", "name", &shown_name(visit, person));
        let change = (Some(person.user) != own).then(|| {
            view! { <a href=format!("/users/{}/role", person.user) aria-label=label>{visit.t("role-change-here")}</a> }
        });
        view! {
            <tr>
                <th scope="row"><a href=format!("/users/{}", person.user)><bdi>{shown_name(visit, person)}</bdi></a></th>
                <td><bdi>{person.email.clone()}</bdi></td>
                <td>{role_name(visit, person.role)}</td>
                <td>{status(visit, person.status)}</td>
                <td>{moment(person.created_at)}</td>
                <td>{person.last_active_at.map(moment)}</td>
                <td>{change}</td>
            </tr>
        }
        .into_any()
    });
    table(visit.t("nav-staff"), heads.map(|key| visit.t(key)).to_vec(), rows.collect())
}
