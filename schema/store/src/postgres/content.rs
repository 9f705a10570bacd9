//! Rules about contents, kept and applied; what is worth a look besides the cases.

use schema_wire::UserId;
use tokio_postgres::Row;

use super::account::audit::record;
use super::fault::Failed;
use super::moderation::report::flag;
use super::transaction::Tx;
use super::value::{At, Id, id, time, uint};
use crate::accounts::{AccountError, Answer};
use crate::content::{RULES_MAX, judge, must_be_rule};
use crate::detection::{
    DUPLICATE, EVASION, EVASION_ACCOUNTS_MAX, EVASION_WITHIN_MS, HOUR_MS, NEW_ACCOUNT, SIGNALS_MAX,
};
use crate::rows::account::{Origin, audit_event};
use crate::rows::detection::{ContentKind, ContentRule, ContentRuleId, Evader, Flagged, Signals};
use crate::rows::moderation::NewFlag;

pub async fn rules(tx: &Tx) -> Answer<Vec<ContentRule>> {
    let rows = tx
        .query(
            "SELECT r.id, r.kind, r.text, coalesce(u.name, ''), r.created_at FROM content_rules r
             LEFT JOIN users u ON u.id = r.created_by ORDER BY r.kind, r.text LIMIT $1",
            &[&i64::from(RULES_MAX)],
        )
        .await?;
    let read = |row: &Row| {
        Ok(ContentRule {
            id: id(row, 0)?,
            kind: kind(row, 1)?,
            text: row.try_get(2)?,
            made_by: row.try_get(3)?,
            created_at: time(row, 4)?,
        })
    };
    rows.iter().map(read).collect()
}

fn kind(row: &Row, column: usize) -> Answer<ContentKind> {
    ContentKind::parse(row.try_get(column)?).ok_or_else(|| Failed::Unreadable("a kind of rule").into())
}

pub async fn add(tx: &Tx, kind: ContentKind, text: &str, by: &Origin, now: u64) -> Answer<ContentRuleId> {
    let text = must_be_rule(kind, text)?;
    let present = tx.query_one("SELECT count(*) FROM content_rules", &[]).await?;
    if uint(&present, 0)? >= u64::from(RULES_MAX) {
        return Err(AccountError::TooMany { limit: RULES_MAX as usize });
    }
    let rule = ContentRuleId(crate::fresh_id(now));
    let added = tx
        .execute(
            "INSERT INTO content_rules (id, kind, text, created_by, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING",
            &[&Id(rule.0), &kind.name(), &text, &by.actor.map(|user| Id(user.0)), &At(now)],
        )
        .await?;
    if added == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::CONTENT_RULE_ADDED, None, &format!("{}: {text}", kind.name()), by, now).await?;
    Ok(rule)
}

pub async fn remove(tx: &Tx, wanted: ContentRuleId, by: &Origin, now: u64) -> Answer<()> {
    let removed = tx
        .query_opt("DELETE FROM content_rules WHERE id = $1 RETURNING kind || ': ' || text", &[&Id(wanted.0)])
        .await?;
    let detail: String = removed.ok_or(AccountError::Overtaken)?.try_get(0)?;
    record(tx, audit_event::CONTENT_RULE_REMOVED, None, &detail, by, now).await?;
    Ok(())
}

/// Flags whoever is behind a text in which a rule finds something. The caller holds the account's own lock.
pub async fn look(tx: &Tx, subject: UserId, place: &str, text: &str, now: u64) -> Answer<()> {
    let find = "SELECT kind, text FROM content_rules ORDER BY kind, text LIMIT $1";
    let rows = tx.query(find, &[&i64::from(RULES_MAX)]).await?;
    let rules = rows.iter().map(|row| Ok((kind(row, 0)?, row.try_get(1)?))).collect::<Answer<Vec<_>>>()?;
    let found = judge(&rules, text);
    if found.is_empty() {
        return Ok(());
    }
    let detail = format!("{place}: {}", found.join(", "));
    flag(tx, &NewFlag { subject, rule: "CONTENT".to_owned(), detail, quiet_ms: HOUR_MS }, now).await
}

pub async fn signals(tx: &Tx, now: u64) -> Answer<Signals> {
    let since = At(now.saturating_sub(HOUR_MS));
    let reports = tx.query_one("SELECT count(*) FROM reports WHERE created_at > $1", &[&since]).await?;
    Ok(Signals {
        reports: uint(&reports, 0)?,
        busy: flagged(tx, NEW_ACCOUNT).await?,
        evading: flagged(tx, EVASION).await?,
        same: flagged(tx, DUPLICATE).await?,
    })
}

async fn flagged(tx: &Tx, rule: &str) -> Answer<Vec<Flagged>> {
    let rows = tx
        .query(
            "SELECT u.id, u.name, f.detail, f.created_at FROM flags f JOIN users u ON u.id = f.user_id
             WHERE f.status = 'OPEN' AND f.rule = $1 ORDER BY f.created_at DESC LIMIT $2",
            &[&rule, &i64::from(SIGNALS_MAX)],
        )
        .await?;
    let read = |row: &Row| {
        Ok(Flagged { user: id(row, 0)?, name: row.try_get(1)?, detail: row.try_get(2)?, at: time(row, 3)? })
    };
    rows.iter().map(read).collect()
}

pub async fn evaders(tx: &Tx, now: u64) -> Answer<Vec<Evader>> {
    let since = At(now.saturating_sub(EVASION_WITHIN_MS));
    let rows = tx
        .query(
            "WITH fresh AS MATERIALIZED (SELECT id FROM users u WHERE status = 'ACTIVE' AND created_at > $1
                                          AND NOT EXISTS (SELECT 1 FROM flags
                                            WHERE user_id = u.id AND rule = $3 AND flags.created_at > $1)
                                        ORDER BY created_at DESC LIMIT $2),
                  banned AS MATERIALIZED (SELECT id FROM users WHERE status = 'BANNED' AND banned_at > $1
                                          ORDER BY banned_at DESC LIMIT $2),
                  own AS MATERIALIZED (SELECT f.id, a.ip_address FROM fresh f CROSS JOIN LATERAL (
                    SELECT DISTINCT ip_address FROM audit_logs
                    WHERE user_id = f.id AND actor_id = f.id AND ip_address IS NOT NULL) a),
                  theirs AS MATERIALIZED (SELECT DISTINCT ON (a.ip_address) b.id, a.ip_address
                    FROM banned b CROSS JOIN LATERAL (SELECT DISTINCT ip_address FROM audit_logs
                      WHERE user_id = b.id AND actor_id = b.id AND ip_address IS NOT NULL) a
                    ORDER BY a.ip_address, b.id),
                  keys AS MATERIALIZED (SELECT DISTINCT ON (k.identity_key) b.id, k.identity_key
                    FROM banned b JOIN key_bundles k ON k.user_id = b.id ORDER BY k.identity_key, b.id)
             SELECT DISTINCT ON (fresh) fresh, banned, by_device FROM (
               SELECT f.id, b.id, true FROM fresh f JOIN key_bundles k ON k.user_id = f.id
                 JOIN keys b ON b.identity_key = k.identity_key
               UNION ALL SELECT own.id, theirs.id, false FROM own JOIN theirs ON theirs.ip_address = own.ip_address
             ) AS found (fresh, banned, by_device) ORDER BY fresh, by_device DESC, banned",
            &[&since, &i64::from(EVASION_ACCOUNTS_MAX), &EVASION],
        )
        .await?;
    let read = |row: &Row| Ok(Evader { user: id(row, 0)?, banned: id(row, 1)?, by_device: row.try_get(2)? });
    rows.iter().map(read).collect()
}
