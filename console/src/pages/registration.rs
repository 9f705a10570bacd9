//! Who may come in: invitations, and accounts that wait to be approved.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::account::{Invite, InviteId, NewInvite, Profile};
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, NewToken, normalise_email};
use schema_wire::UserId;

use crate::app::App;
use crate::config::Registration;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{Field, badge, button, csrf, moment, table};

/// Rows of each list; older ones make room.
const ROWS: u32 = 100;
/// How long an invitation works, in milliseconds.
const INVITE_MS: u64 = 7 * 86_400_000;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(ADMINISTRATORS);
    vec![
        read("/registration", who, "registration.read").to(page::<S>),
        send("/registration/invite", who, "registration.invite").to(invite::<S>),
        send("/registration/invites/{invite}/revoke", who, "registration.invite").to(revoke::<S>),
        send("/registration/pending/{user}/approve", who, "registration.approve").to(approve::<S>),
        send("/registration/pending/{user}/refuse", who, "registration.refuse").to(refuse::<S>),
    ]
}

struct Shown {
    mode: Registration,
    invites: Vec<Invite>,
    pending: Vec<Profile>,
    typed: String,
    error: String,
    /// An invitation just made: shown this once.
    secret: Option<String>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, StatusCode::OK, (String::new(), String::new()), None).await
}

async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    status: StatusCode,
    (typed, error): (String, String),
    secret: Option<String>,
) -> Result<Response, Trouble> {
    let shown = Shown {
        mode: app.in_force.held().registration,
        invites: app.store.invites(None, ROWS).await?,
        pending: app.store.pending(None, ROWS).await?,
        typed,
        error,
        secret,
    };
    Ok(render::show(status, visit, shown, draw).await)
}

async fn invite<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let typed = fields.text("email").to_owned();
    let email = (!typed.is_empty()).then(|| normalise_email(&typed));
    if email == Some(None) {
        let error = visit.t("error-email");
        return show(&app, visit, StatusCode::UNPROCESSABLE_ENTITY, (typed, error), None).await;
    }
    let (secret, token) = NewToken::generate(app.clock.now_ms() + INVITE_MS);
    let new = NewInvite { token, email: email.flatten(), role: AccountRole::User };
    app.store.create_invite(new, visit.by.clone()).await?;
    show(&app, visit, StatusCode::OK, (String::new(), String::new()), Some(secret)).await
}

async fn revoke<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(invite): Path<String>,
) -> Result<Response, Trouble> {
    let id = UserId::parse(&invite).ok_or(Trouble::NotFound)?;
    app.store.revoke_invite(InviteId(id.0), visit.by.clone()).await?;
    Ok(go(visit.jar, "/registration", Some("invite-revoked")))
}

async fn approve<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    let id = UserId::parse(&user).ok_or(Trouble::NotFound)?;
    let said = match app.store.approve(id, visit.by.clone()).await {
        Ok(()) => "approved",
        Err(AccountError::NotActive(_)) => "overtaken",
        Err(other) => return Err(other.into()),
    };
    Ok(go(visit.jar, "/registration", Some(said)))
}

async fn refuse<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    let id = UserId::parse(&user).ok_or(Trouble::NotFound)?;
    let said = match app.store.refuse_registration(id, visit.by.clone()).await {
        Ok(()) => "registration-refused",
        Err(AccountError::NotActive(_)) => "overtaken",
        Err(other) => return Err(other.into()),
    };
    Ok(go(visit.jar, "/registration", Some(said)))
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let mode = format!("registration-{}", shown.mode.name());
    let secret = shown.secret.clone().map(|secret| {
        view! {
            <div class="card" role="status">
                <p>{visit.t("invite-once")}</p>
                <code class="secret">{secret}</code>
            </div>
        }
    });
    let body = view! {
        {secret}
        <p class="row middle">
            <span>{visit.t(&mode)}</span>
            <a class="button" href="/settings#registration">{visit.t("registration-change")}</a>
        </p>
        {pending(visit, &shown.pending)}
        {invite_form(visit, shown)}
        {invites(visit, &shown.invites)}
    };
    Page { title: visit.t("nav-registration"), body: body.into_any() }
}

fn invite_form(visit: &Visit, shown: &Shown) -> AnyView {
    let email = Field {
        name: "email",
        label: visit.t("invite-email"),
        value: &shown.typed,
        kind: "email",
        fills: "off",
        hint: visit.t("invite-hint"),
        error: shown.error.clone(),
        length_max: 254,
    };
    view! {
        <form method="post" action="/registration/invite" class="card narrow">
            {csrf(visit)}
            {email.draw()}
            <button type="submit">{visit.t("invite-make")}</button>
        </form>
    }
    .into_any()
}

fn pending(visit: &Visit, rows: &[Profile]) -> AnyView {
    if rows.is_empty() {
        return view! { <p class="card">{visit.t("pending-none")}</p> }.into_any();
    }
    let heads = ["person-name", "email", "person-since", "decision-do"];
    let rows = rows.iter().map(|one| {
        let action = format!("/registration/pending/{}/approve", one.user);
        let refuse = format!("/registration/pending/{}/refuse", one.user);
        let verified = one.email_verified.then(|| format!(" ({})", visit.t("email-verified")));
        view! {
            <tr>
                <th scope="row"><a href=format!("/users/{}", one.user)><bdi>{one.name.clone()}</bdi></a></th>
                <td><bdi>{one.email.clone()}</bdi>{verified}</td>
                <td>{moment(one.created_at)}</td>
                <td>
                    {button(visit, action, visit.t("pending-approve"), "quiet")}
                    <details>
                        <summary>{visit.t("pending-refuse")}</summary>
                        <p class="hint">{visit.t("pending-refuse-why")}</p>
                        {button(visit, refuse, visit.t("pending-refuse-do"), "bad")}
                    </details>
                </td>
            </tr>
        }
        .into_any()
    });
    table(visit.t("pending-title"), heads.map(|key| visit.t(key)).to_vec(), rows.collect())
}

fn invites(visit: &Visit, rows: &[Invite]) -> AnyView {
    if rows.is_empty() {
        return view! { <p class="card">{visit.t("invites-none")}</p> }.into_any();
    }
    let heads = ["person-since", "invite-for", "invite-until", "case-state", "session-end"];
    let rows = rows.iter().map(|invite| invite_row(visit, invite)).collect();
    table(visit.t("invites-title"), heads.map(|key| visit.t(key)).to_vec(), rows)
}

fn invite_row(visit: &Visit, invite: &Invite) -> AnyView {
    let is_open = invite.used_at.is_none() && invite.revoked_at.is_none() && invite.expires_at > visit.now_ms;
    let state = match (invite.used_at, invite.revoked_at) {
        (Some(_), _) => badge("good", visit.t("invite-used")),
        (None, Some(_)) => badge("", visit.t("invite-revoked")),
        (None, None) if is_open => badge("", visit.t("invite-open")),
        (None, None) => badge("", visit.t("invite-expired")),
    };
    let action = format!("/registration/invites/{}/revoke", UserId(invite.id.0));
    view! {
        <tr>
            <th scope="row">{moment(invite.created_at)}</th>
            <td><bdi>{invite.email.clone().unwrap_or_else(|| visit.t("invite-anybody"))}</bdi></td>
            <td>{moment(invite.expires_at)}</td>
            <td>{state}</td>
            <td>{is_open.then(|| button(visit, action, visit.t("session-end"), "quiet"))}</td>
        </tr>
    }
    .into_any()
}
