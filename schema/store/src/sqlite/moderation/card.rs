//! What stands on the card of a case: reports with what the log has around their messages, flags, and what was done about
//! the account without a decision.

use rusqlite::{Row, Transaction, params};
use schema_wire::{ConversationId, Offset, UserId};

use crate::moderation::NEAR_MESSAGES;
use crate::rows::conversation::ConversationKind;
use crate::rows::moderation::{ActionRow, FlagRow, Proof, ReportRow, ReportedMessage};
use crate::sqlite::value::{id, id_opt, small, uint, uint_opt, unknown};

/// Most reports, most flags, and most actions, on one card.
const CARD_ROWS: u32 = 50;

pub fn reports(tx: &Transaction<'_>, subject: UserId) -> rusqlite::Result<Vec<ReportRow>> {
    let mut find = tx.prepare_cached(
        "SELECT r.id, r.reporter_id, coalesce(u.name, ''), r.conversation_id, r.message_offset, r.reason, r.comment,
           r.evidence, r.proof, r.status, r.created_at, c.kind = 'DIRECT', coalesce(c.member_count, 0),
           (SELECT created_at FROM messages m WHERE m.conversation_id = r.conversation_id
              AND m.log_offset = r.message_offset),
           coalesce((SELECT m.gone IS NOT NULL FROM messages m WHERE m.conversation_id = r.conversation_id
              AND m.log_offset = r.message_offset), true),
           (SELECT count(*) FROM messages m WHERE m.conversation_id = r.conversation_id
              AND m.log_offset BETWEEN r.message_offset - ?3 AND r.message_offset + ?3
              AND m.log_offset <> r.message_offset),
           (SELECT count(*) FROM messages m WHERE m.conversation_id = r.conversation_id
              AND m.log_offset BETWEEN r.message_offset - ?3 AND r.message_offset + ?3
              AND m.log_offset <> r.message_offset AND m.sender_id = ?1)
         FROM (SELECT * FROM reports WHERE reported_user_id = ?1
               ORDER BY status = 'PENDING' DESC, created_at DESC LIMIT ?2) r
         LEFT JOIN users u ON u.id = r.reporter_id LEFT JOIN conversations c ON c.id = r.conversation_id
         ORDER BY r.status = 'PENDING' DESC, r.created_at DESC",
    )?;
    let rows = find.query_map(params![subject.0, CARD_ROWS, NEAR_MESSAGES], report)?;
    rows.collect()
}

fn report(row: &Row<'_>) -> rusqlite::Result<ReportRow> {
    let proof: String = row.get(8)?;
    Ok(ReportRow {
        id: id(row, 0)?,
        reporter: id_opt(row, 1)?,
        reporter_name: row.get(2)?,
        message: message(row)?,
        reason: row.get(5)?,
        comment: row.get(6)?,
        evidence: row.get(7)?,
        proof: Proof::parse(&proof).ok_or_else(|| unknown(8))?,
        status: row.get(9)?,
        created_at: uint(row, 10)?,
    })
}

fn message(row: &Row<'_>) -> rusqlite::Result<Option<ReportedMessage>> {
    let conversation: Option<ConversationId> = id_opt(row, 3)?;
    let Some((conversation, offset)) = conversation.zip(uint_opt(row, 4)?) else { return Ok(None) };
    let is_direct: Option<bool> = row.get(11)?;
    Ok(Some(ReportedMessage {
        conversation,
        offset: Offset(offset),
        kind: is_direct.map(|yes| if yes { ConversationKind::Direct } else { ConversationKind::Group }),
        members: small(row, 12)?,
        sent_at: uint_opt(row, 13)?,
        is_gone: row.get(14)?,
        near: small(row, 15)?,
        near_own: small(row, 16)?,
    }))
}

pub fn flags(tx: &Transaction<'_>, subject: UserId) -> rusqlite::Result<Vec<FlagRow>> {
    let mut find = tx.prepare_cached(
        "SELECT rule, detail, status = 'OPEN', created_at FROM flags WHERE user_id = ?1
         ORDER BY status = 'OPEN' DESC, created_at DESC LIMIT ?2",
    )?;
    let rows = find.query_map(params![subject.0, CARD_ROWS], |row| {
        Ok(FlagRow { rule: row.get(0)?, detail: row.get(1)?, open: row.get(2)?, created_at: uint(row, 3)? })
    })?;
    rows.collect()
}

pub fn actions(tx: &Transaction<'_>, subject: UserId) -> rusqlite::Result<Vec<ActionRow>> {
    let mut find = tx.prepare_cached(
        "SELECT a.action, a.reason, iif(a.moderator_id IS NULL, NULL, coalesce(u.name, '')), a.until, a.created_at,
           a.undone_at
         FROM moderation_actions a LEFT JOIN users u ON u.id = a.moderator_id
         WHERE a.user_id = ?1 AND a.decision_id IS NULL ORDER BY a.created_at DESC LIMIT ?2",
    )?;
    let rows = find.query_map(params![subject.0, CARD_ROWS], |row| {
        Ok(ActionRow {
            action: row.get(0)?,
            reason: row.get(1)?,
            by: row.get(2)?,
            until: uint_opt(row, 3)?,
            created_at: uint(row, 4)?,
            undone_at: uint_opt(row, 5)?,
        })
    })?;
    rows.collect()
}
