//! First contacts: a direct conversation that waits until its other side accepts it. Whoever answers holds its row.

use schema_wire::v1::user_event::Event;
use schema_wire::{ConversationId, UserId, v1};

use super::events::push_all;
use super::lock_users;
use super::membership::{hold, must_be_member};
use super::note::note_members;
use super::read::id_opt;
use crate::accounts::{AccountError, Answer};
use crate::postgres::stream::push;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{Id, id, uint};
use crate::rows::conversation::{ConversationKind, RequestAnswer};

/// Who waits for an answer there.
pub async fn waits(tx: &Tx, conversation: ConversationId) -> Answer<Option<UserId>> {
    let found =
        tx.query_opt("SELECT requested_by FROM conversations WHERE id = $1", &[&Id(conversation.0)]).await?;
    found.map_or(Ok(None), |row| id_opt(&row, 0))
}

pub async fn answer(
    tx: &Tx,
    user: UserId,
    conversation: ConversationId,
    answer: RequestAnswer,
    now: u64,
) -> Answer<()> {
    hold(tx, &[Id(conversation.0)]).await?;
    if must_be_member(tx, conversation, user).await?.kind != ConversationKind::Direct {
        return Err(AccountError::NotFound);
    }
    match (waits(tx, conversation).await?, answer) {
        (Some(by), _) if by == user => Err(AccountError::NotAllowed),
        (Some(by), RequestAnswer::Accept) => accept(tx, conversation, (by, user), now).await,
        (Some(_), RequestAnswer::Delete) => hide(tx, conversation, user, now).await,
        // Another device was faster.
        (None, RequestAnswer::Accept) => Ok(()),
        (None, RequestAnswer::Delete) => Err(AccountError::Overtaken),
    }
}

/// It is an ordinary conversation from now on, under the next membership version, and both sides are told.
pub async fn accept(
    tx: &Tx,
    conversation: ConversationId,
    (by, user): (UserId, UserId),
    now: u64,
) -> Answer<()> {
    let row = tx
        .query_one(
            "UPDATE conversations SET requested_by = NULL, request_hidden = false,
               members_version = members_version + 1
             WHERE id = $1 RETURNING members_version",
            &[&Id(conversation.0)],
        )
        .await?;
    note_members(tx, conversation, uint(&row, 0)?, now).await?;
    lock_users(tx, [by, user], now).await?;
    let told = answered(conversation, v1::RequestAnswer::Accepted);
    push_all(tx, vec![(by, told.clone()), (user, told)], now).await
}

/// The user sees nothing more of it; whoever opened it learns nothing.
async fn hide(tx: &Tx, conversation: ConversationId, user: UserId, now: u64) -> Answer<()> {
    let hidden = tx
        .execute(
            "UPDATE conversations SET request_hidden = true WHERE id = $1 AND NOT request_hidden",
            &[&Id(conversation.0)],
        )
        .await?;
    if hidden > 0 {
        push(tx, user, answered(conversation, v1::RequestAnswer::Deleted), now).await?;
    }
    Ok(())
}

/// Hides a first contact of the other one; whoever opened it learns nothing. Before anybody's row is locked.
pub async fn hide_from(tx: &Tx, user: UserId, other: UserId) -> Answer<Option<ConversationId>> {
    let pair = [user.min(other).0, user.max(other).0].concat();
    let hidden = tx
        .query_opt(
            "UPDATE conversations SET request_hidden = true
             WHERE direct_pair = $1 AND requested_by = $2 AND NOT request_hidden RETURNING id",
            &[&pair, &Id(other.0)],
        )
        .await?;
    hidden.map(|row| Ok(id(&row, 0)?)).transpose()
}

/// What somebody's devices are told when it waits no longer.
pub fn answered(conversation: ConversationId, answer: v1::RequestAnswer) -> Event {
    let conversation = conversation.to_bytes();
    v1::RequestAnswered { conversation, answer: answer.into(), ..Default::default() }.into()
}
