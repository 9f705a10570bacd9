//! Decisions about one's own account, and appeals against them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use schema_store::AccountError;
use schema_store::moderation::TEXT_BYTES_MAX;
use schema_store::rows::moderation::{Appeal, Decision, DecisionId};
use schema_wire::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DoneBody, done};
use crate::app::{App, Backing};
use crate::frame::fields::is_unprintable;
use crate::front::body::{Body, FromText};
use crate::front::guard::{By, Caller};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(Method::GET, "/api/v1/me/decisions", "What moderators decided about the caller, newest first.")
            .gives::<DecisionsBody>()
            .to(list::<S>),
        user(
            Method::POST,
            "/api/v1/me/decisions/{decision}/appeal",
            "Appeal against a decision, once and within 180 days; another moderator looks at it.",
        )
        .takes::<AppealBody>()
        .gives::<DoneBody>()
        .refuses(&[Code::Invalid, Code::NotFound, Code::Overtaken])
        .to(appeal::<S>),
    ]
}

/// Decisions.
#[derive(Serialize, ToSchema)]
pub struct DecisionsBody {
    pub decisions: Vec<ToldDecision>,
}

/// A decision the caller was told of. Times in unix milliseconds.
#[derive(Serialize, ToSchema)]
pub struct ToldDecision {
    pub id: String,
    /// WARN, SUSPEND, BAN.
    pub measures: Vec<&'static str>,
    pub notice: String,
    /// DONE, or REVERSED.
    pub state: &'static str,
    pub decided_at: u64,
    pub appeal: Option<ToldAppeal>,
}

/// What became of an appeal.
#[derive(Serialize, ToSchema)]
pub struct ToldAppeal {
    pub text: String,
    /// OPEN, UPHELD (the decision stands) or GRANTED.
    pub state: &'static str,
    pub made_at: u64,
    /// Empty while it is open.
    pub answer: String,
    pub answered_at: Option<u64>,
}

/// Why the decision is wrong.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppealBody {
    /// 1 byte to 2 KiB.
    pub text: String,
}

async fn list<S: Backing>(State(app): State<App<S>>, caller: Caller) -> Result<Json<DecisionsBody>, Problem> {
    let told = app.store.decisions_told(caller.user).await?;
    let decisions = told.into_iter().map(|(decision, appeal)| told_decision(decision, appeal)).collect();
    Ok(Json(DecisionsBody { decisions }))
}

fn told_decision(decision: Decision, appeal: Option<Appeal>) -> ToldDecision {
    let appeal = appeal.map(|appeal| ToldAppeal {
        text: appeal.text,
        state: appeal.state.name(),
        made_at: appeal.created_at,
        answer: appeal.answer,
        answered_at: appeal.answered_at,
    });
    ToldDecision {
        id: UserId(decision.id.0).to_string(),
        measures: decision.measures.iter().map(|measure| measure.name()).collect(),
        notice: decision.notice.unwrap_or_default(),
        state: decision.state.name(),
        decided_at: decision.created_at,
        appeal,
    }
}

async fn appeal<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    _caller: Caller,
    Path(decision): Path<String>,
    Body(body): Body<AppealBody>,
) -> Result<Json<DoneBody>, Problem> {
    let decision = DecisionId(UserId::from_text("decision", &decision)?.0);
    app.store.appeal(decision, accept(&body.text)?, origin).await.map_err(|error| match error {
        AccountError::Overtaken => Problem::with(
            Code::Overtaken,
            "There is an appeal against it already, or it does not stand any more.",
        ),
        other => other.into(),
    })?;
    Ok(done())
}

/// The text of an appeal as it is kept.
pub fn accept(text: &str) -> Result<String, Problem> {
    let text = text.replace("\r\n", "\n");
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(Problem::field("text", "1 to 2048 bytes"));
    }
    if text.chars().any(|c| is_unprintable(c) && c != '\n') {
        return Err(Problem::field("text", "no control characters but line breaks"));
    }
    Ok(text)
}
