//! What can be done with a decision after it was made: undo, agree, refuse, reverse; and how one is drawn.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::accounts::Answer;
use schema_store::rows::moderation::{Decision, DecisionId, DecisionState, Measure};
use schema_wire::UserId;

use super::case::{Card, show};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::go;
use crate::frame::route::{Entry, MODERATORS, Who, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{button, csrf, reason_field, span};

/// Longest reason of a reversal, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(MODERATORS);
    vec![
        send("/moderation/decisions/{decision}/undo", who, "decision.undo").to(undo::<S>),
        send("/moderation/decisions/{decision}/agree", who, "decision.second").to(agree::<S>),
        send("/moderation/decisions/{decision}/refuse", who, "decision.second").to(refuse::<S>),
        send("/moderation/decisions/{decision}/reverse", who, "decision.reverse").to(reverse::<S>),
    ]
}

/// The decision a path names.
pub fn named(text: &str) -> Result<DecisionId, Trouble> {
    UserId::parse(text).map(|id| DecisionId(id.0)).ok_or(Trouble::NotFound)
}

/// Where a decision was made goes on, with a word about what became of it.
fn answer(visit: &Visit, done: Answer<Decision>, to: &str, said: &str) -> Result<Response, Trouble> {
    match done {
        Ok(_) => Ok(go(visit.jar, to, Some(said))),
        Err(AccountError::Overtaken) => Ok(go(visit.jar, to, Some("overtaken"))),
        Err(other) => Err(other.into()),
    }
}

async fn undo<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(decision): Path<String>,
) -> Result<Response, Trouble> {
    let done = app.store.undo(named(&decision)?, visit.by.clone()).await;
    let to = done.as_ref().map_or("/moderation".into(), |done| format!("/moderation/{}", done.subject));
    answer(&visit, done, &to, "undone")
}

async fn agree<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(decision): Path<String>,
) -> Result<Response, Trouble> {
    let done = app.store.second(named(&decision)?, true, visit.by.clone()).await;
    answer(&visit, done, &format!("/moderation?undo={decision}"), "agreed")
}

async fn refuse<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(decision): Path<String>,
) -> Result<Response, Trouble> {
    let done = app.store.second(named(&decision)?, false, visit.by.clone()).await;
    answer(&visit, done, "/moderation", "refused")
}

async fn reverse<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(decision): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let id = named(&decision)?;
    let subject = app.store.decision(id).await?.subject;
    let reason = match fields.line("reason", REASON_BYTES_MAX) {
        Ok(reason) => reason,
        Err(key) => {
            let wrong = ("reverse", visit.t(key));
            return show(&app, visit, subject, StatusCode::UNPROCESSABLE_ENTITY, fields, wrong).await;
        }
    };
    let done = app.store.reverse(id, reason, visit.by.clone()).await;
    answer(&visit, done, &format!("/moderation/{subject}"), "reversed")
}

/// What a decision does, in words.
pub fn measures(visit: &Visit, decision: &Decision) -> String {
    let words = decision.measures.iter().map(|measure| match measure {
        Measure::Suspend => visit.language.count("measure-suspend", decision.days.into()),
        Measure::Ban if decision.with_address => visit.t("measure-ban-address"),
        other => visit.t(&format!("measure-{}", other.name().to_lowercase())),
    });
    words.collect::<Vec<_>>().join(" + ")
}

/// The bar that takes a decision back, while that is possible.
pub fn undo_bar(visit: &Visit, decision: &Decision) -> Option<AnyView> {
    let due =
        decision.due_at.filter(|due| decision.state == DecisionState::Pending && *due > visit.now_ms)?;
    let left_ms = due - visit.now_ms;
    let wait = span(visit.language, left_ms.next_multiple_of(1000));
    let text = visit.language.of("undo-text", "wait", &wait);
    let action = format!("/moderation/decisions/{}/undo", UserId(decision.id.0));
    Some(
        view! {
            <div class="undo" role="group" aria-label=visit.t("undo-title") data-undo=left_ms.to_string()>
                <span><strong>{measures(visit, decision)}</strong>": "{text}</span>
                {button(visit, action, visit.t("undo"), "warn")}
            </div>
        }
        .into_any(),
    )
}

/// The form that reverses a decision which took effect; unfolded when its reason was refused.
pub fn reverse_form(visit: &Visit, card: &Card, decision: &Decision) -> AnyView {
    let id = UserId(decision.id.0).to_string();
    let is_wrong = card.error_at == "reverse" && card.typed.raw("decision") == id;
    let (typed, error) =
        if is_wrong { (card.typed.raw("reason"), Some(card.error.clone())) } else { ("", None) };
    view! {
        <details open=is_wrong>
            <summary>{visit.t("reverse")}</summary>
            <form method="post" action=format!("/moderation/decisions/{id}/reverse")>
                {csrf(visit)}
                <input type="hidden" name="decision" value=id.clone()/>
                {reason_field(visit, format!("reason-{id}"), typed.to_owned(), error)}
                <button type="submit" class="warn">{visit.t("reverse-do")}</button>
            </form>
        </details>
    }
    .into_any()
}
