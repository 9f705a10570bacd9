//! One's own security keys: another one is added, one is removed. Both take password and second factor once more.

use axum::extract::{Path, State};
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::accounts::NAME_BYTES_MAX;
use schema_store::rows::console::{ChallengePurpose, NewSecurityKey, SecurityKey, SecurityKeyId};
use schema_wire::UserId;

use super::factor::Factors;
use super::key::{Act, Part, Party};
use super::proof::{self, doubted};
use crate::access::webauthn::Attestation;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, STAFF, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::{Viewer, Visit};
use crate::parts::form::{Typed, Wrong};
use crate::parts::{Field, csrf};

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let own = Who::Roles(STAFF);
    vec![
        read("/account/keys", own, "factor.add").to(page::<S>),
        send("/account/keys", own, "factor.add").guessing().to(add::<S>),
        read("/account/keys/{key}/remove", own, "factor.remove").to(removal::<S>),
        send("/account/keys/{key}/remove", own, "factor.remove").guessing().to(remove::<S>),
    ]
}

struct Shown {
    factors: Factors,
    party: Party,
    typed: Typed,
    /// The one to be removed.
    key: Option<SecurityKey>,
}

async fn shown<S: Desk>(app: &App<S>, viewer: &Viewer, typed: Typed) -> Result<Shown, Trouble> {
    let factors = Factors::of(app, viewer.user).await?;
    Ok(Shown { factors, party: app.party.clone(), typed, key: None })
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show_add(&app, visit, Typed::default()).await
}

async fn show_add<S: Desk>(app: &App<S>, visit: Visit, typed: Typed) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().cloned().ok_or(Trouble::SignIn)?;
    let shown = shown(app, &viewer, typed).await?;
    Ok(render::show(shown.typed.status(), visit, shown, draw_add).await)
}

fn draw_add(visit: &Visit, shown: &Shown) -> Page {
    let body = view! {
        <p>{visit.t("key-why")}</p>
        <form method="post" action="/account/keys" class="card narrow">
            {csrf(visit)}
            {name_field(visit, &shown.typed)}
            {proof::part(visit, shown.factors, &shown.party, &shown.typed, None)}
            {add_part(visit, &shown.party, "/account/challenge", &shown.typed)}
        </form>
    };
    Page { title: visit.t("key-add"), body: body.into_any() }
}

/// What a key is called.
pub fn name_field(visit: &Visit, typed: &Typed) -> AnyView {
    Field { hint: visit.t("key-name-hint"), ..typed.line(visit, "name", "key-name", 128) }.draw()
}

/// The button that makes a credential.
pub fn add_part(visit: &Visit, party: &Party, challenge: &'static str, typed: &Typed) -> AnyView {
    let act = Act::Add(visit.t("key-add"));
    Part { party, act, challenge, error: typed.error("made") }.draw(visit)
}

async fn add<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().cloned().ok_or(Trouble::SignIn)?;
    let name = match fields.line("name", NAME_BYTES_MAX) {
        Ok(name) => name,
        Err(key) => {
            let wrong = ("name", visit.t(key));
            return show_add(&app, visit, Typed::wrong(fields, wrong)).await;
        }
    };
    if let Some(wrong) = doubted(&app, &visit, &viewer, &fields).await? {
        return show_add(&app, visit, Typed::wrong(fields, wrong)).await;
    }
    match keep(&app, &visit, &viewer, name, fields.raw("made")).await? {
        None => Ok(go(visit.jar, "/account", Some("key-added"))),
        Some(wrong) => show_add(&app, visit, Typed::wrong(fields, wrong)).await,
    }
}

/// Keeps the credential that a key made; otherwise what is wrong with it.
pub async fn keep<S: Desk>(
    app: &App<S>,
    visit: &Visit,
    viewer: &Viewer,
    name: String,
    made: &str,
) -> Result<Option<Wrong>, Trouble> {
    let wrong = |key: &str| Ok(Some(("made", visit.t(key))));
    let challenge = app.store.take_challenge(viewer.session, ChallengePurpose::Add).await?;
    let (Some(challenge), Ok(party)) = (challenge, &app.party) else { return wrong("key-failed") };
    let Ok(made) = serde_json::from_str::<Attestation>(made) else { return wrong("key-failed") };
    let credential = match party.register(&made, &challenge) {
        Ok(credential) => credential,
        Err(mismatch) => {
            tracing::debug!(%mismatch, "a security key was not taken");
            return wrong("key-failed");
        }
    };
    let new = NewSecurityKey {
        name,
        credential: credential.id,
        public_key: credential.public_key,
        sign_count: credential.sign_count,
        backup_eligible: credential.backup_eligible,
    };
    match app.store.add_security_key(viewer.user, new, visit.by.clone()).await {
        Ok(_) => Ok(None),
        Err(AccountError::Overtaken) => wrong("key-twice"),
        Err(AccountError::TooMany { .. }) => wrong("key-too-many"),
        Err(other) => Err(other.into()),
    }
}

async fn removal<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(key): Path<String>,
) -> Result<Response, Trouble> {
    show_removal(&app, visit, named(&key)?, Typed::default()).await
}

fn named(text: &str) -> Result<SecurityKeyId, Trouble> {
    UserId::parse(text).map(|id| SecurityKeyId(id.0)).ok_or(Trouble::NotFound)
}

async fn show_removal<S: Desk>(
    app: &App<S>,
    visit: Visit,
    key: SecurityKeyId,
    typed: Typed,
) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().cloned().ok_or(Trouble::SignIn)?;
    let keys = app.store.security_keys(viewer.user).await?;
    let key = keys.into_iter().find(|one| one.id == key).ok_or(Trouble::NotFound)?;
    let shown = Shown { key: Some(key), ..shown(app, &viewer, typed).await? };
    Ok(render::show(shown.typed.status(), visit, shown, draw_removal).await)
}

fn draw_removal(visit: &Visit, shown: &Shown) -> Page {
    let key = shown.key.as_ref();
    let action = key.map(|key| format!("/account/keys/{}/remove", UserId(key.id.0)));
    let name = key.map(|key| key.name.clone());
    let label = visit.t("key-remove-with-key");
    let last = shown.typed.error("last");
    let last = (!last.is_empty()).then(|| view! { <p class="error" role="alert">{last}</p> });
    // Without codes there is the key's own button.
    let button = shown
        .factors
        .can_be_typed()
        .then(|| view! { <button type="submit" class="bad">{visit.t("key-remove")}</button> });
    let body = view! {
        <p>{visit.t("key-remove-what")}" "<bdi><strong>{name}</strong></bdi></p>
        <form method="post" action=action class="card narrow">
            {csrf(visit)}
            {last}
            {proof::part(visit, shown.factors, &shown.party, &shown.typed, Some(label))}
            {button}
        </form>
    };
    Page { title: visit.t("key-remove"), body: body.into_any() }
}

async fn remove<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(key): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (key, viewer) = (named(&key)?, visit.signed_in().cloned().ok_or(Trouble::SignIn)?);
    if !app.store.security_keys(viewer.user).await?.iter().any(|one| one.id == key) {
        return Err(Trouble::NotFound);
    }
    if let Some(wrong) = doubted(&app, &visit, &viewer, &fields).await? {
        return show_removal(&app, visit, key, Typed::wrong(fields, wrong)).await;
    }
    match app.store.remove_security_key(viewer.user, key, visit.by.clone()).await {
        Ok(()) => Ok(go(visit.jar, "/account", Some("key-removed"))),
        Err(AccountError::NotAllowed) => {
            let wrong = ("last", visit.t("key-last"));
            show_removal(&app, visit, key, Typed::wrong(fields, wrong)).await
        }
        Err(other) => Err(other.into()),
    }
}
