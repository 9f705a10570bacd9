//! Where letters go: a mail server or a folder, as the environment says or as administrators set it, and a letter to try it.
//! Whoever changes it shows password and second factor once more: links that open accounts go that way.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use leptos::prelude::*;

use super::factor::Factors;
use super::key::Party;
use super::proof::{self, doubted};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, OPERATION_READERS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::mail::{Letter, MailFault, MailSink, SmtpTls};
use crate::parts::form::{Typed, choice};
use crate::parts::{Field, button, csrf};
use crate::settings::mail::{FROM, HOST, PASSWORD, PORT, TLS, USER, accept, fixed_by, sender_fixed_by};
use crate::settings::{Kept, refresh};

/// How long a server may take for the letter that tries it.
const TRIAL_DEADLINE: Duration = Duration::from_secs(10);

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(ADMINISTRATORS);
    vec![
        read("/settings/mail", Who::Roles(OPERATION_READERS), "mail.read").to(page::<S>),
        send("/settings/mail", who, "mail.change").guessing().to(change::<S>),
        send("/settings/mail/trial", who, "mail.try").guessing().to(trial::<S>),
    ]
}

struct Shown {
    kept: Kept,
    /// Environment variables that decide everything, or the sender.
    fixed: Option<&'static str>,
    sender_fixed: Option<&'static str>,
    factors: Factors,
    party: Party,
    typed: Typed,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, Typed::default()).await
}

async fn show<S: Desk>(app: &App<S>, visit: Visit, typed: Typed) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().ok_or(Trouble::SignIn)?.user;
    let shown = Shown {
        kept: Kept::load(&app.store).await?,
        fixed: fixed_by(&app.config),
        sender_fixed: sender_fixed_by(&app.config),
        factors: Factors::of(app, viewer).await?,
        party: app.party.clone(),
        typed,
    };
    Ok(render::show(shown.typed.status(), visit, shown, draw).await)
}

async fn change<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().cloned().ok_or(Trouble::SignIn)?;
    if fixed_by(&app.config).is_some() {
        return Err(Trouble::Forbidden);
    }
    let kept = Kept::load(&app.store).await?;
    let wrong = match accept(&fields, &kept, &app.seal) {
        Err((name, key)) => (name, visit.t(key)),
        Ok(changes) => match doubted(&app, &visit, &viewer, &fields).await? {
            Some(wrong) => wrong,
            None => {
                app.store.change_settings(changes, visit.by.clone()).await?;
                refresh(&app).await?;
                return Ok(go(visit.jar, "/settings/mail", Some("set")));
            }
        },
    };
    show(&app, visit, Typed::wrong(fields, wrong)).await
}

async fn trial<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().ok_or(Trouble::SignIn)?.user;
    let letter = Letter::trial(app.store.profile(viewer).await?.email);
    let sent = match &app.letters {
        None => Err(MailFault::Settings),
        Some(letters) => match tokio::time::timeout(TRIAL_DEADLINE, letters.send(letter)).await {
            Ok(sent) => sent,
            Err(_) => Err(MailFault::Unreached),
        },
    };
    let key = match sent {
        Ok(()) => return Ok(go(visit.jar, "/settings/mail", Some("mail-sent"))),
        Err(MailFault::Recipient { .. } | MailFault::Refused { .. }) => "mail-refused",
        Err(MailFault::Unreached) => "mail-unreachable",
        Err(_) => "mail-unusable",
    };
    let wrong = ("trial", visit.t(key));
    show(&app, visit, Typed::wrong(Fields::default(), wrong)).await
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let may = visit.is_one_of(ADMINISTRATORS);
    let form = match shown.fixed {
        Some(variable) => {
            view! { <p class="card">{visit.language.of("mail-fixed-by", "variable", variable)}</p> }
                .into_any()
        }
        None if may => form(visit, shown),
        None => facts(visit, shown),
    };
    let failed = shown.typed.error("trial");
    let failed = (!failed.is_empty()).then(|| view! { <p class="error" role="alert">{failed}</p> });
    let trial = may.then(|| {
        view! {
            <section class="card" aria-labelledby="trial">
                <h2 id="trial">{visit.t("mail-trial")}</h2>
                <p>{visit.t("mail-trial-why")}</p>
                {failed}
                {button(visit, "/settings/mail/trial".into(), visit.t("mail-trial-do"), "quiet")}
            </section>
        }
    });
    let body = view! {
        <p>{visit.t("mail-why")}</p>
        {form}
        {trial}
    };
    Page { title: visit.t("mail-title"), body: body.into_any() }
}

/// As it is set, or empty.
fn kept<'a>(shown: &'a Shown, name: &str) -> &'a str {
    shown.kept.set(name).map_or("", |set| set.value.as_str())
}

/// As it was typed, or as it is set.
fn value<'a>(shown: &'a Shown, name: &str) -> &'a str {
    // What was typed counts once a form was sent: its host field may have been emptied on purpose.
    let was_sent = shown.typed.is_refused() && shown.typed.error("trial").is_empty();
    if was_sent { shown.typed.text(name) } else { kept(shown, name) }
}

fn facts(visit: &Visit, shown: &Shown) -> AnyView {
    let rows = [
        (HOST, "mail-host"),
        (PORT, "mail-port"),
        (TLS, "mail-tls"),
        (USER, "mail-user"),
        (FROM, "mail-from"),
    ];
    let rows = rows.map(|(name, label)| {
        let value = kept(shown, name);
        let value = if value.is_empty() { visit.t("mail-default") } else { value.to_owned() };
        view! { <dt>{visit.t(label)}</dt><dd><bdi>{value}</bdi></dd> }
    });
    view! { <dl class="facts card">{rows.to_vec()}</dl> }.into_any()
}

fn form(visit: &Visit, shown: &Shown) -> AnyView {
    let line = |name: &'static str, label: &str| Field {
        value: value(shown, name),
        ..shown.typed.line(visit, name, label, 254)
    };
    let host = Field { hint: visit.t("mail-host-hint"), ..line(HOST, "mail-host") };
    let port = Field { hint: visit.t("mail-port-hint"), length_max: 5, ..line(PORT, "mail-port") };
    let is_kept = !kept(shown, PASSWORD).is_empty();
    let hint = if is_kept { visit.t("mail-password-kept") } else { String::new() };
    let secret = shown.typed.secret(visit, PASSWORD, "mail-password", "off");
    let tls = SmtpTls::ALL.into_iter().map(|tls| (tls.name(), visit.t(&format!("mail-tls-{}", tls.name()))));
    let from = match shown.sender_fixed {
        Some(variable) => {
            view! { <p class="hint">{visit.language.of("mail-sender-fixed-by", "variable", variable)}</p> }
                .into_any()
        }
        None => Field { kind: "email", ..line(FROM, "mail-from") }.draw(),
    };
    let button = shown
        .factors
        .can_be_typed()
        .then(|| view! { <button type="submit" class="main">{visit.t("settings-keep")}</button> });
    view! {
        <form method="post" action="/settings/mail" class="card narrow">
            {csrf(visit)}
            {host.draw()}
            {port.draw()}
            {choice(TLS, visit.t("mail-tls"), tls, value(shown, TLS), shown.typed.error(TLS))}
            {line(USER, "mail-user").draw()}
            {Field { hint, ..secret }.draw()}
            {from}
            {proof::part(visit, shown.factors, &shown.party, &shown.typed, Some(visit.t("mail-keep-with-key")))}
            {button}
        </form>
    }
    .into_any()
}
