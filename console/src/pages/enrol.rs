//! A second factor is set up: a picture to scan, the same secret to type, a code to show that it works; or a security key.
//! Administrators get no further without; everybody else may.

use axum::extract::State;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::accounts::NAME_BYTES_MAX;
use schema_store::rows::console::Stage;

use super::factor::{Checked, Factors, Shown, check, sealed_elsewhere};
use super::key::Party;
use super::keys::{add_part, keep, name_field};
use super::proof::{self, code_field, doubted};
use super::sign_in::open;
use crate::access::totp;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, STAFF, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::{Viewer, Visit};
use crate::parts::csrf;
use crate::parts::form::Typed;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let halfway = Who::Halfway(Stage::Enrol);
    let own = Who::Roles(STAFF);
    vec![
        read("/sign-in/enrol", halfway, "factor.add").to(page::<S>),
        send("/sign-in/enrol", halfway, "factor.add").guessing().to(confirm::<S>),
        send("/sign-in/enrol/key", halfway, "factor.add").guessing().to(confirm_key::<S>),
        read("/account/second-factor", own, "factor.add").to(page::<S>),
        send("/account/second-factor", own, "factor.add").guessing().to(confirm::<S>),
    ]
}

struct Form {
    picture: Option<(String, i32)>,
    secret: String,
    factors: Factors,
    party: Party,
    typed: Typed,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, Typed::default()).await
}

async fn show<S: Desk>(app: &App<S>, visit: Visit, typed: Typed) -> Result<Response, Trouble> {
    let viewer = viewer(&visit)?;
    let factors = Factors::of(app, viewer.user).await?;
    if is_too_late(&visit, factors) {
        return Ok(too_late(&visit));
    }
    let fresh = app.seal.seal(viewer.user, &totp::new_secret());
    let sealed = match app.store.begin_second_factor(viewer.user, viewer.session, fresh).await {
        Ok(sealed) => sealed,
        Err(AccountError::Overtaken) => return Ok(too_late(&visit)),
        Err(other) => return Err(other.into()),
    };
    let secret = app.seal.open(viewer.user, &sealed).ok_or_else(sealed_elsewhere)?;
    let email = app.store.profile(viewer.user).await?.email;
    let form = Form {
        picture: totp::picture(&totp::link(&secret, &email)),
        secret: totp::typed(&secret),
        factors,
        party: app.party.clone(),
        typed,
    };
    Ok(render::show(form.typed.status(), visit, form, draw).await)
}

fn viewer(visit: &Visit) -> Result<Viewer, Trouble> {
    visit.viewer.clone().ok_or(Trouble::SignIn)
}

/// One that is there already is not replaced by whoever sits at the keyboard, nor joined by who shows none.
fn is_too_late(visit: &Visit, factors: Factors) -> bool {
    factors.codes || (factors.keys && visit.signed_in().is_none())
}

/// Somebody set one up since: whoever did not signs in with it, or learns here that somebody else did.
fn too_late(visit: &Visit) -> Response {
    let is_own = visit.signed_in().is_some();
    let (to, said) = if is_own { ("/account", "factor-there") } else { ("/sign-in", "factor-overtaken") };
    go(visit.jar, to, Some(said))
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
    // The page is the same on both ways to it, but for who has to show once more who is there.
    let is_own = visit.signed_in().is_some();
    let here = if is_own { "/account/second-factor" } else { "/sign-in/enrol" };
    let proof = is_own.then(|| {
        proof::part(visit, form.factors, &form.party, &form.typed, Some(visit.t("enrol-confirm-with-key")))
    });
    let button = form
        .factors
        .can_be_typed()
        .then(|| view! { <button type="submit" class="main">{visit.t("enrol-confirm")}</button> });
    let body = view! {
        <p>{visit.t("enrol-why")}</p>
        <form method="post" action=here class="card narrow">
            {csrf(visit)}
            <ol>
                <li>{visit.t("enrol-scan")}{picture}</li>
                <li>{visit.t("enrol-type")}<code class="secret">{form.secret.clone()}</code></li>
                <li>{visit.t("enrol-code")}</li>
            </ol>
            {code_field(visit, &form.typed)}
            {proof}
            {button}
        </form>
        {(!is_own).then(|| key_form(visit, form))}
    };
    Page { title: visit.t("enrol-title"), body: body.into_any() }
}

fn key_form(visit: &Visit, form: &Form) -> AnyView {
    view! {
        <form method="post" action="/sign-in/enrol/key" class="card narrow">
            {csrf(visit)}
            <h2>{visit.t("key-instead")}</h2>
            {name_field(visit, &form.typed)}
            {add_part(visit, &form.party, "/sign-in/enrol/challenge", &form.typed)}
        </form>
    }
    .into_any()
}

async fn confirm<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let viewer = viewer(&visit)?;
    let factors = Factors::of(&app, viewer.user).await?;
    if is_too_late(&visit, factors) {
        return Ok(too_late(&visit));
    }
    if visit.signed_in().is_some()
        && let Some(wrong) = doubted(&app, &visit, &viewer, &fields).await?
    {
        return show(&app, visit, Typed::wrong(fields, wrong)).await;
    }
    match check(&app, &visit, &viewer, Shown::FirstCode(fields.text("code"))).await? {
        Checked::Right(subject) => {
            open(&app, &visit, viewer.user, Stage::Full, Some(viewer.session), Some(subject), "/").await
        }
        Checked::Wrong(why) => show(&app, visit, Typed::wrong(Fields::default(), ("code", why))).await,
    }
}

async fn confirm_key<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let viewer = viewer(&visit)?;
    if Factors::of(&app, viewer.user).await?.any() {
        return Ok(too_late(&visit));
    }
    let wrong = match fields.line("name", NAME_BYTES_MAX) {
        Err(key) => Some(("name", visit.t(key))),
        Ok(name) => keep(&app, &visit, &viewer, name, fields.raw("made")).await?,
    };
    match wrong {
        None => open(&app, &visit, viewer.user, Stage::Full, Some(viewer.session), None, "/").await,
        Some(wrong) => show(&app, visit, Typed::wrong(fields, wrong)).await,
    }
}
