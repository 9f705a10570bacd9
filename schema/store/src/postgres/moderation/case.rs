//! Cases: one per account. The queue reads them in the order of an index; counting reports is done for a page only.

use schema_wire::UserId;
use tokio_postgres::Row;

use super::{appeal, card, decision};
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::moderation::CLAIM_MS;
use crate::postgres::account::audit::record;
use crate::postgres::account::own;
use crate::postgres::account::read::{account_role, id_opt};
use crate::postgres::fault::Failed;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, status, time, time_opt, uint, uint_opt};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{CaseCounts, CaseDetail, CaseFilter, CaseRow, CaseState, OpenCases};

const WEEK_MS: u64 = 7 * 86_400_000;

const COLUMNS: &str = "SELECT u.id, u.name, u.status, u.suspended_until, coalesce(c.state, 'RESOLVED'),
       coalesce(c.opened_at, u.created_at), c.resolved_at, c.claimed_by, m.name,
       coalesce(c.claim_expires_at, 'epoch'),
       (SELECT count(*) FROM reports r WHERE r.reported_user_id = u.id AND r.status = 'PENDING'),
       (SELECT count(DISTINCT r.reporter_id) FROM reports r
        WHERE r.reported_user_id = u.id AND r.status = 'PENDING'),
       (SELECT count(*) FROM flags f WHERE f.user_id = u.id AND f.status = 'OPEN'),
       coalesce((SELECT 'APPEAL' FROM moderation_appeals a WHERE a.user_id = u.id AND a.state = 'OPEN' LIMIT 1),
                (SELECT r.reason FROM reports r WHERE r.reported_user_id = u.id AND r.status = 'PENDING'
                 ORDER BY r.created_at LIMIT 1),
                (SELECT f.rule FROM flags f WHERE f.user_id = u.id AND f.status = 'OPEN'
                 ORDER BY f.created_at LIMIT 1), ''),
       (SELECT count(*) FROM moderation_appeals a WHERE a.user_id = u.id AND a.state = 'OPEN')";

pub async fn list(
    tx: &Tx,
    filter: CaseFilter,
    after: Option<(u64, UserId)>,
    limit: u32,
    now: u64,
) -> Answer<Vec<CaseRow>> {
    let (at, user) = after.unwrap_or(match filter {
        CaseFilter::Resolved => (u64::MAX, UserId([0xff; 16])),
        _ => (0, UserId::default()),
    });
    let claimer = if let CaseFilter::ClaimedBy(moderator) = filter { moderator } else { UserId::default() };
    // The third and fourth parameter are of one filter only; the others name them so that they have a use.
    let chosen = match filter {
        CaseFilter::Open => {
            "state = 'OPEN' AND (opened_at, user_id) > ($1, $2) AND $4 IS NOT NULL AND $5 IS NOT NULL"
        }
        CaseFilter::ClaimedBy(_) => {
            "state = 'OPEN' AND (opened_at, user_id) > ($1, $2) AND claimed_by = $4 AND claim_expires_at > $5"
        }
        CaseFilter::Decided => {
            "state = 'DECIDED' AND (opened_at, user_id) > ($1, $2) AND $4 IS NOT NULL AND $5 IS NOT NULL"
        }
        CaseFilter::Resolved => {
            "state = 'RESOLVED' AND (resolved_at, user_id) < ($1, $2) AND $4 IS NOT NULL AND $5 IS NOT NULL"
        }
    };
    let order = |table: &str| match filter {
        CaseFilter::Resolved => format!("{table}resolved_at DESC, {table}user_id DESC"),
        _ => format!("{table}opened_at, {table}user_id"),
    };
    let sql = format!(
        "{COLUMNS} FROM (SELECT * FROM moderation_cases WHERE {chosen} ORDER BY {} LIMIT $3) c
         JOIN users u ON u.id = c.user_id LEFT JOIN users m ON m.id = c.claimed_by ORDER BY {}",
        order(""),
        order("c.")
    );
    let arguments = (At(at), Id(user.0), i64::from(page(limit)), Id(claimer.0), At(now));
    let rows =
        tx.query(&sql, &[&arguments.0, &arguments.1, &arguments.2, &arguments.3, &arguments.4]).await?;
    rows.iter().map(|row| case_row(row, now)).collect()
}

fn case_row(row: &Row, now: u64) -> Answer<CaseRow> {
    let claim_expires_at = time(row, 9)?;
    let claimer: Option<UserId> = id_opt(row, 7)?;
    let claimer_name: Option<String> = row.try_get(8)?;
    let claimed_by = claimer.map(|user| (user, claimer_name.unwrap_or_default()));
    Ok(CaseRow {
        user: id(row, 0)?,
        name: row.try_get(1)?,
        status: status(row, 2, now)?,
        state: CaseState::parse(row.try_get(4)?).ok_or(Failed::Unreadable("a case's state"))?,
        opened_at: time(row, 5)?,
        resolved_at: time_opt(row, 6)?,
        claimed_by: claimed_by.filter(|_| claim_expires_at > now),
        claim_expires_at,
        reports: small(row, 10)?,
        reporters: small(row, 11)?,
        flags: small(row, 12)?,
        about: row.try_get(13)?,
        appeals: small(row, 14)?,
    })
}

fn small(row: &Row, column: usize) -> Answer<u32> {
    Ok(u32::try_from(uint(row, column)?).unwrap_or(u32::MAX))
}

pub async fn open(tx: &Tx) -> Answer<OpenCases> {
    let row = tx
        .query_one("SELECT count(*), min(opened_at) FROM moderation_cases WHERE state = 'OPEN'", &[])
        .await?;
    Ok(OpenCases { open: uint(&row, 0)?, oldest_at: time_opt(&row, 1)? })
}

pub async fn counts(tx: &Tx, now: u64) -> Answer<CaseCounts> {
    let open = tx
        .query_one(
            "SELECT count(*), count(*) FILTER (WHERE claim_expires_at > $1), min(opened_at)
             FROM moderation_cases WHERE state = 'OPEN'",
            &[&At(now)],
        )
        .await?;
    let waiting =
        tx.query_one("SELECT count(*) FROM moderation_decisions WHERE state = 'WAITING'", &[]).await?;
    let resolved = tx
        .query_one(
            "SELECT count(*), (extract(epoch FROM avg(resolved_at - opened_at)) * 1000)::bigint
             FROM moderation_cases WHERE state = 'RESOLVED' AND resolved_at > $1",
            &[&At(now.saturating_sub(WEEK_MS))],
        )
        .await?;
    Ok(CaseCounts {
        open: uint(&open, 0)?,
        claimed: uint(&open, 1)?,
        waiting: uint(&waiting, 0)?,
        resolved_7d: uint(&resolved, 0)?,
        oldest_open_at: time_opt(&open, 2)?,
        mean_resolve_ms: uint_opt(&resolved, 1)?,
    })
}

pub async fn detail(tx: &Tx, subject: UserId, now: u64) -> Answer<CaseDetail> {
    let sql = format!(
        "{COLUMNS} FROM users u LEFT JOIN moderation_cases c ON c.user_id = u.id
         LEFT JOIN users m ON m.id = c.claimed_by WHERE u.id = $1 AND u.status <> 'DELETED'"
    );
    let found = tx.query_opt(&sql, &[&Id(subject.0)]).await?.ok_or(AccountError::NotFound)?;
    let more = tx
        .query_one(
            "SELECT u.role, u.created_at, u.last_active_at,
               (SELECT count(*) FROM devices d WHERE d.user_id = u.id AND d.revoked_at IS NULL),
               (SELECT until FROM moderation_mutes m WHERE m.user_id = u.id AND m.until > $2),
               (SELECT count(*) FROM moderation_actions a WHERE a.user_id = u.id
                  AND a.action IN ('WARN', 'SUSPEND', 'BAN') AND a.undone_at IS NULL)
             FROM users u WHERE u.id = $1",
            &[&Id(subject.0), &At(now)],
        )
        .await?;
    Ok(CaseDetail {
        row: case_row(&found, now)?,
        role: account_role(&more, 0)?,
        created_at: time(&more, 1)?,
        last_active_at: time_opt(&more, 2)?,
        devices: small(&more, 3)?,
        muted_until: time_opt(&more, 4)?,
        strikes: small(&more, 5)?,
        reports: card::reports(tx, subject).await?,
        flags: card::flags(tx, subject).await?,
        decisions: decision::of(tx, subject).await?,
        appeals: appeal::of(tx, subject).await?,
        actions: card::actions(tx, subject).await?,
    })
}

/// Refused unless the case is there, nobody else has it, and the moderator had no part in what is appealed against. The
/// caller holds the account's own lock.
pub async fn must_be_free(tx: &Tx, subject: UserId, moderator: UserId, now: u64) -> Answer<CaseState> {
    let found = tx
        .query_opt(
            "SELECT state, claimed_by IS NOT NULL AND claimed_by <> $2 AND claim_expires_at > $3,
               EXISTS (SELECT 1 FROM moderation_appeals a JOIN moderation_decisions d ON d.id = a.decision_id
                 WHERE a.user_id = $1 AND a.state = 'OPEN' AND (d.moderator_id = $2 OR d.second_id = $2))
             FROM moderation_cases WHERE user_id = $1",
            &[&Id(subject.0), &Id(moderator.0), &At(now)],
        )
        .await?;
    let Some(row) = found else { return Err(AccountError::NotFound) };
    if row.try_get(2)? {
        return Err(AccountError::NotAllowed);
    }
    if row.try_get(1)? {
        return Err(AccountError::Overtaken);
    }
    Ok(CaseState::parse(row.try_get(0)?).ok_or(Failed::Unreadable("a case's state"))?)
}

pub async fn claim(tx: &Tx, subject: UserId, by: &Origin, now: u64) -> Answer<()> {
    let moderator = by.actor.ok_or(AccountError::NotAllowed)?;
    own(tx, subject).await?;
    if must_be_free(tx, subject, moderator, now).await? != CaseState::Open {
        return Err(AccountError::Overtaken);
    }
    tx.execute(
        "UPDATE moderation_cases SET claimed_by = $2, claim_expires_at = $3 WHERE user_id = $1",
        &[&Id(subject.0), &Id(moderator.0), &At(now + CLAIM_MS)],
    )
    .await?;
    record(tx, audit_event::CASE_CLAIMED, Some(subject), "", by, now).await?;
    Ok(())
}

pub async fn release(tx: &Tx, subject: UserId, by: &Origin, now: u64) -> Answer<()> {
    let moderator = by.actor.ok_or(AccountError::NotAllowed)?;
    own(tx, subject).await?;
    let released = tx
        .execute(
            "UPDATE moderation_cases SET claimed_by = NULL, claim_expires_at = 'epoch'
             WHERE user_id = $1 AND claimed_by = $2",
            &[&Id(subject.0), &Id(moderator.0)],
        )
        .await?;
    if released > 0 {
        record(tx, audit_event::CASE_RELEASED, Some(subject), "", by, now).await?;
    }
    Ok(())
}
