//! Members of a conversation: who they are, adding, removing, roles, muting, leaving.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::Method;
use schema_store::accounts::{GROUP_MEMBERS_MAX, PAGE_ROWS_MAX};
use schema_store::rows::conversation::MemberAdded;
use schema_wire::v1::Role;
use schema_wire::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::conversations::user_ids;
use super::{DoneBody, done};
use crate::app::{App, Backing};
use crate::front::body::{Body, FromText, Params};
use crate::front::guard::Caller;
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, user};

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    const REFUSES: &[Code] = &[Code::NotFound, Code::NotAllowed, Code::Invalid];
    const LEAVING: &[Code] = &[Code::NotFound, Code::NotAllowed, Code::LastOwner];
    vec![
        user(
            Method::GET,
            "/api/v1/conversations/{conversation}/members",
            "Members by id, 200 at a time. For members.",
        )
        .asks(&[("after", "Last id of the page before."), ("limit", "At most 200.")])
        .gives::<MembersBody>()
        .refuses(&[Code::NotFound])
        .to(list::<S>),
        user(
            Method::POST,
            "/api/v1/conversations/{conversation}/members",
            "Add people. Owners and admins. Who is a member already is left alone; whose settings ask first is invited.",
        )
        .large()
        .takes::<AddBody>()
        .gives::<AddedBody>()
        .refuses(&[Code::NotFound, Code::NotAllowed, Code::Invalid, Code::TooMany, Code::Blocked])
        .to(add::<S>),
        user(
            Method::DELETE,
            "/api/v1/conversations/{conversation}/members/{user}",
            "Remove somebody of a lower role, or take an invitation back; oneself: leave.",
        )
        .gives::<DoneBody>()
        .refuses(LEAVING)
        .to(remove::<S>),
        user(
            Method::POST,
            "/api/v1/conversations/{conversation}/leave",
            "Leave. The last owner hands over first.",
        )
        .gives::<DoneBody>()
        .refuses(LEAVING)
        .to(leave::<S>),
        user(
            Method::PUT,
            "/api/v1/conversations/{conversation}/members/{user}/role",
            "Owners make and unmake owners and admins; admins may step down.",
        )
        .takes::<RoleBody>()
        .gives::<DoneBody>()
        .refuses(&[Code::NotFound, Code::NotAllowed, Code::LastOwner])
        .to(set_role::<S>),
        user(
            Method::PUT,
            "/api/v1/conversations/{conversation}/members/{user}/mute",
            "Stop a member of a lower role from writing for a while.",
        )
        .takes::<MuteBody>()
        .gives::<DoneBody>()
        .refuses(REFUSES)
        .to(mute::<S>),
    ]
}

/// A page of members.
#[derive(Serialize, ToSchema)]
pub struct MembersBody {
    pub members: Vec<MemberBody>,
}

/// One member.
#[derive(Serialize, ToSchema)]
pub struct MemberBody {
    pub user: String,
    pub name: String,
    /// `member`, `admin` or `owner`.
    pub role: &'static str,
    /// Unix milliseconds.
    pub joined_at: u64,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<u64>,
}

/// Whom to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddBody {
    pub users: Vec<String>,
}

/// Who was added.
#[derive(Serialize, ToSchema)]
pub struct AddedBody {
    pub added: Vec<AddedMember>,
    /// Ids of those who are asked first.
    pub invited: Vec<String>,
}

/// One new member.
#[derive(Serialize, ToSchema)]
pub struct AddedMember {
    pub user: String,
    /// First offset they may read.
    pub first: u64,
}

/// A role.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleBody {
    pub role: RoleName,
}

/// What a member may do.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    Member,
    Admin,
    Owner,
}

/// Until when.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MuteBody {
    /// Unix milliseconds; `null`: not any more.
    pub until: Option<u64>,
}

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

async fn list<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(conversation): Path<String>,
    Params(page): Params<Page>,
) -> Result<Json<MembersBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    let after = page.after.as_deref().map(|text| UserId::from_text("after", text)).transpose()?;
    let limit = page.limit.unwrap_or(PAGE_ROWS_MAX).clamp(1, PAGE_ROWS_MAX);
    let members =
        app.store.members(caller.user, id, after, limit).await?.into_iter().map(|member| MemberBody {
            user: member.user.to_string(),
            name: member.name,
            role: role_name(member.role),
            joined_at: member.joined_at,
            muted_until: member.muted_until,
        });
    Ok(Json(MembersBody { members: members.collect() }))
}

async fn add<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(conversation): Path<String>,
    Body(body): Body<AddBody>,
) -> Result<Json<AddedBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    if body.users.is_empty() || body.users.len() >= GROUP_MEMBERS_MAX {
        return Err(Problem::field("users", "1 to 9,999 ids"));
    }
    let added = app.store.add_members(caller.user, id, user_ids("users", &body.users)?).await?;
    let member = |one: MemberAdded| AddedMember { user: one.user.to_string(), first: one.first.0 };
    Ok(Json(AddedBody {
        added: added.members.into_iter().map(member).collect(),
        invited: added.invited.iter().map(UserId::to_string).collect(),
    }))
}

async fn remove<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path((conversation, user)): Path<(String, String)>,
) -> Result<Json<DoneBody>, Problem> {
    let (id, user) = ids(&conversation, &user)?;
    app.store.remove_member(caller.user, id, user).await?;
    Ok(done())
}

async fn leave<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path(conversation): Path<String>,
) -> Result<Json<DoneBody>, Problem> {
    let id = ConversationId::from_text("conversation", &conversation)?;
    app.store.remove_member(caller.user, id, caller.user).await?;
    Ok(done())
}

async fn set_role<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path((conversation, user)): Path<(String, String)>,
    Body(body): Body<RoleBody>,
) -> Result<Json<DoneBody>, Problem> {
    let (id, user) = ids(&conversation, &user)?;
    let role = match body.role {
        RoleName::Member => Role::ROLE_MEMBER,
        RoleName::Admin => Role::ROLE_ADMIN,
        RoleName::Owner => Role::ROLE_OWNER,
    };
    app.store.set_member_role(caller.user, id, user, role).await?;
    Ok(done())
}

async fn mute<S: Backing>(
    State(app): State<App<S>>,
    caller: Caller,
    Path((conversation, user)): Path<(String, String)>,
    Body(body): Body<MuteBody>,
) -> Result<Json<DoneBody>, Problem> {
    let (id, user) = ids(&conversation, &user)?;
    if body.until.is_some_and(|until| i64::try_from(until).is_err()) {
        return Err(Problem::field("until", "not a time"));
    }
    app.store.mute_member(caller.user, id, user, body.until).await?;
    Ok(done())
}

fn ids(conversation: &str, user: &str) -> Result<(ConversationId, UserId), Problem> {
    Ok((ConversationId::from_text("conversation", conversation)?, UserId::from_text("user", user)?))
}

/// The role in one word.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::ROLE_OWNER => "owner",
        Role::ROLE_ADMIN => "admin",
        Role::ROLE_MEMBER | Role::ROLE_UNSPECIFIED => "member",
    }
}
