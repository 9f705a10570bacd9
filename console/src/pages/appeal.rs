//! Appeals on a case: what the account answered to a decision, and the answer of somebody who had no part in it.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::rows::moderation::{Appeal, AppealState, CaseDetail, CaseState, Decision};
use schema_wire::UserId;

use super::case::{Card, may_decide, show};
use super::decision::{measures, named};
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::go;
use crate::frame::route::{Entry, MODERATORS, Who, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, csrf, moment};

/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 1500;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![
        send("/moderation/decisions/{decision}/answer", Who::Roles(MODERATORS), "appeal.answer")
            .to(answer::<S>),
    ]
}

async fn answer<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(decision): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let id = named(&decision)?;
    let subject = app.store.decision(id).await?.subject;
    let text = match fields.line("answer", ANSWER_BYTES_MAX) {
        Ok(text) => text,
        Err(key) => {
            let wrong = ("answer", visit.t(key));
            return show(&app, visit, subject, StatusCode::UNPROCESSABLE_ENTITY, fields, wrong).await;
        }
    };
    let grants = fields.raw("grants") == "yes";
    let said = match app.store.answer_appeal(id, grants, text, visit.by.clone()).await {
        Ok(_) if grants => "appeal-granted",
        Ok(_) => "appeal-upheld",
        Err(AccountError::Overtaken) => "overtaken",
        Err(other) => return Err(other.into()),
    };
    Ok(go(visit.jar, &format!("/moderation/{subject}"), Some(said)))
}

/// Whether the visitor made a decision, or agreed to one, that is appealed against: others have to look at the card.
pub fn has_part(visit: &Visit, case: &CaseDetail) -> bool {
    let viewer = visit.signed_in().map(|viewer| viewer.user);
    let own = |decision: &Decision| Some(decision.moderator) == viewer || decision.second == viewer;
    open_ones(case).any(|appeal| decision_of(case, appeal).is_some_and(own))
}

fn open_ones(case: &CaseDetail) -> impl Iterator<Item = &Appeal> {
    case.appeals.iter().filter(|appeal| appeal.state == AppealState::Open)
}

fn decision_of<'a>(case: &'a CaseDetail, appeal: &Appeal) -> Option<&'a Decision> {
    case.decisions.iter().find(|decision| decision.id == appeal.decision)
}

/// Every appeal of a case, newest first.
pub fn appeals(visit: &Visit, card: &Card) -> Vec<AnyView> {
    card.case.appeals.iter().map(|appeal| appeal_card(visit, card, appeal)).collect()
}

fn appeal_card(visit: &Visit, card: &Card, appeal: &Appeal) -> AnyView {
    let (kind, state) = match appeal.state {
        AppealState::Open => ("warn", "appeal-open"),
        AppealState::Upheld => ("", "appeal-upheld"),
        AppealState::Granted => ("good", "appeal-granted"),
    };
    let about = decision_of(&card.case, appeal).map(|decision| measures(visit, decision));
    let rest = match appeal.state {
        AppealState::Open => answer_form(visit, card, appeal),
        AppealState::Upheld | AppealState::Granted => Some(outcome(visit, appeal)),
    };
    view! {
        <article class="card" data-appeal="">
            <p>
                <strong>{visit.t("appeal")}</strong>": "{about}" · "{moment(appeal.created_at)}" "
                {badge(kind, visit.t(state))}
            </p>
            <p class="lines"><bdi>{appeal.text.clone()}</bdi></p>
            {rest}
        </article>
    }
    .into_any()
}

fn outcome(visit: &Visit, appeal: &Appeal) -> AnyView {
    let answerer =
        if appeal.answerer.is_empty() { visit.t("somebody-gone") } else { appeal.answerer.clone() };
    view! {
        <p class="hint"><bdi>{answerer}</bdi>" · "{appeal.answered_at.map(moment)}</p>
        <p class="lines"><bdi>{appeal.answer.clone()}</bdi></p>
    }
    .into_any()
}

fn answer_form(visit: &Visit, card: &Card, appeal: &Appeal) -> Option<AnyView> {
    if !may_decide(visit, &card.case) || card.case.row.state != CaseState::Open {
        return None;
    }
    if has_part(visit, &card.case) {
        return Some(view! { <p class="hint">{visit.t("appeal-not-you")}</p> }.into_any());
    }
    let id = UserId(appeal.decision.0).to_string();
    let (field, error_id) = (format!("answer-{id}"), format!("answer-{id}-error"));
    let is_typed = card.typed.raw("appeal") == id;
    let error = (is_typed && card.error_at == "answer").then(|| card.error.clone());
    let (is_wrong, about) = (error.is_some().then_some("true"), error.is_some().then(|| error_id.clone()));
    let error = error.map(|text| view! { <p class="error" id=error_id>{text}</p> });
    let typed = if is_typed { card.typed.raw("answer").to_owned() } else { String::new() };
    Some(
        view! {
            <form method="post" action=format!("/moderation/decisions/{id}/answer")>
                {csrf(visit)}
                <input type="hidden" name="appeal" value=id.clone()/>
                <div class="field">
                    <label for=field.clone()>{visit.t("appeal-answer")}</label>
                    <input id=field name="answer" type="text" required=true maxlength="512" autocomplete="off"
                        value=typed aria-invalid=is_wrong aria-describedby=about/>
                    {error}
                </div>
                <div class="measures">
                    <button type="submit" name="grants" value="no">{visit.t("do-uphold")}</button>
                    <button type="submit" name="grants" value="yes" class="warn">{visit.t("do-grant")}</button>
                </div>
            </form>
        }
        .into_any(),
    )
}
