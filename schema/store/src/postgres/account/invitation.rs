//! Invitations to groups: people whose settings ask first are not added, they may join. Rows are written while the row of
//! whoever is invited is locked.

use std::collections::BTreeSet;

use schema_wire::v1;
use schema_wire::{ConversationId, UserId};
use tokio_postgres::Row;

use super::events::push_all;
use super::membership::{Joining, hold, join};
use super::read::{id_opt, ids};
use super::request::answered;
use super::{lock_users, must_be_active, own};
use crate::accept::AddsDirectly;
use crate::accounts::{
    ADD_TO_GROUPS, AccountError, Answer, GROUP_MEMBERS_MAX, INVITATIONS_MAX, PAGE_ROWS_MAX,
};
use crate::postgres::standing::acquaintances;
use crate::postgres::stream::push;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, small, time};
use crate::rows::conversation::{Invitation, RequestAnswer};

/// Those of `users` who are to be asked before `by` adds them.
pub async fn who_asks(tx: &Tx, users: &[UserId], by: UserId) -> Answer<BTreeSet<UserId>> {
    let all: Vec<Id> = users.iter().map(|user| Id(user.0)).collect();
    let set = tx
        .query(
            "SELECT user_id, value FROM settings WHERE user_id = ANY ($1) AND name = $2",
            &[&all, &ADD_TO_GROUPS],
        )
        .await?;
    let (mut asked, mut if_strange) = (BTreeSet::new(), Vec::new());
    for row in &set {
        match AddsDirectly::of(Some(row.try_get(1)?)) {
            AddsDirectly::Everybody => {}
            AddsDirectly::Known => if_strange.push(id(row, 0)?),
            AddsDirectly::Nobody => drop(asked.insert(id(row, 0)?)),
        }
    }
    if !if_strange.is_empty() {
        let known = acquaintances(tx, by, &if_strange).await?;
        asked.extend(if_strange.into_iter().filter(|user| !known.contains(user)));
    }
    Ok(asked)
}

/// Invites each once; the first invitation stands.
pub async fn invite(
    tx: &Tx,
    conversation: ConversationId,
    users: &BTreeSet<UserId>,
    by: UserId,
    now: u64,
) -> Answer<()> {
    if users.is_empty() {
        return Ok(());
    }
    let all: Vec<Id> = users.iter().map(|user| Id(user.0)).collect();
    let fresh = tx
        .query(
            "INSERT INTO group_invitations (conversation_id, user_id, invited_by, invited_at)
             SELECT $1, invited, $3, $4 FROM unnest($2::uuid[]) AS invited ON CONFLICT DO NOTHING RETURNING user_id",
            &[&Id(conversation.0), &all, &Id(by.0), &At(now)],
        )
        .await?;
    let fresh: Vec<UserId> = ids(&fresh)?;
    must_have_room(tx, &fresh).await?;
    let row = tx.query_one("SELECT name FROM conversations WHERE id = $1", &[&Id(conversation.0)]).await?;
    let event = v1::Invited {
        conversation: conversation.to_bytes(),
        by: by.to_bytes(),
        name: row.try_get(0)?,
        ..Default::default()
    };
    push_all(tx, fresh.into_iter().map(|user| (user, event.clone().into())).collect(), now).await
}

async fn must_have_room(tx: &Tx, invited: &[UserId]) -> Answer<()> {
    let invited: Vec<Id> = invited.iter().map(|user| Id(user.0)).collect();
    let full = tx
        .query(
            "SELECT user_id FROM group_invitations WHERE user_id = ANY ($1) GROUP BY user_id HAVING count(*) > $2",
            &[&invited, &(INVITATIONS_MAX as i64)],
        )
        .await?;
    if full.is_empty() { Ok(()) } else { Err(AccountError::TooMany { limit: INVITATIONS_MAX }) }
}

/// Takes invitations away; those who had one.
pub async fn take(tx: &Tx, conversation: ConversationId, users: &[UserId]) -> Answer<Vec<UserId>> {
    let all: Vec<Id> = users.iter().map(|user| Id(user.0)).collect();
    let taken = tx
        .query(
            "DELETE FROM group_invitations WHERE conversation_id = $1 AND user_id = ANY ($2) RETURNING user_id",
            &[&Id(conversation.0), &all],
        )
        .await?;
    ids(&taken)
}

/// Takes away what two people were invited to by each other; who was invited to what.
pub async fn take_between(tx: &Tx, user: UserId, other: UserId) -> Answer<Vec<(UserId, ConversationId)>> {
    let taken = tx
        .query(
            "DELETE FROM group_invitations
             WHERE (user_id = $1 AND invited_by = $2) OR (user_id = $2 AND invited_by = $1)
             RETURNING user_id, conversation_id",
            &[&Id(user.0), &Id(other.0)],
        )
        .await?;
    let mut taken: Vec<(UserId, ConversationId)> =
        taken.iter().map(|row| Ok((id(row, 0)?, id(row, 1)?))).collect::<Answer<_>>()?;
    taken.sort_unstable();
    Ok(taken)
}

pub async fn list(tx: &Tx, user: UserId) -> Answer<Vec<Invitation>> {
    let found = tx
        .query(
            "SELECT i.conversation_id, c.name, c.member_count, i.invited_by, coalesce(u.name, ''), i.invited_at
             FROM group_invitations i JOIN conversations c ON c.id = i.conversation_id
             LEFT JOIN users u ON u.id = i.invited_by
             WHERE i.user_id = $1 ORDER BY i.invited_at DESC, i.conversation_id LIMIT $2",
            &[&Id(user.0), &(INVITATIONS_MAX as i64)],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Invitation {
            conversation: id(row, 0)?,
            name: row.try_get(1)?,
            member_count: small(row, 2)?,
            by: id(row, 3)?,
            by_name: row.try_get(4)?,
            at: time(row, 5)?,
        })
    };
    found.iter().map(read).collect()
}

/// Who is invited to a group, by id.
pub async fn invited(tx: &Tx, conversation: ConversationId) -> Answer<Vec<UserId>> {
    let found = tx
        .query(
            "SELECT user_id FROM group_invitations WHERE conversation_id = $1 ORDER BY user_id LIMIT $2",
            &[&Id(conversation.0), &i64::from(PAGE_ROWS_MAX)],
        )
        .await?;
    ids(&found)
}

pub async fn answer(
    tx: &Tx,
    user: UserId,
    conversation: ConversationId,
    answer: RequestAnswer,
    now: u64,
) -> Answer<()> {
    own(tx, user).await?;
    hold(tx, &[Id(conversation.0)]).await?;
    let standing = lock_users(tx, [user], now).await?.get(&user).copied();
    let taken = tx
        .query_opt(
            "DELETE FROM group_invitations i USING conversations c
             WHERE c.id = i.conversation_id AND i.conversation_id = $1 AND i.user_id = $2
             RETURNING i.invited_by, c.member_count",
            &[&Id(conversation.0), &Id(user.0)],
        )
        .await?
        .ok_or(AccountError::NotFound)?;
    if answer == RequestAnswer::Delete {
        return Ok(push(tx, user, answered(conversation, v1::RequestAnswer::Deleted), now).await?);
    }
    must_be_active(standing)?;
    match small(&taken, 1)? as usize {
        // Everybody has left: there is nothing to join.
        0 => Err(AccountError::NotFound),
        GROUP_MEMBERS_MAX.. => Err(AccountError::TooMany { limit: GROUP_MEMBERS_MAX }),
        _ => {
            let by = id_opt(&taken, 0)?.unwrap_or(user);
            join(tx, conversation, &[Joining::member(user)], by, now).await?;
            Ok(())
        }
    }
}
