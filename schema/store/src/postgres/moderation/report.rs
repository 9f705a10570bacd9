//! Reports and flags come in. A message is checked against what the relay keeps: who sent it, who could read it.

use schema_wire::{ConversationId, Offset, UserId};

use crate::accept::cut;
use crate::accounts::{AccountError, Answer};
use crate::moderation::{OPEN_REPORTS_MAX, TEXT_BYTES_MAX, must_be_reportable, proof_of};
use crate::postgres::account::audit::record;
use crate::postgres::account::read::id_opt;
use crate::postgres::account::{own, standing_of};
use crate::postgres::content;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, uint};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{NewFlag, NewReport, Proof, ReportId};
use crate::stored::int;

/// Longest word for a reason or a rule, in bytes.
const WORD_BYTES_MAX: usize = 64;

pub async fn file(tx: &Tx, new: &NewReport, by: &Origin, now: u64) -> Answer<ReportId> {
    own(tx, new.subject).await?;
    standing_of(tx, new.subject, now).await?;
    must_be_reportable(new)?;
    let proof = match new.message {
        Some((conversation, offset)) => weigh(tx, new, conversation, offset).await?,
        None if new.evidence.is_some() => Proof::Claimed,
        None => Proof::None,
    };
    if let Some(filed) = same(tx, new).await? {
        return Ok(filed);
    }
    must_have_room(tx, new.reporter).await?;
    let report = ReportId(crate::fresh_id(now));
    let muted = is_muted(tx, new.subject, now).await?;
    let status = if muted { "DISMISSED" } else { "PENDING" };
    tx.execute(
        "INSERT INTO reports (id, reporter_id, reported_user_id, conversation_id, message_offset, reason, comment,
           evidence, proof, status, resolution, resolved_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &[
            &Id(report.0),
            &Id(new.reporter.0),
            &Id(new.subject.0),
            &new.message.map(|(conversation, _)| Id(conversation.0)),
            &new.message.map(|(_, offset)| int(offset.0)),
            &cut(&new.reason, WORD_BYTES_MAX),
            &cut(&new.comment, TEXT_BYTES_MAX),
            &new.evidence,
            &proof.name(),
            &status,
            &muted.then_some("MUTED"),
            &muted.then_some(At(now)),
            &At(now),
        ],
    )
    .await?;
    if matches!(proof, Proof::Stored | Proof::Committed)
        && let Some(evidence) = &new.evidence
    {
        content::look(tx, new.subject, "disclosed", &String::from_utf8_lossy(evidence), now).await?;
    }
    record(tx, audit_event::REPORTED, Some(new.subject), cut(&new.reason, WORD_BYTES_MAX), by, now).await?;
    Ok(report)
}

/// What the disclosed evidence is worth, after looking at the message itself.
async fn weigh(tx: &Tx, new: &NewReport, conversation: ConversationId, offset: Offset) -> Answer<Proof> {
    let kept = tx
        .query_opt(
            "SELECT sender_id, body, commitment FROM messages m WHERE conversation_id = $1 AND log_offset = $3
               AND EXISTS (SELECT 1 FROM conversation_members WHERE conversation_id = $1 AND user_id = $2
                 AND joined_offset <= $3 AND (left_offset IS NULL OR left_offset >= $3))",
            &[&Id(conversation.0), &Id(new.reporter.0), &int(offset.0)],
        )
        .await?;
    let Some(row) = kept else { return Err(AccountError::NotFound) };
    proof_of(new, id(&row, 0)?, row.try_get(1)?, row.try_get(2)?)
}

/// The reporter's open report of the same thing.
async fn same(tx: &Tx, new: &NewReport) -> Answer<Option<ReportId>> {
    let found = tx
        .query_opt(
            "SELECT id FROM reports WHERE reported_user_id = $1 AND status = 'PENDING' AND reporter_id = $2
               AND conversation_id IS NOT DISTINCT FROM $3 AND message_offset IS NOT DISTINCT FROM $4
               AND reason = $5 LIMIT 1",
            &[
                &Id(new.subject.0),
                &Id(new.reporter.0),
                &new.message.map(|(conversation, _)| Id(conversation.0)),
                &new.message.map(|(_, offset)| int(offset.0)),
                &cut(&new.reason, WORD_BYTES_MAX),
            ],
        )
        .await?;
    found.map(|row| Ok(id(&row, 0)?)).transpose()
}

async fn must_have_room(tx: &Tx, reporter: UserId) -> Answer<()> {
    let open = tx
        .query_one(
            "SELECT count(*) FROM reports WHERE reporter_id = $1 AND status = 'PENDING'",
            &[&Id(reporter.0)],
        )
        .await?;
    if uint(&open, 0)? >= OPEN_REPORTS_MAX as u64 {
        return Err(AccountError::TooMany { limit: OPEN_REPORTS_MAX });
    }
    Ok(())
}

async fn is_muted(tx: &Tx, subject: UserId, now: u64) -> Answer<bool> {
    let found = tx
        .query_opt(
            "SELECT 1 FROM moderation_mutes WHERE user_id = $1 AND until > $2",
            &[&Id(subject.0), &At(now)],
        )
        .await?;
    Ok(found.is_some())
}

pub async fn subject(tx: &Tx, wanted: ReportId) -> Answer<UserId> {
    let found = tx.query_opt("SELECT reported_user_id FROM reports WHERE id = $1", &[&Id(wanted.0)]).await?;
    let subject = found.map_or(Ok(None), |row| id_opt(&row, 0))?;
    subject.ok_or(AccountError::NotFound)
}

pub async fn flag(tx: &Tx, new: &NewFlag, now: u64) -> Answer<()> {
    own(tx, new.subject).await?;
    standing_of(tx, new.subject, now).await?;
    if is_muted(tx, new.subject, now).await? {
        return Ok(());
    }
    tx.execute(
        "INSERT INTO flags (id, user_id, rule, detail, created_at) SELECT $1, $2, $3, $4, $5
         WHERE NOT EXISTS (SELECT 1 FROM flags WHERE user_id = $2 AND rule = $3
           AND (status = 'OPEN' OR created_at > $6))",
        &[
            &Id(crate::fresh_id(now)),
            &Id(new.subject.0),
            &cut(&new.rule, WORD_BYTES_MAX),
            &cut(&new.detail, TEXT_BYTES_MAX),
            &At(now),
            &At(now.saturating_sub(new.quiet_ms)),
        ],
    )
    .await?;
    Ok(())
}
