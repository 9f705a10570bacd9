//! The second half of signing in: a code of the authenticator. Wrong codes lock the account out like wrong passwords.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::console::{SecondFactor, Stage};
use schema_wire::UserId;

use super::sign_in::{lock_subject, open};
use crate::access::seal::is_plain;
use crate::access::totp::matching_step;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::{Viewer, Visit};
use crate::parts::{Field, csrf, span};

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Halfway(Stage::SecondFactor);
    vec![
        read("/sign-in/code", who, "session.confirm").to(page),
        send("/sign-in/code", who, "session.confirm").guessing().to(confirm::<S>),
    ]
}

async fn page(visit: Visit) -> Response {
    render::show(StatusCode::OK, visit, Form { error: String::new() }, draw).await
}

/// What is wrong with the code; empty: nothing.
struct Form {
    error: String,
}

fn draw(visit: &Visit, form: &Form) -> Page {
    let body = view! {
        <form method="post" action="/sign-in/code" class="card narrow">
            {csrf(visit)}
            {code_field(visit, &form.error)}
            <button type="submit" class="main">{visit.t("sign-in")}</button>
        </form>
    };
    Page { title: visit.t("code-title"), body: body.into_any() }
}

/// The field for a code.
pub fn code_field(visit: &Visit, error: &str) -> AnyView {
    let field = Field {
        name: "code",
        label: visit.t("code"),
        value: "",
        kind: "text",
        fills: "one-time-code",
        hint: visit.t("code-hint"),
        error: error.to_owned(),
        length_max: 7,
    };
    field.draw()
}

async fn confirm<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let viewer = visit.viewer.clone().ok_or(Trouble::SignIn)?;
    match check(&app, &visit, &viewer, fields.text("code")).await? {
        Checked::Right(subject) => {
            open(&app, &visit, viewer.user, Stage::Full, Some(viewer.session), Some(subject), "/").await
        }
        Checked::Wrong(error) => {
            Ok(render::show(StatusCode::UNPROCESSABLE_ENTITY, visit, Form { error }, draw).await)
        }
    }
}

/// What became of a code.
pub enum Checked {
    /// Whose failures are to be forgotten.
    Right([u8; 32]),
    /// What to say about it.
    Wrong(String),
}

/// Uses a code up, or counts a failure.
pub async fn check<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    viewer: &Viewer,
    code: &str,
) -> Result<Checked, Trouble> {
    let subject = lock_subject(&app.store.profile(viewer.user).await?.email);
    let locked = |until: u64| {
        let wait = span(visit.language, until.saturating_sub(visit.now_ms));
        Checked::Wrong(visit.language.of("sign-in-locked", "wait", &wait))
    };
    let until = app.store.locked_until(subject).await?;
    if until > 0 {
        return Ok(locked(until));
    }
    let factor = app.store.second_factor(viewer.user).await?.ok_or(Trouble::Malformed)?;
    if let Some(step) = matching_step(&unsealed(app, viewer.user, &factor).await?, code, app.clock.now_s())
        && app.store.use_second_factor(viewer.user, step, visit.by.clone()).await?
    {
        return Ok(Checked::Right(subject));
    }
    let until = app.store.count_failure(subject, Some(viewer.user), "wrong code", visit.by.clone()).await?;
    Ok(if until > 0 { locked(until) } else { Checked::Wrong(visit.t("code-wrong")) })
}

/// The secret of a second factor. One that an earlier version kept as it is gets sealed.
pub async fn unsealed<S: Desk>(
    app: &App<S>,
    user: UserId,
    factor: &SecondFactor,
) -> Result<Vec<u8>, Trouble> {
    if is_plain(&factor.secret) {
        let sealed = app.seal.seal(user, &factor.secret);
        app.store.rewrite_second_factor(user, factor.secret.clone(), sealed).await?;
        return Ok(factor.secret.clone());
    }
    app.seal.open(user, &factor.secret).ok_or_else(|| {
        tracing::error!(
            "a second factor was sealed with another key; give every console the same CONSOLE_SEAL_KEY_FILE"
        );
        Trouble::Unavailable
    })
}
