//! Reports and flags come in. A message is checked against what the relay keeps: who sent it, who could read it.

use rusqlite::{OptionalExtension, Transaction, params};
use schema_wire::{ConversationId, Offset, UserId};

use crate::accept::cut;
use crate::accounts::{AccountError, Answer};
use crate::moderation::{OPEN_REPORTS_MAX, TEXT_BYTES_MAX, must_be_reportable, proof_of};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{NewFlag, NewReport, Proof, ReportId};
use crate::sqlite::account::audit::record;
use crate::sqlite::account::standing_of;
use crate::sqlite::content;
use crate::sqlite::value::{count, id, id_opt};
use crate::stored::int;

/// Longest word for a reason or a rule, in bytes.
const WORD_BYTES_MAX: usize = 64;

pub fn file(tx: &Transaction<'_>, new: &NewReport, by: &Origin, now: u64) -> Answer<ReportId> {
    standing_of(tx, new.subject, now)?;
    must_be_reportable(new)?;
    let proof = match new.message {
        Some((conversation, offset)) => weigh(tx, new, conversation, offset)?,
        None if new.evidence.is_some() => Proof::Claimed,
        None => Proof::None,
    };
    if let Some(filed) = same(tx, new)? {
        return Ok(filed);
    }
    must_have_room(tx, new.reporter)?;
    let report = ReportId(crate::fresh_id(now));
    let (status, resolution) =
        if is_muted(tx, new.subject, now)? { ("DISMISSED", Some("MUTED")) } else { ("PENDING", None) };
    tx.execute(
        "INSERT INTO reports (id, reporter_id, reported_user_id, conversation_id, message_offset, reason, comment,
           evidence, proof, status, resolution, resolved_at, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, iif(?11 IS NULL, NULL, ?12), ?12)",
        params![
            report.0,
            new.reporter.0,
            new.subject.0,
            new.message.map(|(conversation, _)| conversation.0),
            new.message.map(|(_, offset)| int(offset.0)),
            cut(&new.reason, WORD_BYTES_MAX),
            cut(&new.comment, TEXT_BYTES_MAX),
            new.evidence,
            proof.name(),
            status,
            resolution,
            int(now)
        ],
    )?;
    if matches!(proof, Proof::Stored | Proof::Committed)
        && let Some(evidence) = &new.evidence
    {
        content::look(tx, new.subject, "disclosed", &String::from_utf8_lossy(evidence), now)?;
    }
    record(tx, audit_event::REPORTED, Some(new.subject), cut(&new.reason, WORD_BYTES_MAX), by, now)?;
    Ok(report)
}

/// What the disclosed evidence is worth, after looking at the message itself.
fn weigh(
    tx: &Transaction<'_>,
    new: &NewReport,
    conversation: ConversationId,
    offset: Offset,
) -> Answer<Proof> {
    let could_read: bool = tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM conversation_members WHERE conversation_id = ?1 AND user_id = ?2
           AND joined_offset <= ?3 AND (left_offset IS NULL OR left_offset >= ?3))",
        params![conversation.0, new.reporter.0, int(offset.0)],
        |row| row.get(0),
    )?;
    let kept = tx
        .query_row(
            "SELECT sender_id, body, commitment FROM messages WHERE conversation_id = ?1 AND log_offset = ?2",
            params![conversation.0, int(offset.0)],
            |row| Ok((id::<UserId>(row, 0)?, row.get::<_, Vec<u8>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?)),
        )
        .optional()?;
    let Some((sender, body, promised)) = kept.filter(|_| could_read) else {
        return Err(AccountError::NotFound);
    };
    proof_of(new, sender, &body, promised.as_deref())
}

/// The reporter's open report of the same thing.
fn same(tx: &Transaction<'_>, new: &NewReport) -> Answer<Option<ReportId>> {
    let found = tx
        .query_row(
            "SELECT id FROM reports WHERE reported_user_id = ?1 AND status = 'PENDING' AND reporter_id = ?2
               AND conversation_id IS ?3 AND message_offset IS ?4 AND reason = ?5",
            params![
                new.subject.0,
                new.reporter.0,
                new.message.map(|(conversation, _)| conversation.0),
                new.message.map(|(_, offset)| int(offset.0)),
                cut(&new.reason, WORD_BYTES_MAX)
            ],
            |row| id(row, 0),
        )
        .optional()?;
    Ok(found)
}

fn must_have_room(tx: &Transaction<'_>, reporter: UserId) -> Answer<()> {
    let open = tx.query_row(
        "SELECT count(*) FROM reports WHERE reporter_id = ?1 AND status = 'PENDING'",
        [reporter.0],
        |row| count(row, 0),
    )?;
    if open >= OPEN_REPORTS_MAX { Err(AccountError::TooMany { limit: OPEN_REPORTS_MAX }) } else { Ok(()) }
}

fn is_muted(tx: &Transaction<'_>, subject: UserId, now: u64) -> rusqlite::Result<bool> {
    tx.query_row(
        "SELECT EXISTS (SELECT 1 FROM moderation_mutes WHERE user_id = ?1 AND until > ?2)",
        params![subject.0, int(now)],
        |row| row.get(0),
    )
}

pub fn subject(tx: &Transaction<'_>, wanted: ReportId) -> Answer<UserId> {
    let found = tx
        .query_row("SELECT reported_user_id FROM reports WHERE id = ?1", [wanted.0], |row| id_opt(row, 0))
        .optional()?;
    found.flatten().ok_or(AccountError::NotFound)
}

pub fn flag(tx: &Transaction<'_>, new: &NewFlag, now: u64) -> Answer<()> {
    standing_of(tx, new.subject, now)?;
    if is_muted(tx, new.subject, now)? {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO flags (id, user_id, rule, detail, created_at) SELECT ?1, ?2, ?3, ?4, ?5
         WHERE NOT EXISTS (SELECT 1 FROM flags WHERE user_id = ?2 AND rule = ?3
           AND (status = 'OPEN' OR created_at > ?6))",
        params![
            crate::fresh_id(now),
            new.subject.0,
            cut(&new.rule, WORD_BYTES_MAX),
            cut(&new.detail, TEXT_BYTES_MAX),
            int(now),
            int(now.saturating_sub(new.quiet_ms))
        ],
    )?;
    Ok(())
}
