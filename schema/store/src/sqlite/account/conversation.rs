//! Making and changing conversations.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::v1::{self, Role};
use schema_wire::{ConversationId, UserId};

use super::membership::{Joining, join, must_be_member, must_exist};
use super::profile::either_blocked;
use super::{invitation, must_be_active, request};
use crate::accept::{clean_name, must_be_lifetime};
use crate::accounts::{AccountError, Answer, GROUP_MEMBERS_MAX};
use crate::rows::conversation::{ConversationChange, ConversationKind, GroupDraft, HistoryPolicy};
use crate::sqlite::content;
use crate::sqlite::stream::push;
use crate::sqlite::value::{id, int, uint};

pub fn create_direct(
    tx: &Transaction<'_>,
    user: UserId,
    peer: UserId,
    now: u64,
) -> Answer<(ConversationId, bool)> {
    if user == peer {
        return Err(AccountError::Invalid { field: "peer", problem: "that is yourself" });
    }
    must_be_active(tx, user, now)?;
    let pair = [user.min(peer).0, user.max(peer).0].concat();
    let known = tx
        .query_row("SELECT id FROM conversations WHERE direct_pair = ?1", [&pair], |row| id(row, 0))
        .optional()?;
    if let Some(conversation) = known {
        // Whoever asks for it as well accepts it.
        if request::waits(tx, conversation)? == Some(peer) && !either_blocked(tx, user, peer)? {
            request::accept(tx, conversation, (peer, user), now)?;
        }
        return Ok((conversation, false));
    }
    must_exist(tx, peer, now)?;
    if either_blocked(tx, user, peer)? {
        return Err(AccountError::Blocked);
    }
    let conversation = ConversationId(crate::fresh_id(now));
    tx.execute(
        "INSERT INTO conversations (id, kind, direct_pair, created_by, requested_by, created_at, last_at)
         VALUES (?1, 'DIRECT', ?2, ?3, ?3, ?4, ?4)",
        params![conversation.0, pair, user.0, int(now)],
    )?;
    join(
        tx,
        conversation,
        &[Joining::member(user), Joining { asked: true, ..Joining::member(peer) }],
        user,
        now,
    )?;
    Ok((conversation, true))
}

pub fn create_group(
    tx: &Transaction<'_>,
    owner: UserId,
    draft: &GroupDraft,
    now: u64,
) -> Answer<ConversationId> {
    must_be_active(tx, owner, now)?;
    let name = clean_name("name", &draft.name)?;
    must_be_lifetime(draft.ttl)?;
    let others: BTreeSet<UserId> = draft.members.iter().copied().filter(|u| *u != owner).collect();
    if others.len() >= GROUP_MEMBERS_MAX {
        return Err(AccountError::TooMany { limit: GROUP_MEMBERS_MAX });
    }
    for other in &others {
        must_exist(tx, *other, now)?;
        if either_blocked(tx, owner, *other)? {
            return Err(AccountError::Blocked);
        }
    }
    let history = match draft.history {
        HistoryPolicy::SinceJoin => "since_join",
        HistoryPolicy::All => "all",
    };
    let conversation = ConversationId(crate::fresh_id(now));
    tx.execute(
        "INSERT INTO conversations (id, kind, name, created_by, created_at, last_at, ttl, history)
         VALUES (?1, 'GROUP', ?2, ?3, ?4, ?4, ?5, ?6)",
        params![conversation.0, name, owner.0, int(now), draft.ttl, history],
    )?;
    let mut joining = vec![Joining { role: Role::Owner, ..Joining::member(owner) }];
    for other in others {
        if invitation::asks_first(tx, other, owner)? {
            invitation::invite(tx, conversation, other, owner, now)?;
        } else {
            joining.push(Joining::member(other));
        }
    }
    join(tx, conversation, &joining, owner, now)?;
    content::look(tx, owner, "group name", &name, now)?;
    Ok(conversation)
}

pub fn change(
    tx: &Transaction<'_>,
    by: UserId,
    conversation: ConversationId,
    change: &ConversationChange,
    now: u64,
) -> Answer<()> {
    let member = must_be_member(tx, conversation, by)?;
    let leads = matches!(member.role, Role::Owner | Role::Admin);
    let direct = member.kind == ConversationKind::Direct;
    if let Some(name) = &change.name {
        if direct || !leads {
            return Err(AccountError::NotAllowed);
        }
        let name = clean_name("name", name)?;
        tx.execute("UPDATE conversations SET name = ?2 WHERE id = ?1", params![conversation.0, name])?;
        content::look(tx, by, "group name", &name, now)?;
    }
    if let Some(ttl) = change.ttl {
        if !direct && !leads {
            return Err(AccountError::NotAllowed);
        }
        must_be_lifetime(ttl)?;
        tx.execute("UPDATE conversations SET ttl = ?2 WHERE id = ?1", params![conversation.0, ttl])?;
    }
    if let Some(epoch) = change.epoch {
        let moved = tx.execute(
            "UPDATE conversations SET epoch = ?2 WHERE id = ?1 AND epoch = ?2 - 1",
            params![conversation.0, int(epoch)],
        )?;
        if moved == 0 {
            return Err(AccountError::Invalid { field: "epoch", problem: "must follow the present one" });
        }
    }
    announce(tx, conversation, now)
}

/// Tells every member what the conversation is called now, and its epoch.
fn announce(tx: &Transaction<'_>, conversation: ConversationId, now: u64) -> Answer<()> {
    let (name, epoch): (String, u64) =
        tx.query_row("SELECT name, epoch FROM conversations WHERE id = ?1", [conversation.0], |row| {
            Ok((row.get(0)?, uint(row, 1)?))
        })?;
    let mut find = tx.prepare_cached(
        "SELECT user_id FROM conversation_members WHERE conversation_id = ?1 AND left_offset IS NULL",
    )?;
    let members: Vec<UserId> =
        find.query_map([conversation.0], |row| id(row, 0))?.collect::<rusqlite::Result<_>>()?;
    for member in members {
        let (conversation, name) = (conversation.to_bytes(), name.clone());
        push(tx, member, v1::ConversationChanged { conversation, name, epoch, ..Default::default() }, now)?;
    }
    Ok(())
}
