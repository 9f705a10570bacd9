//! Cases: one per account. The queue reads them in the order of an index; counting reports is done for a page only.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use super::{appeal, card, decision};
use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::moderation::CLAIM_MS;
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{CaseCounts, CaseDetail, CaseFilter, CaseRow, CaseState, OpenCases};
use crate::sqlite::account::audit::record;
use crate::sqlite::value::{account_role, id, id_opt, small, status, uint, uint_opt, unknown};
use crate::stored::int;

const WEEK_MS: u64 = 7 * 86_400_000;

const COLUMNS: &str = "SELECT u.id, u.name, u.status, u.suspended_until, coalesce(c.state, 'RESOLVED'),
       coalesce(c.opened_at, u.created_at), c.resolved_at, c.claimed_by, m.name, coalesce(c.claim_expires_at, 0),
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
const IN_QUEUE: &str =
    "FROM moderation_cases c JOIN users u ON u.id = c.user_id LEFT JOIN users m ON m.id = c.claimed_by";
/// Also an account that nobody ever reported.
const OF_ACCOUNT: &str = "FROM users u LEFT JOIN moderation_cases c ON c.user_id = u.id
     LEFT JOIN users m ON m.id = c.claimed_by WHERE u.id = ?1 AND u.status <> 'DELETED'";

pub fn list(
    tx: &Transaction<'_>,
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
    let chosen = match filter {
        CaseFilter::Open => {
            "c.state = 'OPEN' AND (c.opened_at, c.user_id) > (?1, ?2) AND ?4 IS NOT NULL AND ?5 > 0"
        }
        CaseFilter::ClaimedBy(_) => {
            "c.state = 'OPEN' AND (c.opened_at, c.user_id) > (?1, ?2) AND c.claimed_by = ?4
             AND c.claim_expires_at > ?5"
        }
        CaseFilter::Decided => {
            "c.state = 'DECIDED' AND (c.opened_at, c.user_id) > (?1, ?2) AND ?4 IS NOT NULL AND ?5 > 0"
        }
        CaseFilter::Resolved => {
            "c.state = 'RESOLVED' AND (c.resolved_at, c.user_id) < (?1, ?2) AND ?4 IS NOT NULL AND ?5 > 0"
        }
    };
    let order = match filter {
        CaseFilter::Resolved => "c.resolved_at DESC, c.user_id DESC",
        _ => "c.opened_at, c.user_id",
    };
    let mut find =
        tx.prepare_cached(&format!("{COLUMNS} {IN_QUEUE} WHERE {chosen} ORDER BY {order} LIMIT ?3"))?;
    let rows =
        find.query_map(params![int(at), user.0, page(limit), claimer.0, int(now)], |row| case_row(row, now))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn case_row(row: &Row<'_>, now: u64) -> rusqlite::Result<CaseRow> {
    let state: String = row.get(4)?;
    let claim_expires_at = uint(row, 9)?;
    let claimer: Option<UserId> = id_opt(row, 7)?;
    let claimer_name: Option<String> = row.get(8)?;
    let claimed_by = claimer.map(|user| (user, claimer_name.unwrap_or_default()));
    Ok(CaseRow {
        user: id(row, 0)?,
        name: row.get(1)?,
        status: status(row, 2, now)?,
        state: CaseState::parse(&state).ok_or_else(|| unknown(4))?,
        opened_at: uint(row, 5)?,
        resolved_at: uint_opt(row, 6)?,
        claimed_by: claimed_by.filter(|_| claim_expires_at > now),
        claim_expires_at,
        reports: small(row, 10)?,
        reporters: small(row, 11)?,
        flags: small(row, 12)?,
        about: row.get(13)?,
        appeals: small(row, 14)?,
    })
}

pub fn open(tx: &Transaction<'_>) -> Answer<OpenCases> {
    let sql = "SELECT count(*), min(opened_at) FROM moderation_cases WHERE state = 'OPEN'";
    Ok(tx.query_row(sql, [], |row| Ok(OpenCases { open: uint(row, 0)?, oldest_at: uint_opt(row, 1)? }))?)
}

pub fn counts(tx: &Transaction<'_>, now: u64) -> Answer<CaseCounts> {
    let (open, claimed, oldest_open_at) = tx.query_row(
        "SELECT count(*), coalesce(sum(claim_expires_at > ?1), 0), min(opened_at)
         FROM moderation_cases WHERE state = 'OPEN'",
        [int(now)],
        |row| Ok((uint(row, 0)?, uint(row, 1)?, uint_opt(row, 2)?)),
    )?;
    let waiting =
        tx.query_row("SELECT count(*) FROM moderation_decisions WHERE state = 'WAITING'", [], |row| {
            uint(row, 0)
        })?;
    let (resolved_7d, mean_resolve_ms) = tx.query_row(
        "SELECT count(*), CAST(avg(resolved_at - opened_at) AS INTEGER) FROM moderation_cases
         WHERE state = 'RESOLVED' AND resolved_at > ?1",
        [int(now.saturating_sub(WEEK_MS))],
        |row| Ok((uint(row, 0)?, uint_opt(row, 1)?)),
    )?;
    Ok(CaseCounts { open, claimed, waiting, resolved_7d, oldest_open_at, mean_resolve_ms })
}

pub fn detail(tx: &Transaction<'_>, subject: UserId, now: u64) -> Answer<CaseDetail> {
    let row = tx
        .prepare_cached(&format!("{COLUMNS} {OF_ACCOUNT}"))?
        .query_row([subject.0], |row| case_row(row, now))
        .optional()?
        .ok_or(AccountError::NotFound)?;
    let (role, created_at, last_active_at, devices, muted_until) = tx.query_row(
        "SELECT u.role, u.created_at, u.last_active_at,
           (SELECT count(*) FROM devices d WHERE d.user_id = u.id AND d.revoked_at IS NULL),
           (SELECT until FROM moderation_mutes m WHERE m.user_id = u.id AND m.until > ?2)
         FROM users u WHERE u.id = ?1",
        params![subject.0, int(now)],
        |row| {
            Ok((account_role(row, 0)?, uint(row, 1)?, uint_opt(row, 2)?, small(row, 3)?, uint_opt(row, 4)?))
        },
    )?;
    let strikes = tx.query_row(
        "SELECT count(*) FROM moderation_actions WHERE user_id = ?1 AND action IN ('WARN', 'SUSPEND', 'BAN')
           AND undone_at IS NULL",
        [subject.0],
        |row| small(row, 0),
    )?;
    let (reports, flags) = (card::reports(tx, subject)?, card::flags(tx, subject)?);
    let actions = card::actions(tx, subject)?;
    let (decisions, appeals) = (decision::of(tx, subject)?, appeal::of(tx, subject)?);
    Ok(CaseDetail {
        row,
        role,
        created_at,
        last_active_at,
        devices,
        strikes,
        muted_until,
        reports,
        flags,
        decisions,
        appeals,
        actions,
    })
}

/// Refused unless the case is there, nobody else has it, and the moderator had no part in what is appealed against.
pub fn must_be_free(tx: &Transaction<'_>, subject: UserId, moderator: UserId, now: u64) -> Answer<CaseState> {
    let found = tx
        .query_row(
            "SELECT state, claimed_by IS NOT NULL AND claimed_by <> ?2 AND claim_expires_at > ?3,
               EXISTS (SELECT 1 FROM moderation_appeals a JOIN moderation_decisions d ON d.id = a.decision_id
                 WHERE a.user_id = ?1 AND a.state = 'OPEN' AND (d.moderator_id = ?2 OR d.second_id = ?2))
             FROM moderation_cases WHERE user_id = ?1",
            params![subject.0, moderator.0, int(now)],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?)),
        )
        .optional()?;
    match found {
        None => Err(AccountError::NotFound),
        Some((_, _, true)) => Err(AccountError::NotAllowed),
        Some((_, true, _)) => Err(AccountError::Overtaken),
        Some((state, false, false)) => Ok(CaseState::parse(&state).ok_or_else(|| unknown(0))?),
    }
}

pub fn claim(tx: &Transaction<'_>, subject: UserId, by: &Origin, now: u64) -> Answer<()> {
    let moderator = by.actor.ok_or(AccountError::NotAllowed)?;
    if must_be_free(tx, subject, moderator, now)? != CaseState::Open {
        return Err(AccountError::Overtaken);
    }
    tx.execute(
        "UPDATE moderation_cases SET claimed_by = ?2, claim_expires_at = ?3 WHERE user_id = ?1",
        params![subject.0, moderator.0, int(now + CLAIM_MS)],
    )?;
    record(tx, audit_event::CASE_CLAIMED, Some(subject), "", by, now)?;
    Ok(())
}

pub fn release(tx: &Transaction<'_>, subject: UserId, by: &Origin, now: u64) -> Answer<()> {
    let moderator = by.actor.ok_or(AccountError::NotAllowed)?;
    let released = tx.execute(
        "UPDATE moderation_cases SET claimed_by = NULL, claim_expires_at = 0 WHERE user_id = ?1 AND claimed_by = ?2",
        params![subject.0, moderator.0],
    )?;
    if released > 0 {
        record(tx, audit_event::CASE_RELEASED, Some(subject), "", by, now)?;
    }
    Ok(())
}
