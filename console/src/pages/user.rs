//! One account: what is known, its devices, and what can be done about it besides a decision.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::account::StatusChange;
use schema_store::rows::device::Device;
use schema_store::rows::oversight::{Note, PersonDetail};
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, NewToken};
use schema_wire::record::UserStatus;
use schema_wire::{DeviceId, UserId};

use super::factor::Factors;
use super::users::{shown_name, status};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::{Fields, is_unprintable};
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, MODERATORS, PEOPLE_READERS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::mail::{Errand, RESET_TTL_MS};
use crate::parts::{button, csrf, moment, reason_field, table};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 512;
/// A note of so many bytes is too long.
const TEXT_BYTES_MAX: usize = schema_store::moderation::TEXT_BYTES_MAX + 1;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(MODERATORS);
    vec![
        read("/users/{user}", Who::Roles(PEOPLE_READERS), "person.read").to(page::<S>),
        send("/users/{user}/reactivate", who, "person.reactivate").to(reactivate::<S>),
        send("/users/{user}/devices/{device}/revoke", who, "person.device.revoke").to(revoke::<S>),
        send("/users/{user}/reset-mail", who, "person.reset.mail").to(reset_mail::<S>),
        send("/users/{user}/reset-link", Who::Roles(ADMINISTRATORS), "person.reset.link").to(reset_link::<S>),
        send("/users/{user}/notes", who, "person.note").to(note::<S>),
    ]
}

struct Person {
    detail: PersonDetail,
    /// Whether a reset link may be seen by an administrator.
    shows_link: bool,
    shown: Shown,
}

/// What a page shows this once.
#[derive(Default)]
struct Shown {
    link: Option<String>,
    /// A note that was refused, and why.
    note: String,
    error: String,
    /// A reason to reactivate that was refused, and why.
    reason: String,
    reason_error: Option<String>,
}

async fn page<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    show(&app, visit, named(&user)?, StatusCode::OK, Shown::default()).await
}

/// The account that a path names.
pub fn named(text: &str) -> Result<UserId, Trouble> {
    UserId::parse(text).ok_or(Trouble::NotFound)
}

async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    user: UserId,
    code: StatusCode,
    shown: Shown,
) -> Result<Response, Trouble> {
    let detail = app.store.person(user).await?;
    let shows_link = shows_link(app, &detail).await?;
    Ok(render::show(code, visit, Person { detail, shows_link, shown }, draw).await)
}

/// Whoever sees the link of somebody with a role and no second factor could sign in as them, and be two people where two
/// are asked for: such a link goes to their own address only.
async fn shows_link<S: Desk>(app: &App<S>, detail: &PersonDetail) -> Result<bool, Trouble> {
    Ok(detail.row.role == AccountRole::User || Factors::of(app, detail.row.user).await?.any())
}

/// Why the visitor may not act on this account, whatever their role: the key of the text. Staff are for administrators
/// only; nobody acts on oneself here.
pub fn hindrance(visit: &Visit, user: UserId, role: AccountRole) -> Option<&'static str> {
    if visit.signed_in().is_some_and(|viewer| viewer.user == user) {
        return Some("hindrance-own");
    }
    (role != AccountRole::User && !visit.is_one_of(ADMINISTRATORS)).then_some("hindrance-staff")
}

/// The same as words on a page, for whoever would act otherwise.
pub fn hindered(visit: &Visit, user: UserId, role: AccountRole) -> Option<AnyView> {
    let key = hindrance(visit, user, role).filter(|_| visit.is_one_of(MODERATORS))?;
    Some(view! { <p class="hint">{visit.t(key)}</p> }.into_any())
}

/// The account, when the visitor may act on it.
pub async fn must_be_above<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    user: UserId,
) -> Result<PersonDetail, Trouble> {
    let detail = app.store.person(user).await?;
    if hindrance(visit, user, detail.row.role).is_some() {
        return Err(Trouble::Forbidden);
    }
    Ok(detail)
}

async fn reactivate<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let id = named(&user)?;
    let detail = must_be_above(&app, &visit, id).await?;
    let to = format!("/users/{user}");
    let reason = match fields.line("reason", REASON_BYTES_MAX) {
        Ok(reason) => reason,
        Err(key) => {
            let (reason, reason_error) = (fields.raw("reason").to_owned(), Some(visit.t(key)));
            let shown = Shown { reason, reason_error, ..Shown::default() };
            return show(&app, visit, id, StatusCode::UNPROCESSABLE_ENTITY, shown).await;
        }
    };
    if !matches!(detail.row.status, UserStatus::Suspended { .. } | UserStatus::Banned) {
        return Ok(go(visit.jar, &to, Some("overtaken")));
    }
    app.store.set_status(id, StatusChange::Reactivate, reason, visit.by.clone()).await?;
    Ok(go(visit.jar, &to, Some("reactivated")))
}

async fn revoke<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path((user, device)): Path<(String, String)>,
) -> Result<Response, Trouble> {
    let id = named(&user)?;
    let device = DeviceId::parse(&device).ok_or(Trouble::NotFound)?;
    must_be_above(&app, &visit, id).await?;
    app.store.revoke_device(id, device, visit.by.clone()).await?;
    Ok(go(visit.jar, &format!("/users/{user}"), Some("device-revoked")))
}

async fn reset_mail<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    let detail = must_be_above(&app, &visit, named(&user)?).await?;
    let email = detail.row.email.ok_or(Trouble::NotFound)?;
    let left = app.post.leave(Errand::PasswordReset { email, by: visit.by.clone() });
    Ok(go(visit.jar, &format!("/users/{user}"), Some(if left { "reset-mailed" } else { "mail-closed" })))
}

async fn reset_link<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    let id = named(&user)?;
    let detail = must_be_above(&app, &visit, id).await?;
    if !shows_link(&app, &detail).await? {
        return Err(Trouble::Forbidden);
    }
    let email = detail.row.email.ok_or(Trouble::NotFound)?;
    let (secret, token) = NewToken::generate(app.clock.now_ms() + RESET_TTL_MS);
    match app.store.request_reset(email, token, visit.by.clone()).await {
        Ok(Some(_)) => {
            let link = format!("{}/reset-password?token={secret}", app.public_url);
            show(&app, visit, id, StatusCode::OK, Shown { link: Some(link), ..Shown::default() }).await
        }
        // Only active accounts have a password to reset.
        Ok(None) | Err(AccountError::NotFound) => {
            Ok(go(visit.jar, &format!("/users/{user}"), Some("reset-not-active")))
        }
        Err(other) => Err(other.into()),
    }
}

async fn note<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let id = named(&user)?;
    let text = fields.text("note").replace("\r\n", "\n");
    let error = match text.len() {
        0 => "error-empty",
        TEXT_BYTES_MAX.. => "error-too-long",
        _ if text.chars().any(|c| is_unprintable(c) && c != '\n') => "error-control",
        _ => "",
    };
    if !error.is_empty() {
        let shown = Shown { note: text, error: visit.t(error), ..Shown::default() };
        return show(&app, visit, id, StatusCode::UNPROCESSABLE_ENTITY, shown).await;
    }
    app.store.add_note(id, text, visit.by.clone()).await?;
    Ok(go(visit.jar, &format!("/users/{user}"), Some("noted")))
}

fn draw(visit: &Visit, person: &Person) -> Page {
    let detail = &person.detail;
    let link = person.shown.link.clone().map(|link| {
        view! {
            <div class="card" role="status">
                <p>{visit.t("reset-link-once")}</p>
                <code class="secret">{link}</code>
            </div>
        }
    });
    let body = view! {
        {link}
        <div class="columns">
            <div>
                {facts(visit, detail)}
                {devices(visit, detail)}
            </div>
            <div>
                {actions(visit, person)}
                {notes(visit, person)}
            </div>
        </div>
    };
    Page { title: shown_name(visit, &detail.row), body: body.into_any() }
}

fn facts(visit: &Visit, detail: &PersonDetail) -> AnyView {
    let row = &detail.row;
    let role = visit.t(&format!("role-{}", row.role.name().to_lowercase()));
    let verified = detail.email_verified.then(|| format!(" ({})", visit.t("email-verified")));
    view! {
        <section class="card" aria-labelledby="facts">
            <h2 id="facts">{visit.t("facts-title")}</h2>
            <dl class="facts">
                <dt>{visit.t("email")}</dt><dd><bdi>{row.email.clone()}</bdi>{verified}</dd>
                <dt>{visit.t("fact-status")}</dt><dd>{status(visit, row.status)}</dd>
                <dt>{visit.t("person-role")}</dt><dd>{role}</dd>
                <dt>{visit.t("person-since")}</dt><dd>{moment(row.created_at)}</dd>
                <dt>{visit.t("fact-active")}</dt>
                <dd>{row.last_active_at.map_or_else(|| "–".into_any(), moment)}</dd>
                <dt>{visit.t("person-sessions")}</dt><dd>{detail.sessions}</dd>
                <dt>{visit.t("person-conversations")}</dt><dd>{detail.conversations}</dd>
                <dt>{visit.t("person-storage")}</dt>
                <dd>{visit.language.count("person-storage-mib", detail.storage.div_ceil(1024 * 1024))}</dd>
                <dt>{visit.t("fact-strikes")}</dt><dd>{detail.strikes}</dd>
                <dt>{visit.t("fact-id")}</dt><dd><code>{row.user.to_string()}</code></dd>
            </dl>
        </section>
    }
    .into_any()
}

fn devices(visit: &Visit, detail: &PersonDetail) -> AnyView {
    if detail.devices.is_empty() {
        return view! { <p class="card">{visit.t("devices-none")}</p> }.into_any();
    }
    let heads = ["device-name", "session-since", "session-seen", "device-revoke"];
    let rows = detail.devices.iter().map(|device| device_row(visit, detail, device)).collect();
    table(visit.t("fact-devices"), heads.map(|key| visit.t(key)).to_vec(), rows)
}

fn device_row(visit: &Visit, detail: &PersonDetail, device: &Device) -> AnyView {
    let action = format!("/users/{}/devices/{}/revoke", detail.row.user, device.id);
    let revoke = may_act(visit, detail).then(|| button(visit, action, visit.t("device-revoke"), "quiet"));
    view! {
        <tr>
            <th scope="row"><bdi>{device.name.clone()}</bdi></th>
            <td>{moment(device.created_at)}</td>
            <td>{moment(device.last_seen_at)}</td>
            <td>{revoke}</td>
        </tr>
    }
    .into_any()
}

fn may_act(visit: &Visit, detail: &PersonDetail) -> bool {
    visit.is_one_of(MODERATORS) && hindrance(visit, detail.row.user, detail.row.role).is_none()
}

fn actions(visit: &Visit, person: &Person) -> Option<AnyView> {
    let detail = &person.detail;
    let is_gone = detail.row.status == UserStatus::Deleted;
    if is_gone {
        return None;
    }
    let user = detail.row.user;
    let may = may_act(visit, detail);
    let is_out = matches!(detail.row.status, UserStatus::Suspended { .. } | UserStatus::Banned);
    let case =
        view! { <p><a class="button" href=format!("/moderation/{user}")>{visit.t("person-case")}</a></p> };
    let reset = may.then(|| {
        let is_admin = visit.is_one_of(ADMINISTRATORS);
        let link = (is_admin && person.shows_link)
            .then(|| button(visit, format!("/users/{user}/reset-link"), visit.t("reset-link"), "warn"));
        let hint = (is_admin && !person.shows_link)
            .then(|| view! { <p class="hint">{visit.t("reset-link-staff")}</p> });
        view! {
            <h2>{visit.t("reset-title")}</h2>
            <div class="row">
                {button(visit, format!("/users/{user}/reset-mail"), visit.t("reset-mail"), "quiet")}
                {link}
            </div>
            {hint}
        }
    });
    Some(
        view! {
            <section class="card">
                <h2>{visit.t("person-decide")}</h2>
                {case}
                {hindered(visit, user, detail.row.role)}
                {(may && is_out).then(|| reactivate_form(visit, user, &person.shown))}
                {reset}
                {visit.is_one_of(ADMINISTRATORS).then(|| administrators_part(visit, user))}
            </section>
        }
        .into_any(),
    )
}

fn notes(visit: &Visit, person: &Person) -> AnyView {
    let notes = person.detail.notes.iter().map(|note| note_card(visit, note)).collect_view();
    let may = visit.is_one_of(MODERATORS) && person.detail.row.status != UserStatus::Deleted;
    view! {
        <section class="card" aria-labelledby="notes">
            <h2 id="notes">{visit.t("notes-title")}</h2>
            {notes}
            {may.then(|| note_form(visit, person.detail.row.user, &person.shown))}
        </section>
    }
    .into_any()
}

fn note_card(visit: &Visit, note: &Note) -> AnyView {
    let author = if note.author.is_empty() { visit.t("somebody-gone") } else { note.author.clone() };
    view! {
        <p class="lines"><bdi>{note.text.clone()}</bdi></p>
        <p class="hint"><bdi>{author}</bdi>" · "{moment(note.created_at)}</p>
    }
    .into_any()
}

fn note_form(visit: &Visit, user: UserId, shown: &Shown) -> AnyView {
    let error = (!shown.error.is_empty()).then(|| shown.error.clone());
    let (described, is_wrong) = (error.is_some().then_some("note-error"), error.is_some().then_some("true"));
    view! {
        <form method="post" action=format!("/users/{user}/notes")>
            {csrf(visit)}
            <div class="field">
                <label for="note">{visit.t("note-add")}</label>
                <p class="hint">{visit.t("note-hint")}</p>
                <textarea id="note" name="note" required=true maxlength="2000" aria-invalid=is_wrong
                    aria-describedby=described>{shown.note.clone()}</textarea>
                {error.map(|text| view! { <p class="error" id="note-error">{text}</p> })}
            </div>
            <button type="submit">{visit.t("note-keep")}</button>
        </form>
    }
    .into_any()
}

fn administrators_part(visit: &Visit, user: UserId) -> AnyView {
    view! {
        <h2>{visit.t("role-title")}</h2>
        <p><a class="button" href=format!("/users/{user}/role")>{visit.t("role-change")}</a></p>
        <h2>{visit.t("erasure-rights")}</h2>
        <p><a class="button" href=format!("/users/{user}/erasure")>{visit.t("erasure-way")}</a></p>
    }
    .into_any()
}

fn reactivate_form(visit: &Visit, user: UserId, shown: &Shown) -> AnyView {
    view! {
        <form method="post" action=format!("/users/{user}/reactivate")>
            {csrf(visit)}
            {reason_field(visit, "reason".to_owned(), shown.reason.clone(), shown.reason_error.clone())}
            <button type="submit" class="warn">{visit.t("reactivate")}</button>
        </form>
    }
    .into_any()
}
