//! Administration by programs, under `/admin`: people looked up, warned and helped, reports resolved. A service token
//! names its role, and may no more than that; what it does is done in the name of whoever made it, and bound like a
//! moderator's decisions: ten seconds before anything takes effect, a second moderator for a ban.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use schema_store::NewToken;
use schema_store::rows::moderation::{Decision, Measure, NewDecision, ReportId};
use schema_store::rows::oversight::PersonRow;
use schema_store::rows::role::AccountRole::{self, Admin, Auditor, Moderator, User};
use schema_wire::UserId;
use schema_wire::record::UserStatus;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::{App, Backing};
use crate::front::body::{AnyJson, FromText, Params, check_email};
use crate::front::guard::{By, Granted};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, service};
use crate::mail::RESET_TTL_MS;

/// Who reads.
const READERS: &[AccountRole] = &[Auditor, Moderator, Admin];
/// Who acts.
const ACTORS: &[AccountRole] = &[Moderator, Admin];

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        service(
            Method::GET,
            "/admin/users/search",
            READERS,
            "Accounts by mail address, name or id; 50 at a time.",
        )
        .asks(&[
            ("q", "What to look for: part of an address or name, or the beginning of an id."),
            ("before", "Id of the last account of the page before."),
        ])
        .gives::<FoundBody>()
        .to(search::<S>),
        service(
            Method::POST,
            "/admin/users/reset-password",
            &[Admin],
            "A link that sets a new password, once and for an hour.",
        )
        .guessing()
        .takes::<ResetBody>()
        .gives::<LinkBody>()
        .refuses(&[Code::Invalid, Code::NotFound, Code::NotAllowed])
        .to(reset::<S>),
        service(
            Method::POST,
            "/admin/users/warn",
            ACTORS,
            "Warn an account: it is told, nothing else changes.",
        )
        .takes::<WarnBody>()
        .gives::<DecisionBody>()
        .refuses(&[Code::Invalid, Code::NotFound, Code::NotAllowed, Code::Overtaken])
        .to(warn::<S>),
        service(
            Method::POST,
            "/admin/reports/{report}/resolve",
            ACTORS,
            "Decide about the account of a report; all its open reports are closed.",
        )
        .takes::<ResolveBody>()
        .gives::<DecisionBody>()
        .refuses(&[Code::Invalid, Code::NotFound, Code::NotAllowed, Code::Overtaken, Code::AccountBanned])
        .to(resolve::<S>),
    ]
}

/// Accounts that were found.
#[derive(Serialize, ToSchema)]
pub struct FoundBody {
    pub users: Vec<FoundRow>,
}

/// One account. Times in unix milliseconds.
#[derive(Serialize, ToSchema)]
pub struct FoundRow {
    pub id: String,
    pub email: Option<String>,
    pub name: String,
    /// PENDING, ACTIVE, SUSPENDED, BANNED or DELETED.
    pub status: String,
    pub role: String,
    pub created_at: u64,
    pub last_active_at: Option<u64>,
}

/// Whose password is to be set anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetBody {
    pub email: String,
}

/// A link.
#[derive(Serialize, ToSchema)]
pub struct LinkBody {
    pub link: String,
    /// Unix milliseconds.
    pub expires_at: u64,
}

/// Whom to warn, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WarnBody {
    pub user_id: String,
    /// The account reads it.
    pub reason: String,
}

/// What to decide about a report.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResolveBody {
    /// WARNING, TEMPORARY_SUSPENSION, PERMANENT_BAN or NO_ACTION.
    pub action: String,
    /// Of a suspension: 7 to 30.
    #[serde(default)]
    pub duration_days: u32,
    pub reason: String,
    /// Whether the account is told the reason.
    #[serde(default)]
    pub notify_user: bool,
}

/// A decision.
#[derive(Serialize, ToSchema)]
pub struct DecisionBody {
    pub id: String,
    /// PENDING takes effect at `due_at`, WAITING needs a second moderator in the console.
    pub state: String,
    /// Unix milliseconds.
    pub due_at: Option<u64>,
}

impl From<Decision> for DecisionBody {
    fn from(made: Decision) -> Self {
        Self { id: UserId(made.id.0).to_string(), state: made.state.name().to_owned(), due_at: made.due_at }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    #[serde(default)]
    q: String,
    #[serde(default)]
    before: Option<String>,
}

async fn search<S: Backing>(
    State(app): State<App<S>>,
    Params(search): Params<Search>,
) -> Result<Json<FoundBody>, Problem> {
    let before = search.before.as_deref().map(|text| UserId::from_text("before", text)).transpose()?;
    let found = app.store.find_people(search.q, before).await?;
    Ok(Json(FoundBody { users: found.into_iter().map(row).collect() }))
}

fn row(person: PersonRow) -> FoundRow {
    let status = match person.status {
        UserStatus::Pending => "PENDING",
        UserStatus::Active => "ACTIVE",
        UserStatus::Suspended { .. } => "SUSPENDED",
        UserStatus::Banned => "BANNED",
        UserStatus::Deleted => "DELETED",
    };
    FoundRow {
        id: person.user.to_string(),
        email: person.email,
        name: person.name,
        status: status.to_owned(),
        role: person.role.name().to_owned(),
        created_at: person.created_at,
        last_active_at: person.last_active_at,
    }
}

async fn reset<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    AnyJson(body): AnyJson<ResetBody>,
) -> Result<Json<LinkBody>, Problem> {
    check_email(&body.email)?;
    let found = app.store.find_user(body.email.clone()).await?;
    let has_factor = app.store.second_factor(found.user).await?.is_some()
        || !app.store.security_keys(found.user).await?.is_empty();
    // Whoever sees it could sign in as them, and be two people where two are asked for.
    if found.role != User && !has_factor {
        let why = "An account with a role and no second factor gets its link by mail only.";
        return Err(Problem::with(Code::NotAllowed, why));
    }
    let expires_at = app.clock.now_ms() + RESET_TTL_MS;
    let (secret, token) = NewToken::generate(expires_at);
    app.store.request_reset(body.email, token, origin).await?.ok_or(Code::NotFound)?;
    let link = format!("{}/reset-password?token={secret}", app.public_url);
    Ok(Json(LinkBody { link, expires_at }))
}

async fn warn<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Granted(role): Granted,
    AnyJson(body): AnyJson<WarnBody>,
) -> Result<Json<DecisionBody>, Problem> {
    let subject = UserId::from_text("user_id", &body.user_id)?;
    let moderator = origin.actor.ok_or(Code::TokenMissing)?;
    let notice = Some(notice(&body.reason, &app.seal.pseudonym(moderator)));
    let new = NewDecision {
        subject,
        moderator,
        acts_as: Some(role),
        measures: vec![Measure::Warn],
        days: 0,
        with_address: false,
        reason: body.reason,
        notice,
    };
    Ok(Json(app.store.decide(new, origin).await?.into()))
}

async fn resolve<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    Granted(role): Granted,
    Path(report): Path<String>,
    AnyJson(body): AnyJson<ResolveBody>,
) -> Result<Json<DecisionBody>, Problem> {
    let measure = match body.action.as_str() {
        "WARNING" => Measure::Warn,
        "TEMPORARY_SUSPENSION" => Measure::Suspend,
        "PERMANENT_BAN" => Measure::Ban,
        "NO_ACTION" => Measure::Dismiss,
        _ => {
            let problem = "one of WARNING, TEMPORARY_SUSPENSION, PERMANENT_BAN, NO_ACTION";
            return Err(Problem::field("action", problem));
        }
    };
    let report = ReportId(UserId::from_text("report", &report)?.0);
    let subject = app.store.reported(report).await?;
    let moderator = origin.actor.ok_or(Code::TokenMissing)?;
    let is_told = body.notify_user && measure != Measure::Dismiss;
    let notice = is_told.then(|| notice(&body.reason, &app.seal.pseudonym(moderator)));
    let new = NewDecision {
        subject,
        moderator,
        acts_as: Some(role),
        measures: vec![measure],
        days: if measure == Measure::Suspend { body.duration_days } else { 0 },
        with_address: false,
        reason: body.reason,
        notice,
    };
    Ok(Json(app.store.decide(new, origin).await?.into()))
}

/// What the account reads: the reason, under a name that stands for the moderator.
fn notice(reason: &str, pseudonym: &str) -> String {
    format!("{}\n\n{pseudonym}", reason.trim())
}
