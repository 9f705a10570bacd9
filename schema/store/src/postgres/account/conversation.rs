//! Making and changing conversations.

use std::collections::BTreeSet;

use schema_wire::v1::{self, Role};
use schema_wire::{ConversationId, UserId};

use super::events::push_all;
use super::membership::{Joining, hold, join, must_be_member};
use super::profile::blocked_among;
use super::read::ids;
use super::{invitation, lock_users, must_be_active, must_exist, own, request, standing_of};
use crate::accept::{clean_name, must_be_lifetime};
use crate::accounts::{AccountError, Answer, GROUP_MEMBERS_MAX};
use crate::postgres::content;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, uint};
use crate::rows::conversation::{ConversationChange, ConversationKind, GroupDraft, HistoryPolicy};
use crate::stored::int;

pub async fn create_direct(tx: &Tx, user: UserId, peer: UserId, now: u64) -> Answer<(ConversationId, bool)> {
    if user == peer {
        return Err(AccountError::Invalid { field: "peer", problem: "that is yourself" });
    }
    must_be_active(Some(standing_of(tx, user, now).await?))?;
    let pair = [user.min(peer).0, user.max(peer).0].concat();
    if let Some(conversation) = direct(tx, &pair).await? {
        return Ok((known(tx, conversation, user, peer, now).await?, false));
    }
    let conversation = ConversationId(crate::fresh_id(now));
    let made = tx
        .execute(
            "INSERT INTO conversations (id, kind, direct_pair, created_by, requested_by, created_at, last_at)
             VALUES ($1, 'DIRECT', $2, $3, $3, $4, $4) ON CONFLICT (direct_pair) DO NOTHING",
            &[&Id(conversation.0), &pair, &Id(user.0), &At(now)],
        )
        .await?;
    // Somebody else, perhaps the peer, made it meanwhile.
    if made == 0 {
        let conversation = direct(tx, &pair).await?.ok_or(AccountError::NotFound)?;
        return Ok((known(tx, conversation, user, peer, now).await?, false));
    }
    let found = lock_users(tx, [user, peer], now).await?;
    must_be_active(found.get(&user).copied())?;
    must_exist(found.get(&peer).copied())?;
    if !blocked_among(tx, user, &[peer]).await?.is_empty() {
        return Err(AccountError::Blocked);
    }
    let joining = [Joining::member(user), Joining { asked: true, ..Joining::member(peer) }];
    join(tx, conversation, &joining, user, now).await?;
    Ok((conversation, true))
}

/// Whoever asks for what the peer opened accepts it.
async fn known(
    tx: &Tx,
    conversation: ConversationId,
    user: UserId,
    peer: UserId,
    now: u64,
) -> Answer<ConversationId> {
    hold(tx, &[Id(conversation.0)]).await?;
    if request::waits(tx, conversation).await? == Some(peer)
        && blocked_among(tx, user, &[peer]).await?.is_empty()
    {
        request::accept(tx, conversation, (peer, user), now).await?;
    }
    Ok(conversation)
}

async fn direct(tx: &Tx, pair: &[u8]) -> Answer<Option<ConversationId>> {
    let found = tx.query("SELECT id FROM conversations WHERE direct_pair = $1", &[&pair]).await?;
    Ok(ids(&found)?.pop())
}

pub async fn create_group(tx: &Tx, owner: UserId, draft: &GroupDraft, now: u64) -> Answer<ConversationId> {
    own(tx, owner).await?;
    must_be_active(Some(standing_of(tx, owner, now).await?))?;
    let name = clean_name("name", &draft.name)?;
    must_be_lifetime(draft.ttl)?;
    let others: BTreeSet<UserId> = draft.members.iter().copied().filter(|u| *u != owner).collect();
    if others.len() >= GROUP_MEMBERS_MAX {
        return Err(AccountError::TooMany { limit: GROUP_MEMBERS_MAX });
    }
    let history = match draft.history {
        HistoryPolicy::SinceJoin => "since_join",
        HistoryPolicy::All => "all",
    };
    let conversation = ConversationId(crate::fresh_id(now));
    tx.execute(
        "INSERT INTO conversations (id, kind, name, created_by, created_at, last_at, ttl, history)
         VALUES ($1, 'GROUP', $2, $3, $4, $4, $5, $6)",
        &[&Id(conversation.0), &name, &Id(owner.0), &At(now), &draft.ttl.map(i64::from), &history],
    )
    .await?;
    must_be_reachable(tx, owner, &others, now).await?;
    let asked = invitation::who_asks(tx, &others.iter().copied().collect::<Vec<_>>(), owner).await?;
    invitation::invite(tx, conversation, &asked, owner, now).await?;
    let mut joining = vec![Joining { role: Role::Owner, ..Joining::member(owner) }];
    joining.extend(others.difference(&asked).copied().map(Joining::member));
    join(tx, conversation, &joining, owner, now).await?;
    content::look(tx, owner, "group name", &name, now).await?;
    Ok(conversation)
}

/// Locks the owner and everybody they want to bring together.
async fn must_be_reachable(tx: &Tx, owner: UserId, others: &BTreeSet<UserId>, now: u64) -> Answer<()> {
    let found = lock_users(tx, others.iter().copied().chain([owner]), now).await?;
    must_be_active(found.get(&owner).copied())?;
    let blocked = blocked_among(tx, owner, &others.iter().copied().collect::<Vec<_>>()).await?;
    for other in others {
        must_exist(found.get(other).copied())?;
        if blocked.contains(other) {
            return Err(AccountError::Blocked);
        }
    }
    Ok(())
}

pub async fn change(
    tx: &Tx,
    by: UserId,
    conversation: ConversationId,
    change: &ConversationChange,
    now: u64,
) -> Answer<()> {
    if change.name.is_some() {
        own(tx, by).await?;
    }
    hold(tx, &[Id(conversation.0)]).await?;
    let member = must_be_member(tx, conversation, by).await?;
    let leads = matches!(member.role, Role::Owner | Role::Admin);
    let direct = member.kind == ConversationKind::Direct;
    let at = Id(conversation.0);
    if let Some(name) = &change.name {
        if direct || !leads {
            return Err(AccountError::NotAllowed);
        }
        let name = clean_name("name", name)?;
        tx.execute("UPDATE conversations SET name = $2 WHERE id = $1", &[&at, &name]).await?;
        content::look(tx, by, "group name", &name, now).await?;
    }
    if let Some(ttl) = change.ttl {
        if !direct && !leads {
            return Err(AccountError::NotAllowed);
        }
        must_be_lifetime(ttl)?;
        tx.execute("UPDATE conversations SET ttl = $2 WHERE id = $1", &[&at, &ttl.map(i64::from)]).await?;
    }
    if let Some(epoch) = change.epoch {
        let moved = tx
            .execute(
                "UPDATE conversations SET epoch = $2 WHERE id = $1 AND epoch = $2 - 1",
                &[&at, &int(epoch)],
            )
            .await?;
        if moved == 0 {
            return Err(AccountError::Invalid { field: "epoch", problem: "must follow the present one" });
        }
    }
    announce(tx, conversation, now).await
}

/// Tells every member what the conversation is called now, and its epoch.
async fn announce(tx: &Tx, conversation: ConversationId, now: u64) -> Answer<()> {
    let row =
        tx.query_one("SELECT name, epoch FROM conversations WHERE id = $1", &[&Id(conversation.0)]).await?;
    let event = v1::ConversationChanged {
        conversation: conversation.to_bytes(),
        name: row.try_get(0)?,
        epoch: uint(&row, 1)?,
        ..Default::default()
    };
    let found = tx
        .query(
            "SELECT user_id FROM conversation_members WHERE conversation_id = $1 AND left_offset IS NULL",
            &[&Id(conversation.0)],
        )
        .await?;
    let members: Vec<UserId> = ids(&found)?;
    lock_users(tx, members.iter().copied(), now).await?;
    push_all(tx, members.into_iter().map(|member| (member, event.clone().into())).collect(), now).await
}
