//! The second half of signing in: a code of the authenticator, or a security key.

use axum::extract::State;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::console::Stage;

use super::factor::{Checked, Factors, Shown, check};
use super::key::{Act, Part, Party};
use super::proof::code_field;
use super::sign_in::open;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::csrf;
use crate::parts::form::Typed;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Halfway(Stage::SecondFactor);
    vec![
        read("/sign-in/code", who, "session.confirm").to(page::<S>),
        send("/sign-in/code", who, "session.confirm").guessing().to(confirm::<S>),
    ]
}

struct Form {
    factors: Factors,
    party: Party,
    typed: Typed,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, Typed::default()).await
}

async fn show<S: Desk>(app: &App<S>, visit: Visit, typed: Typed) -> Result<Response, Trouble> {
    let user = visit.viewer.as_ref().ok_or(Trouble::SignIn)?.user;
    let factors = Factors::of(app, user).await?;
    Ok(render::show(typed.status(), visit, Form { factors, party: app.party.clone(), typed }, draw).await)
}

fn draw(visit: &Visit, form: &Form) -> Page {
    let code = form.factors.codes.then(|| {
        view! {
            <form method="post" action="/sign-in/code" class="card narrow">
                {csrf(visit)}
                {code_field(visit, &form.typed)}
                <button type="submit" class="main">{visit.t("sign-in")}</button>
            </form>
        }
    });
    let key = form.factors.keys.then(|| {
        let act = Act::Prove(visit.t("key-sign-in"));
        let error = form.typed.error("key");
        let part = Part { party: &form.party, act, challenge: "/sign-in/challenge", error };
        view! {
            <form method="post" action="/sign-in/code" class="card narrow">
                {csrf(visit)}
                <h2>{visit.t("key-title")}</h2>
                {part.draw(visit)}
            </form>
        }
    });
    let body = view! {
        {code}
        {key}
    };
    Page { title: visit.t("code-title"), body: body.into_any() }
}

async fn confirm<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let viewer = visit.viewer.clone().ok_or(Trouble::SignIn)?;
    let (name, shown) = match fields.raw("key") {
        "" => ("code", Shown::Code(fields.text("code"))),
        answer => ("key", Shown::Key(answer)),
    };
    match check(&app, &visit, &viewer, shown).await? {
        Checked::Right(subject) => {
            open(&app, &visit, viewer.user, Stage::Full, Some(viewer.session), Some(subject), "/").await
        }
        Checked::Wrong(why) => show(&app, visit, Typed::wrong(Fields::default(), (name, why))).await,
    }
}
