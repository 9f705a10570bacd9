//! What waits for somebody's consent: first contacts, and invitations to groups of people whose settings ask first.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use schema_store::AccountError;
use schema_store::moderation::TEXT_BYTES_MAX;
use schema_store::rows::conversation::{ConversationKind, Invitation, Request, RequestAnswer};
use schema_store::rows::moderation::NewReport;
use schema_wire::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::conversations::PeerBody;
use super::reports::must_be_reason;
use super::{DoneBody, done};
use crate::app::{App, Backing};
use crate::front::body::{Body, FromText};
use crate::front::guard::{By, Caller};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(
            Method::PUT,
            "/api/v1/conversations/{conversation}/request",
            "Answer a first contact. Deleting or blocking hides it; whoever opened it is told of acceptance only.",
        )
        .takes::<AnswerBody>()
        .gives::<DoneBody>()
        .refuses(&[Code::NotFound, Code::NotAllowed, Code::Overtaken, Code::Invalid, Code::TooMany])
        .to(answer::<S>),
        user(
            Method::GET,
            "/api/v1/me/invitations",
            "Invitations to groups, newest first. Who may add without asking is the setting `add_to_groups`: `everybody` (unless set), `known` or `nobody`.",
        )
        .gives::<InvitationsBody>()
        .to(invitations::<S>),
        user(Method::PUT, "/api/v1/me/invitations/{conversation}", "Join the group.")
            .gives::<DoneBody>()
            .refuses(&[Code::NotFound, Code::TooMany])
            .to(join::<S>),
        user(
            Method::DELETE,
            "/api/v1/me/invitations/{conversation}",
            "Decline the invitation. Nobody else is told.",
        )
        .gives::<DoneBody>()
        .refuses(&[Code::NotFound])
        .to(decline::<S>),
    ]
}

/// An answer to a first contact.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerBody {
    pub answer: AnswerName,
    /// With `block` only: tell the moderators as well.
    #[serde(default)]
    pub report: Option<RequestReportBody>,
}

/// What to do with it.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerName {
    /// So does a message to it.
    Accept,
    Delete,
    /// Blocks whoever opened it.
    Block,
}

/// Why the moderators should look.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestReportBody {
    /// As in a report.
    pub reason: String,
    /// At most 2 KiB.
    #[serde(default)]
    pub comment: String,
}

/// Invitations.
#[derive(Serialize, ToSchema)]
pub struct InvitationsBody {
    pub invitations: Vec<InvitationBody>,
}

/// One invitation.
#[derive(Serialize, ToSchema)]
pub struct InvitationBody {
    pub conversation: String,
    /// What the group is called.
    pub name: String,
    pub member_count: u32,
    pub by: PeerBody,
    /// Unix milliseconds.
    pub at: u64,
}

async fn answer<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
    Path(conversation): Path<String>,
    Body(body): Body<AnswerBody>,
) -> Result<Json<DoneBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    let kept = match body.answer {
        AnswerName::Accept => Some(RequestAnswer::Accept),
        AnswerName::Delete => Some(RequestAnswer::Delete),
        AnswerName::Block => None,
    };
    match (kept, body.report) {
        (Some(_), Some(_)) => return Err(Problem::field("report", "goes with `block` only")),
        (Some(answer), None) => {
            app.store.answer_request(caller.user, id, answer).await.map_err(not_theirs)?
        }
        (None, report) => {
            let peer = who_asks(&app, caller.user, id).await?;
            let report = report.map(|report| reported(caller.user, peer, report)).transpose()?;
            app.store.set_block(caller.user, peer, true).await?;
            if let Some(report) = report {
                app.store.file_report(report, origin).await?;
            }
        }
    }
    Ok(done())
}

/// Who opened a first contact that waits for the user.
async fn who_asks<S: Backing>(app: &App<S>, user: UserId, id: ConversationId) -> Result<UserId, Problem> {
    let found = app.store.conversation(user, id).await?.summary;
    match (found.request, found.peer) {
        (Some(Request::Received), Some((peer, _))) => Ok(peer),
        (Some(Request::Sent), _) => Err(not_theirs(AccountError::NotAllowed)),
        _ if found.kind == ConversationKind::Group => Err(Code::NotFound.into()),
        _ => Err(Code::Overtaken.into()),
    }
}

fn not_theirs(error: AccountError) -> Problem {
    match error {
        AccountError::NotAllowed => Problem::with(Code::NotAllowed, "Only the other side can answer it."),
        other => other.into(),
    }
}

fn reported(reporter: UserId, subject: UserId, body: RequestReportBody) -> Result<NewReport, Problem> {
    must_be_reason("report.reason", &body.reason)?;
    if body.comment.len() > TEXT_BYTES_MAX {
        return Err(Problem::field("report.comment", "at most 2048 bytes"));
    }
    Ok(NewReport {
        reporter,
        subject,
        message: None,
        reason: body.reason,
        comment: body.comment.trim().to_owned(),
        evidence: None,
        opening: None,
    })
}

async fn invitations<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
) -> Result<Json<InvitationsBody>, Problem> {
    let found = app.store.invitations(caller.user).await?;
    let shown = |one: Invitation| InvitationBody {
        conversation: one.conversation.to_string(),
        name: one.name,
        member_count: one.member_count,
        by: PeerBody { id: one.by.to_string(), name: one.by_name },
        at: one.at,
    };
    Ok(Json(InvitationsBody { invitations: found.into_iter().map(shown).collect() }))
}

async fn join<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(conversation): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    app.store.answer_invitation(caller.user, id, RequestAnswer::Accept).await?;
    Ok(done())
}

async fn decline<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(conversation): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    app.store.answer_invitation(caller.user, id, RequestAnswer::Delete).await?;
    Ok(done())
}
