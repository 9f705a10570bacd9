//! Reports: somebody tells the moderators about somebody else, and discloses of a message what they want looked at.

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schema_store::moderation::{EVIDENCE_BYTES_MAX, TEXT_BYTES_MAX};
use schema_store::rows::moderation::NewReport;
use schema_wire::{ConversationId, Offset, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::{App, Backing};
use crate::front::body::{Body, FromText, check_lines};
use crate::front::guard::{By, Caller};
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// What a report may be about.
const REASONS: [&str; 7] = ["SPAM", "HARASSMENT", "VIOLENCE", "SEXUAL", "IMPERSONATION", "ILLEGAL", "OTHER"];

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(
            Method::POST,
            "/api/v1/reports",
            "Report an account to the moderators, with or without one of its messages. The same report twice is one.",
        )
        .large()
        .takes::<ReportBody>()
        .gives::<ReportedBody>()
        .status(201)
        .refuses(&[Code::Invalid, Code::NotFound, Code::TooMany])
        .to(report::<S>),
    ]
}

/// Whom to report, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportBody {
    /// The account's id.
    pub user: String,
    /// SPAM, HARASSMENT, VIOLENCE, SEXUAL, IMPERSONATION, ILLEGAL or OTHER.
    pub reason: String,
    /// What a moderator should know; at most 2 KiB.
    #[serde(default)]
    pub comment: String,
    /// The message it is about: its conversation and offset, both or neither.
    #[serde(default)]
    pub conversation: Option<String>,
    #[serde(default)]
    pub offset: Option<u64>,
    /// The message's content as the reporter read it, base64; at most 64 KiB. Nobody but a moderator sees it.
    #[serde(default)]
    pub disclosed: Option<String>,
    /// 32 bytes, base64, that open the sender's commitment: HMAC-SHA-256 of the content under them is the commitment.
    #[serde(default)]
    pub opening: Option<String>,
}

/// A report that was taken.
#[derive(Serialize, ToSchema)]
pub struct ReportedBody {
    pub id: String,
}

async fn report<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
    Body(body): Body<ReportBody>,
) -> Result<(StatusCode, Json<ReportedBody>), Problem> {
    let filed = app.store.file_report(accept(caller.user, body)?, origin).await?;
    Ok((StatusCode::CREATED, Json(ReportedBody { id: UserId(filed.0).to_string() })))
}

fn accept(reporter: UserId, body: ReportBody) -> Result<NewReport, Problem> {
    let subject = UserId::from_text("user", &body.user)?;
    must_be_reason("reason", &body.reason)?;
    check_lines("comment", &body.comment, TEXT_BYTES_MAX)?;
    let message = match (&body.conversation, body.offset) {
        (Some(conversation), Some(offset)) => {
            Some((ConversationId::from_text("conversation", conversation)?, Offset(offset)))
        }
        (None, None) => None,
        _ => return Err(Problem::field("offset", "conversation and offset go together")),
    };
    let evidence = body.disclosed.map(|text| bytes("disclosed", &text)).transpose()?;
    if evidence.as_ref().is_some_and(|bytes| bytes.len() > EVIDENCE_BYTES_MAX) {
        return Err(Problem::field("disclosed", "at most 64 KiB"));
    }
    let opening = body.opening.map(|text| bytes("opening", &text)).transpose()?;
    let opening: Option<[u8; 32]> = opening
        .map(|bytes| bytes.try_into().map_err(|_| Problem::field("opening", "32 bytes")))
        .transpose()?;
    Ok(NewReport {
        reporter,
        subject,
        message,
        reason: body.reason,
        comment: body.comment.trim().to_owned(),
        evidence,
        opening,
    })
}

/// A reason that moderators know.
pub fn must_be_reason(field: &str, reason: &str) -> Result<(), Problem> {
    if REASONS.contains(&reason) {
        Ok(())
    } else {
        Err(Problem::field(field, &format!("one of {}", REASONS.join(", "))))
    }
}

fn bytes(field: &str, text: &str) -> Result<Vec<u8>, Problem> {
    STANDARD.decode(text).map_err(|_| Problem::field(field, "not base64"))
}
