//! Erasing an account: everything personal goes, messages become tombstones, the ledger keeps that it happened.

use std::collections::BTreeSet;

use schema_wire::v1::Role;
use schema_wire::v1::user_event::Event;
use schema_wire::{ConversationId, UserId};
use tokio_postgres::Row;

use super::administrators::look;
use super::audit::record;
use super::events::push_all;
use super::membership::{hand_over, hold, leave};
use super::read::ids;
use super::{lock_users_whole, must_stand, own, standing_of};
use crate::accept::{ERASURE_REASON_BYTES_MAX, cut};
use crate::accounts::Answer;
use crate::postgres::moderation::forget::forget;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, role, uint};
use crate::rows::account::{Erasure, Origin, audit_event};
use crate::rows::role::AccountRole;
use crate::stored::{GONE_ERASED, int};

/// What the account's own lock or its conversations keep others from touching.
const OWN_ROWS: [&str; 11] = [
    "DELETE FROM one_time_tokens WHERE user_id = $1",
    "DELETE FROM sessions WHERE user_id = $1",
    "DELETE FROM settings WHERE user_id = $1",
    "DELETE FROM second_factors WHERE user_id = $1",
    "DELETE FROM security_keys WHERE user_id = $1",
    "DELETE FROM factor_letters WHERE user_id = $1",
    "DELETE FROM moderation_notes WHERE user_id = $1",
    "DELETE FROM moderation_appeals WHERE user_id = $1",
    "DELETE FROM erasure_requests WHERE user_id = $1",
    "DELETE FROM cursors WHERE user_id = $1",
    "DELETE FROM publish_keys WHERE sender_id = $1",
];

/// What others write while they hold the user's row.
const SHARED_ROWS: [&str; 7] = [
    "DELETE FROM blocks WHERE user_id = $1",
    "DELETE FROM blocks WHERE blocked_id = $1",
    "DELETE FROM group_invitations WHERE user_id = $1",
    "DELETE FROM group_invitations WHERE invited_by = $1",
    "DELETE FROM user_events WHERE user_id = $1",
    "DELETE FROM staff_requests WHERE user_id = $1",
    "UPDATE invites SET email = NULL WHERE used_by = $1",
];

/// Erases an account unless it is the last administrator's.
pub async fn erase(tx: &Tx, user: UserId, reason: &str, by: &Origin, now: u64) -> Answer<Erasure> {
    own(tx, user).await?;
    let concerned = look(tx, user, now).await?;
    concerned.must_leave_one()?;
    let is_admin = concerned.role == AccountRole::Admin;
    let peers = if is_admin { concerned.administrators } else { Vec::new() };
    wipe(tx, user, &peers, (reason, by), now).await
}

/// The same whoever it is: a restored backup may know nobody else who was an administrator by then.
pub async fn erase_whoever(tx: &Tx, user: UserId, reason: &str, by: &Origin, now: u64) -> Answer<Erasure> {
    own(tx, user).await?;
    standing_of(tx, user, now).await?;
    wipe(tx, user, &[], (reason, by), now).await
}

/// `peers`: the administrators, of whom one has to stay. Their rows are held with the account's.
async fn wipe(
    tx: &Tx,
    user: UserId,
    peers: &[UserId],
    (reason, by): (&str, &Origin),
    now: u64,
) -> Answer<Erasure> {
    let reason = cut(reason, ERASURE_REASON_BYTES_MAX);
    let held = hold_all(tx, user).await?;
    let member_of = memberships(tx, user).await?;
    if !member_of.iter().all(|(conversation, _)| held.contains(conversation)) {
        return tx.again();
    }
    let told = leave_all(tx, user, &member_of, now).await?;
    let messages = bury_messages(tx, user, now).await?;
    let devices = remove_own(tx, user, now).await?;
    let people = told.iter().map(|(heir, _)| *heir).chain([user]).chain(peers.iter().copied());
    must_stand(lock_users_whole(tx, people, now).await?.get(&user).copied())?;
    // Of administrators that erase themselves at the same time, the last one finds itself the last.
    if !peers.is_empty() {
        look(tx, user, now).await?.must_leave_one()?;
    }
    // Whoever adds this user somewhere held the row before, or finds it deleted after.
    if !memberships(tx, user).await?.is_empty() {
        return tx.again();
    }
    push_all(tx, told, now).await?;
    for statement in SHARED_ROWS {
        tx.execute(statement, &[&Id(user.0)]).await?;
    }
    forget(tx, user, by, now).await?;
    blank_profile(tx, user, now).await?;
    tx.execute(
        "INSERT INTO erasure_ledger (user_id, reason, messages, erased_at, forgotten) VALUES ($1, $2, $3, $4, true)",
        &[&Id(user.0), &reason, &int(messages), &At(now)],
    )
    .await?;
    record(tx, audit_event::ACCOUNT_ERASED, Some(user), reason, by, now).await?;
    Ok(Erasure { at: now, messages, conversations_left: member_of.len() as u64, devices })
}

/// Holds the conversations the user is a member of, and those they wrote to and left.
async fn hold_all(tx: &Tx, user: UserId) -> Answer<BTreeSet<ConversationId>> {
    let found = tx
        .query(
            "SELECT conversation_id FROM conversation_members WHERE user_id = $1 AND left_offset IS NULL
             UNION SELECT conversation_id FROM messages WHERE sender_id = $1 AND gone IS NULL",
            &[&Id(user.0)],
        )
        .await?;
    let held: BTreeSet<ConversationId> = ids(&found)?.into_iter().collect();
    hold(tx, &held.iter().map(|conversation| Id(conversation.0)).collect::<Vec<_>>()).await?;
    Ok(held)
}

async fn memberships(tx: &Tx, user: UserId) -> Answer<Vec<(ConversationId, Role)>> {
    let found = tx
        .query(
            "SELECT conversation_id, role FROM conversation_members WHERE user_id = $1 AND left_offset IS NULL",
            &[&Id(user.0)],
        )
        .await?;
    found.iter().map(|row: &Row| Ok((id(row, 0)?, role(row, 1)?))).collect()
}

/// Returns who is to be told of a group that is theirs now.
async fn leave_all(
    tx: &Tx,
    user: UserId,
    member_of: &[(ConversationId, Role)],
    now: u64,
) -> Answer<Vec<(UserId, Event)>> {
    let mut told = Vec::new();
    for (conversation, role) in member_of {
        if *role == Role::Owner {
            told.extend(hand_over(tx, *conversation, user, now).await?);
        }
        leave(tx, *conversation, user, now).await?;
    }
    Ok(told)
}

async fn bury_messages(tx: &Tx, user: UserId, now: u64) -> Answer<u64> {
    let buried = tx
        .query_one(
            "WITH buried AS (
               UPDATE messages SET gone = $2::bigint, deleted_at = $3, body = '', commitment = NULL, media_id = NULL
               WHERE sender_id = $1 AND gone IS NULL RETURNING conversation_id),
             raised AS (
               UPDATE conversations SET erasures = erasures + 1 WHERE id IN (SELECT conversation_id FROM buried)),
             noted AS (
               INSERT INTO change_log (kind, conversation_id, created_at)
               SELECT 'ERASED', conversation_id, $3 FROM buried GROUP BY conversation_id)
             SELECT count(*) FROM buried",
            &[&Id(user.0), &GONE_ERASED, &At(now)],
        )
        .await?;
    Ok(uint(&buried, 0)?)
}

/// Returns how many devices there were.
async fn remove_own(tx: &Tx, user: UserId, now: u64) -> Answer<u64> {
    let devices = tx.execute("DELETE FROM devices WHERE user_id = $1", &[&Id(user.0)]).await?;
    for statement in OWN_ROWS {
        tx.execute(statement, &[&Id(user.0)]).await?;
    }
    tx.execute(
        "UPDATE media_files SET status = 'DELETED', deleted_at = $2 WHERE user_id = $1 AND deleted_at IS NULL",
        &[&Id(user.0), &At(now)],
    )
    .await?;
    Ok(devices)
}

/// The change log learns it from the trigger on the status.
async fn blank_profile(tx: &Tx, user: UserId, now: u64) -> Answer<()> {
    tx.execute(
        "UPDATE users SET status = 'DELETED', deleted_at = $2, updated_at = $2, tokens_not_before = $3,
           email = NULL, name = '', about = '', password_hash = NULL, role = 'USER', activation = 'NONE',
           email_verified_at = NULL, last_active_at = NULL, suspended_at = NULL, suspended_until = NULL,
           suspension_reason = NULL, banned_at = NULL, ban_reason = NULL
         WHERE id = $1",
        &[&Id(user.0), &At(now), &int(now / 1000)],
    )
    .await?;
    Ok(())
}
