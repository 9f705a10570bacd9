//! What stands on the card of a case: reports with what the log has around their messages, flags, and what was done about
//! the account without a decision.

use schema_wire::{ConversationId, Offset, UserId};
use tokio_postgres::Row;

use crate::accounts::Answer;
use crate::moderation::NEAR_MESSAGES;
use crate::postgres::account::read::id_opt;
use crate::postgres::fault::Failed;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{Id, id, small, time, time_opt, uint_opt};
use crate::rows::conversation::ConversationKind;
use crate::rows::moderation::{ActionRow, FlagRow, Proof, ReportRow, ReportedMessage};

/// Most reports, most flags, and most actions, on one card.
const CARD_ROWS: i64 = 50;

pub async fn reports(tx: &Tx, subject: UserId) -> Answer<Vec<ReportRow>> {
    let rows = tx
        .query(
            "SELECT r.id, r.reporter_id, coalesce(u.name, ''), r.conversation_id, r.message_offset, r.reason,
               r.comment, r.evidence, r.proof, r.status, r.created_at,
               c.kind = 'DIRECT', coalesce(c.member_count, 0), m.sent_at, coalesce(m.is_gone, true),
               coalesce(m.near, 0)::integer, coalesce(m.near_own, 0)::integer
             FROM (SELECT * FROM reports WHERE reported_user_id = $1
                   ORDER BY (status = 'PENDING') DESC, created_at DESC LIMIT $2) r
             LEFT JOIN users u ON u.id = r.reporter_id
             LEFT JOIN conversations c ON c.id = r.conversation_id
             LEFT JOIN LATERAL (
               SELECT min(created_at) FILTER (WHERE log_offset = r.message_offset) AS sent_at,
                 bool_or(gone IS NOT NULL) FILTER (WHERE log_offset = r.message_offset) AS is_gone,
                 count(*) FILTER (WHERE log_offset <> r.message_offset) AS near,
                 count(*) FILTER (WHERE log_offset <> r.message_offset AND sender_id = $1) AS near_own
               FROM messages WHERE conversation_id = r.conversation_id
                 AND log_offset BETWEEN r.message_offset - $3 AND r.message_offset + $3) m
               ON r.message_offset IS NOT NULL
             ORDER BY (r.status = 'PENDING') DESC, r.created_at DESC",
            &[&Id(subject.0), &CARD_ROWS, &i64::from(NEAR_MESSAGES)],
        )
        .await?;
    rows.iter().map(report).collect()
}

fn report(row: &Row) -> Answer<ReportRow> {
    Ok(ReportRow {
        id: id(row, 0)?,
        reporter: id_opt(row, 1)?,
        reporter_name: row.try_get(2)?,
        message: message(row)?,
        reason: row.try_get(5)?,
        comment: row.try_get(6)?,
        evidence: row.try_get(7)?,
        proof: Proof::parse(row.try_get(8)?).ok_or(Failed::Unreadable("a proof"))?,
        status: row.try_get(9)?,
        created_at: time(row, 10)?,
    })
}

fn message(row: &Row) -> Answer<Option<ReportedMessage>> {
    let conversation: Option<ConversationId> = id_opt(row, 3)?;
    let Some((conversation, offset)) = conversation.zip(uint_opt(row, 4)?) else { return Ok(None) };
    let is_direct: Option<bool> = row.try_get(11)?;
    Ok(Some(ReportedMessage {
        conversation,
        offset: Offset(offset),
        kind: is_direct.map(|yes| if yes { ConversationKind::Direct } else { ConversationKind::Group }),
        members: small(row, 12)?,
        sent_at: time_opt(row, 13)?,
        is_gone: row.try_get(14)?,
        near: small(row, 15)?,
        near_own: small(row, 16)?,
    }))
}

pub async fn flags(tx: &Tx, subject: UserId) -> Answer<Vec<FlagRow>> {
    let rows = tx
        .query(
            "SELECT rule, detail, status = 'OPEN', created_at FROM flags WHERE user_id = $1
             ORDER BY (status = 'OPEN') DESC, created_at DESC LIMIT $2",
            &[&Id(subject.0), &CARD_ROWS],
        )
        .await?;
    let read = |row: &Row| {
        Ok(FlagRow {
            rule: row.try_get(0)?,
            detail: row.try_get(1)?,
            open: row.try_get(2)?,
            created_at: time(row, 3)?,
        })
    };
    rows.iter().map(read).collect()
}

pub async fn actions(tx: &Tx, subject: UserId) -> Answer<Vec<ActionRow>> {
    let rows = tx
        .query(
            "SELECT a.action, a.reason, CASE WHEN a.moderator_id IS NOT NULL THEN coalesce(u.name, '') END,
               a.until, a.created_at, a.undone_at
             FROM moderation_actions a LEFT JOIN users u ON u.id = a.moderator_id
             WHERE a.user_id = $1 AND a.decision_id IS NULL ORDER BY a.created_at DESC LIMIT $2",
            &[&Id(subject.0), &CARD_ROWS],
        )
        .await?;
    let read = |row: &Row| {
        Ok(ActionRow {
            action: row.try_get(0)?,
            reason: row.try_get(1)?,
            by: row.try_get(2)?,
            until: time_opt(row, 3)?,
            created_at: time(row, 4)?,
            undone_at: time_opt(row, 5)?,
        })
    };
    rows.iter().map(read).collect()
}
