//! Pages of history: messages as stored (ciphertext), and stretches that hold nothing any more.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schema_wire::record::{Entry, Message};
use schema_wire::v1::GoneReason;
use schema_wire::{ConversationId, Offset};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::{App, Backing};
use crate::front::body::{FromText, Params};
use crate::front::guard::Caller;
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// Entries in one page unless asked otherwise.
const PAGE_ENTRIES: u32 = 50;
/// Most entries in one page.
const PAGE_ENTRIES_MAX: u32 = 200;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(
            Method::GET,
            "/api/v1/conversations/{conversation}/messages",
            "A dense page of history: every offset between two entries is covered. For members, and former ones up to \
             where they left.",
        )
        .asks(&[
            ("from", "First offset wanted (counting up; 1 if absent), or last one (counting down; the newest if absent)."),
            ("limit", "At most 200; 50 if absent."),
            ("backwards", "`true` counts down."),
        ])
        .gives::<HistoryBody>()
        .refuses(&[Code::NotFound])
        .to(history::<S>),
    ]
}

/// A page.
#[derive(Serialize, ToSchema)]
pub struct HistoryBody {
    /// The store's generation.
    pub generation: u32,
    pub entries: Vec<EntryBody>,
    /// Newest offset.
    pub head: u64,
    /// `from` of the next page in the same direction; 0 when there is nothing further down.
    pub next: u64,
}

/// One place in the log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryBody {
    Message(MessageBody),
    Gone(GoneBody),
}

/// A message as stored.
#[derive(Serialize, ToSchema)]
pub struct MessageBody {
    pub generation: u32,
    pub offset: u64,
    pub kind: u32,
    pub sender: String,
    pub device: String,
    /// Unix milliseconds.
    pub at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relates_to: Option<u64>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    pub publish_key: String,
    /// Base64 of the ciphertext.
    pub body: String,
}

/// A stretch without messages. Both ends included.
#[derive(Serialize, ToSchema)]
pub struct GoneBody {
    pub from: u64,
    pub to: u64,
    /// `deleted`, `expired`, `erased` or `not_member`.
    pub reason: &'static str,
}

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    #[serde(default)]
    from: Option<u64>,
    #[serde(default)]
    limit: Option<u32>,
    #[serde(default)]
    backwards: bool,
}

async fn history<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(conversation): Path<String>,
    Params(window): Params<Window>,
) -> Result<Json<HistoryBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    let limit = window.limit.unwrap_or(PAGE_ENTRIES).clamp(1, PAGE_ENTRIES_MAX);
    let from = match window.from {
        Some(from) if i64::try_from(from).is_ok() => from,
        Some(_) => return Err(Problem::field("from", "not an offset")),
        None if window.backwards => app.store.conversation(caller.user, id).await?.summary.head.0,
        None => 1,
    };
    let page = app.store.history(caller.user, id, Offset(from), limit, window.backwards).await?;
    if !page.readable {
        return Err(Code::NotFound.into());
    }
    let entries = page.entries.into_iter().map(|entry| match entry {
        Entry::Message(stored) => EntryBody::Message(message(stored)),
        Entry::Gone { from, to, reason } => {
            EntryBody::Gone(GoneBody { from: from.0, to: to.0, reason: reason_name(reason) })
        }
    });
    Ok(Json(HistoryBody {
        generation: page.generation.0,
        entries: entries.collect(),
        head: page.head.0,
        next: page.next.0,
    }))
}

/// A stored message as the API shows it.
pub fn message(stored: Message) -> MessageBody {
    MessageBody {
        generation: stored.generation.0,
        offset: stored.offset.0,
        kind: stored.kind,
        sender: stored.sender.to_string(),
        device: stored.device.to_string(),
        at: stored.at,
        relates_to: stored.relates_to.map(|offset| offset.0),
        expires_at: stored.expires_at,
        publish_key: stored.publish_key.to_string(),
        body: STANDARD.encode(stored.body),
    }
}

fn reason_name(reason: GoneReason) -> &'static str {
    match reason {
        GoneReason::GONE_REASON_EXPIRED => "expired",
        GoneReason::GONE_REASON_ERASED => "erased",
        GoneReason::GONE_REASON_NOT_MEMBER => "not_member",
        GoneReason::GONE_REASON_DELETED | GoneReason::GONE_REASON_UNSPECIFIED => "deleted",
    }
}
