//! Conversations: begin one, list one's own, look at one, change it. Messages travel through the relay.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use schema_store::accounts::{GROUP_MEMBERS_MAX, NAME_BYTES_MAX, PAGE_ROWS_MAX};
use schema_store::rows::conversation::{
    ConversationChange, ConversationDetail, ConversationKind, ConversationSummary, GroupDraft, HistoryPolicy,
    Request,
};
use schema_wire::{ConversationId, UserId};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::history::{MessageBody, message};
use super::members::role_name;
use crate::app::{App, Backing};
use crate::front::body::{Body, FromText, Params, check_name};
use crate::front::guard::Caller;
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// Conversations in one page unless asked otherwise.
const PAGE_ROWS: u32 = 50;
/// Longest life of messages in a conversation, in seconds: one year.
const TTL_S_MAX: u32 = 365 * 24 * 60 * 60;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(
            Method::POST,
            "/api/v1/conversations",
            "Begin a conversation. A direct one exists once per pair: asking again gives the same (200, not 201). A new one is a first contact that waits until the peer accepts it, writes to it, or asks for it here. A group invites whose settings ask first.",
        )
        .large()
        .takes::<NewConversationBody>()
        .gives::<ConversationBody>()
        .status(201)
        .or(200, "It was there already.")
        .refuses(&[Code::Invalid, Code::NotFound, Code::Blocked, Code::TooMany])
        .to(create::<S>),
        user(Method::GET, "/api/v1/conversations", "The caller's conversations, most recently active first, without first contacts they deleted.")
            .asks(&[
                ("before", "`next` of the page before."),
                ("limit", "At most 200; 50 if absent."),
            ])
            .gives::<ConversationsBody>()
            .to(list::<S>),
        user(Method::GET, "/api/v1/conversations/{conversation}", "One conversation, as the caller sees it.")
            .gives::<ConversationBody>()
            .refuses(&[Code::NotFound])
            .to(read::<S>),
        user(Method::PATCH, "/api/v1/conversations/{conversation}", "Change what the body names. Owners and admins.")
            .takes::<ConversationChangeBody>()
            .gives::<ConversationBody>()
            .refuses(&[Code::NotFound, Code::NotAllowed, Code::Invalid])
            .to(change::<S>),
    ]
}

/// What to begin.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum NewConversationBody {
    /// Two people.
    Direct {
        /// Id of the other one.
        peer: String,
    },
    /// Up to 10,000 people.
    Group {
        name: String,
        /// Ids of the others.
        #[serde(default)]
        members: Vec<String>,
        /// `since_join` (if absent) or `all`: what somebody who joins may read.
        #[serde(default)]
        history: HistoryName,
        /// Seconds after which each message expires.
        #[serde(default)]
        ttl: Option<u32>,
    },
}

/// What somebody who joins may read.
#[derive(Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistoryName {
    #[default]
    SinceJoin,
    All,
}

/// What to change; absent fields stay.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConversationChangeBody {
    #[serde(default)]
    pub name: Option<String>,
    /// Seconds; `null`: messages do not expire by themselves.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    pub ttl: Option<Option<u32>>,
    /// The present epoch plus 1.
    #[serde(default)]
    pub epoch: Option<u64>,
}

/// A conversation, as its reader sees it.
#[derive(Serialize, ToSchema)]
pub struct ConversationBody {
    pub id: String,
    /// `direct` or `group`.
    pub kind: &'static str,
    /// Empty for direct ones: show the peer.
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerBody>,
    /// A first contact that waits: `received` for the caller to accept, `sent` for the peer. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'static str>,
    /// The caller's: `member`, `admin` or `owner`.
    pub role: &'static str,
    pub member_count: u32,
    /// Newest offset.
    pub head: u64,
    /// Newest offset the caller has read.
    pub cursor: u64,
    pub unread: u64,
    /// Unix milliseconds of the newest message, or of the beginning.
    pub last_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<MessageBody>,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<DetailBody>,
}

/// The other one of a direct conversation.
#[derive(Serialize, ToSchema)]
pub struct PeerBody {
    pub id: String,
    pub name: String,
}

/// What lists leave out.
#[derive(Serialize, ToSchema)]
pub struct DetailBody {
    /// Unix milliseconds.
    pub created_at: u64,
    pub history: HistoryName,
    /// Seconds.
    pub ttl: Option<u32>,
    pub epoch: u64,
    /// First offset the caller may read.
    pub first: u64,
    /// Unix milliseconds.
    pub muted_until: Option<u64>,
    /// Ids of people who are invited and not yet members; for owners and admins of groups, the first 200.
    pub invited: Vec<String>,
}

/// A page of conversations.
#[derive(Serialize, ToSchema)]
pub struct ConversationsBody {
    pub conversations: Vec<ConversationBody>,
    /// For `before` of the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    before: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

async fn create<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Body(body): Body<NewConversationBody>,
) -> Result<(StatusCode, Json<ConversationBody>), Problem> {
    let (id, is_new) = match body {
        NewConversationBody::Direct { peer } => {
            let peer = UserId::from_text("peer", &peer)?;
            if peer == caller.user {
                return Err(Problem::field("peer", "must be somebody else"));
            }
            app.store.create_direct(caller.user, peer).await?
        }
        NewConversationBody::Group { name, members, history, ttl } => {
            let draft = draft(name, &members, history, ttl)?;
            (app.store.create_group(caller.user, draft).await?, true)
        }
    };
    let created = app.store.conversation(caller.user, id).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(detail(created))))
}

fn draft(
    name: String,
    members: &[String],
    history: HistoryName,
    ttl: Option<u32>,
) -> Result<GroupDraft, Problem> {
    check_name("name", &name, NAME_BYTES_MAX)?;
    check_ttl(ttl)?;
    if members.len() >= GROUP_MEMBERS_MAX {
        return Err(Problem::field("members", "a group has at most 10,000 members"));
    }
    Ok(GroupDraft {
        name: name.trim().to_owned(),
        members: user_ids("members", members)?,
        history: history.into(),
        ttl,
    })
}

async fn list<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Params(page): Params<Page>,
) -> Result<Json<ConversationsBody>, Problem> {
    let limit = page.limit.unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS_MAX);
    let before = page.before.as_deref().map(place).transpose()?;
    let found = app.store.conversations(caller.user, before, limit).await?;
    let is_full = found.len() as u64 >= u64::from(limit);
    let next = found.last().filter(|_| is_full).map(|last| format!("{}.{}", last.last_at, last.id));
    Ok(Json(ConversationsBody { conversations: found.into_iter().map(summary).collect(), next }))
}

async fn read<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(conversation): Path<String>,
) -> Result<Json<ConversationBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    Ok(Json(detail(app.store.conversation(caller.user, id).await?)))
}

async fn change<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(conversation): Path<String>,
    Body(body): Body<ConversationChangeBody>,
) -> Result<Json<ConversationBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    if let Some(name) = &body.name {
        check_name("name", name, NAME_BYTES_MAX)?;
    }
    check_ttl(body.ttl.flatten())?;
    let name = body.name.map(|name| name.trim().to_owned());
    let change = ConversationChange { name, ttl: body.ttl, epoch: body.epoch };
    app.store.change_conversation(caller.user, id, change).await?;
    Ok(Json(detail(app.store.conversation(caller.user, id).await?)))
}

/// Ids of people, in the order given.
pub fn user_ids(field: &str, texts: &[String]) -> Result<Vec<UserId>, Problem> {
    texts.iter().map(|text| UserId::from_text(field, text)).collect()
}

fn check_ttl(ttl: Option<u32>) -> Result<(), Problem> {
    match ttl {
        Some(seconds) if !(1..=TTL_S_MAX).contains(&seconds) => {
            Err(Problem::field("ttl", "1 second to 365 days"))
        }
        _ => Ok(()),
    }
}

fn place(text: &str) -> Result<(u64, ConversationId), Problem> {
    let malformed = || Problem::field("before", "not the `next` of a page");
    let (at, id) = text.split_once('.').ok_or_else(malformed)?;
    Ok((at.parse().map_err(|_| malformed())?, ConversationId::parse(id).ok_or_else(malformed)?))
}

/// Tells an absent field from one that is null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::<u32>::deserialize(from).map(Some)
}

impl From<HistoryName> for HistoryPolicy {
    fn from(name: HistoryName) -> Self {
        match name {
            HistoryName::SinceJoin => Self::SinceJoin,
            HistoryName::All => Self::All,
        }
    }
}

fn summary(row: ConversationSummary) -> ConversationBody {
    ConversationBody {
        id: row.id.to_string(),
        kind: match row.kind {
            ConversationKind::Direct => "direct",
            ConversationKind::Group => "group",
        },
        name: row.name,
        peer: row.peer.map(|(id, name)| PeerBody { id: id.to_string(), name }),
        request: row.request.map(|request| match request {
            Request::Received => "received",
            Request::Sent => "sent",
        }),
        role: role_name(row.role),
        member_count: row.member_count,
        head: row.head.0,
        cursor: row.cursor.0,
        unread: row.unread,
        last_at: row.last_at,
        last: row.last.map(message),
        detail: None,
    }
}

fn detail(row: ConversationDetail) -> ConversationBody {
    let history = match row.history {
        HistoryPolicy::SinceJoin => HistoryName::SinceJoin,
        HistoryPolicy::All => HistoryName::All,
    };
    let detail = DetailBody {
        created_at: row.created_at,
        history,
        ttl: row.ttl,
        epoch: row.epoch,
        first: row.first.0,
        muted_until: row.muted_until,
        invited: row.invited.iter().map(UserId::to_string).collect(),
    };
    ConversationBody { detail: Some(detail), ..summary(row.summary) }
}
