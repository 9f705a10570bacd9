//! Rules about contents, kept and applied; what is worth a look besides the cases.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::UserId;

use super::account::audit::record;
use super::moderation::report::flag;
use super::value::{id, int, uint, unknown};
use crate::accounts::{AccountError, Answer};
use crate::content::{RULES_MAX, judge, must_be_rule};
use crate::detection::{
    DUPLICATE, EVASION, EVASION_ACCOUNTS_MAX, EVASION_WITHIN_MS, HOUR_MS, NEW_ACCOUNT, SIGNALS_MAX,
};
use crate::rows::account::{Origin, audit_event};
use crate::rows::detection::{ContentKind, ContentRule, ContentRuleId, Evader, Flagged, Signals};
use crate::rows::moderation::NewFlag;

pub fn rules(tx: &Transaction<'_>) -> Answer<Vec<ContentRule>> {
    let mut find = tx.prepare_cached(
        "SELECT r.id, r.kind, r.text, coalesce(u.name, ''), r.created_at FROM content_rules r
         LEFT JOIN users u ON u.id = r.created_by ORDER BY r.kind, r.text LIMIT ?1",
    )?;
    let rows = find.query_map([RULES_MAX], |row| {
        Ok(ContentRule {
            id: id(row, 0)?,
            kind: kind(row, 1)?,
            text: row.get(2)?,
            made_by: row.get(3)?,
            created_at: uint(row, 4)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<ContentKind> {
    ContentKind::parse(&row.get::<_, String>(column)?).ok_or_else(|| unknown(column))
}

pub fn add(
    tx: &Transaction<'_>,
    kind: ContentKind,
    text: &str,
    by: &Origin,
    now: u64,
) -> Answer<ContentRuleId> {
    let text = must_be_rule(kind, text)?;
    let present = tx.query_row("SELECT count(*) FROM content_rules", [], |row| uint(row, 0))?;
    if present >= u64::from(RULES_MAX) {
        return Err(AccountError::TooMany { limit: RULES_MAX as usize });
    }
    let rule = ContentRuleId(crate::fresh_id(now));
    let added = tx.execute(
        "INSERT INTO content_rules (id, kind, text, created_by, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
        params![rule.0, kind.name(), text, by.actor.map(|user| user.0), int(now)],
    )?;
    if added == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::CONTENT_RULE_ADDED, None, &format!("{}: {text}", kind.name()), by, now)?;
    Ok(rule)
}

pub fn remove(tx: &Transaction<'_>, wanted: ContentRuleId, by: &Origin, now: u64) -> Answer<()> {
    let removed = tx
        .query_row("DELETE FROM content_rules WHERE id = ?1 RETURNING kind, text", [wanted.0], |row| {
            Ok(format!("{}: {}", row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    record(tx, audit_event::CONTENT_RULE_REMOVED, None, &removed.ok_or(AccountError::Overtaken)?, by, now)?;
    Ok(())
}

/// Flags whoever is behind a text in which a rule finds something.
pub fn look(tx: &Transaction<'_>, subject: UserId, place: &str, text: &str, now: u64) -> Answer<()> {
    let mut find = tx.prepare_cached("SELECT kind, text FROM content_rules ORDER BY kind, text LIMIT ?1")?;
    let rows = find.query_map([RULES_MAX], |row| Ok((kind(row, 0)?, row.get(1)?)))?;
    let found = judge(&rows.collect::<rusqlite::Result<Vec<_>>>()?, text);
    if found.is_empty() {
        return Ok(());
    }
    let detail = format!("{place}: {}", found.join(", "));
    flag(tx, &NewFlag { subject, rule: "CONTENT".to_owned(), detail, quiet_ms: HOUR_MS }, now)
}

pub fn signals(tx: &Transaction<'_>, now: u64) -> Answer<Signals> {
    let since = int(now.saturating_sub(HOUR_MS));
    let reports =
        tx.query_row("SELECT count(*) FROM reports WHERE created_at > ?1", [since], |row| uint(row, 0))?;
    let (busy, evading) = (flagged(tx, NEW_ACCOUNT)?, flagged(tx, EVASION)?);
    Ok(Signals { reports, busy, evading, same: flagged(tx, DUPLICATE)? })
}

fn flagged(tx: &Transaction<'_>, rule: &str) -> rusqlite::Result<Vec<Flagged>> {
    let mut find = tx.prepare_cached(
        "SELECT u.id, u.name, f.detail, f.created_at FROM flags f JOIN users u ON u.id = f.user_id
         WHERE f.status = 'OPEN' AND f.rule = ?1 ORDER BY f.created_at DESC LIMIT ?2",
    )?;
    let rows = find.query_map(params![rule, SIGNALS_MAX], |row| {
        Ok(Flagged { user: id(row, 0)?, name: row.get(1)?, detail: row.get(2)?, at: uint(row, 3)? })
    })?;
    rows.collect()
}

pub fn evaders(tx: &Transaction<'_>, now: u64) -> Answer<Vec<Evader>> {
    let since = int(now.saturating_sub(EVASION_WITHIN_MS));
    let mut find = tx.prepare_cached(
        "WITH fresh AS MATERIALIZED (SELECT id FROM users u WHERE status = 'ACTIVE' AND created_at > ?1
                                      AND NOT EXISTS (SELECT 1 FROM flags
                                        WHERE user_id = u.id AND rule = ?3 AND flags.created_at > ?1)
                                    ORDER BY created_at DESC LIMIT ?2),
              banned AS MATERIALIZED (SELECT id FROM users WHERE status = 'BANNED' AND banned_at > ?1
                                      ORDER BY banned_at DESC LIMIT ?2),
              own AS MATERIALIZED (SELECT DISTINCT f.id, a.ip_address FROM fresh f JOIN audit_logs a
                ON a.user_id = f.id AND a.actor_id = f.id AND a.ip_address IS NOT NULL),
              theirs AS MATERIALIZED (SELECT min(b.id) AS id, a.ip_address FROM banned b JOIN audit_logs a
                ON a.user_id = b.id AND a.actor_id = b.id AND a.ip_address IS NOT NULL GROUP BY a.ip_address),
              keys AS MATERIALIZED (SELECT min(b.id) AS id, k.identity_key FROM banned b
                JOIN key_bundles k ON k.user_id = b.id GROUP BY k.identity_key),
              found AS MATERIALIZED (
                SELECT f.id AS fresh, b.id AS banned, true AS by_device FROM fresh f
                  JOIN key_bundles k ON k.user_id = f.id JOIN keys b ON b.identity_key = k.identity_key
                UNION ALL SELECT own.id, theirs.id, false FROM own JOIN theirs ON theirs.ip_address = own.ip_address)
         SELECT fresh, banned, max(by_device) FROM found GROUP BY fresh ORDER BY fresh",
    )?;
    let rows = find.query_map(params![since, EVASION_ACCOUNTS_MAX, EVASION], |row| {
        Ok(Evader { user: id(row, 0)?, banned: id(row, 1)?, by_device: row.get(2)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
