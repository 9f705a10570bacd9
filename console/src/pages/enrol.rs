//! A second factor is set up: a picture to scan, the same secret to type, a code to show that it works. Administrators
//! get no further without; everybody else may.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::console::Stage;

use super::code::{Checked, check, code_field, unsealed};
use super::sign_in::open;
use crate::access::totp;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, STAFF, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::{Viewer, Visit};
use crate::parts::csrf;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let halfway = Who::Halfway(Stage::Enrol);
    let own = Who::Roles(STAFF);
    vec![
        read("/sign-in/enrol", halfway, "factor.add").to(page::<S>),
        send("/sign-in/enrol", halfway, "factor.add").guessing().to(confirm::<S>),
        read("/account/second-factor", own, "factor.add").to(page::<S>),
        send("/account/second-factor", own, "factor.add").guessing().to(confirm::<S>),
    ]
}

struct Form {
    picture: Option<(String, i32)>,
    typed: String,
    error: String,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, StatusCode::OK, String::new()).await
}

async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    status: StatusCode,
    error: String,
) -> Result<Response, Trouble> {
    let viewer = viewer(&visit)?;
    let fresh = app.seal.seal(viewer.user, &totp::new_secret());
    let factor = app.store.begin_second_factor(viewer.user, fresh).await?;
    let secret = unsealed(app, viewer.user, &factor).await?;
    let email = app.store.profile(viewer.user).await?.email;
    let picture = totp::picture(&totp::link(&secret, &email));
    let form = Form { picture, typed: totp::typed(&secret), error };
    Ok(render::show(status, visit, form, draw).await)
}

fn viewer(visit: &Visit) -> Result<Viewer, Trouble> {
    visit.viewer.clone().ok_or(Trouble::SignIn)
}

/// Where the form goes: the page is the same on both ways to it.
fn here(visit: &Visit) -> &'static str {
    if visit.signed_in().is_some() { "/account/second-factor" } else { "/sign-in/enrol" }
}

fn draw(visit: &Visit, form: &Form) -> Page {
    let picture = form.picture.clone().map(|(path, side)| {
        view! {
            <svg class="scan" viewBox=format!("0 0 {side} {side}") role="img" aria-label=visit.t("enrol-picture")>
                <rect width=side height=side class="paper"></rect>
                <path d=path class="ink"></path>
            </svg>
        }
    });
    let body = view! {
        <p>{visit.t("enrol-why")}</p>
        <form method="post" action=here(visit) class="card narrow">
            {csrf(visit)}
            <ol>
                <li>{visit.t("enrol-scan")}{picture}</li>
                <li>{visit.t("enrol-type")}<code class="secret">{form.typed.clone()}</code></li>
                <li>{visit.t("enrol-code")}</li>
            </ol>
            {code_field(visit, &form.error)}
            <button type="submit" class="main">{visit.t("enrol-confirm")}</button>
        </form>
    };
    Page { title: visit.t("enrol-title"), body: body.into_any() }
}

async fn confirm<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let viewer = viewer(&visit)?;
    // One that is there already is not replaced by whoever sits at the keyboard.
    if app.store.second_factor(viewer.user).await?.is_some_and(|factor| factor.confirmed) {
        return Err(Trouble::Forbidden);
    }
    match check(&app, &visit, &viewer, fields.text("code")).await? {
        Checked::Right(subject) => {
            open(&app, &visit, viewer.user, Stage::Full, Some(viewer.session), Some(subject), "/").await
        }
        Checked::Wrong(error) => show(&app, visit, StatusCode::UNPROCESSABLE_ENTITY, error).await,
    }
}
