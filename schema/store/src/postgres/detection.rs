//! How much active accounts send: found by when they were last active, counted by the index on their messages.

use tokio_postgres::Row;

use super::value::{At, id, uint};
use super::{PostgresStore, content};
use crate::accounts::Answer;
use crate::detection::{
    ACTIVE_WITHIN_MS, COMPARED_MAX, COUNTED_MAX, Detection, MINUTE_MS, NEW_FOR_MS, SAME_WITHIN_MS,
    SENDERS_MAX, Sender,
};
use crate::rows::account::Origin;
use crate::rows::detection::{ContentKind, ContentRule, ContentRuleId, Evader, Signals};
use crate::stored::int;

const SENDERS: &str = "SELECT u.id, u.role <> 'USER',
       (SELECT count(*) FROM (
          SELECT FROM messages m WHERE m.sender_id = u.id AND m.created_at > $2 LIMIT $7) counted),
       CASE WHEN u.created_at > $3
         THEN (SELECT count(*) FROM (
           SELECT FROM messages m WHERE m.sender_id = u.id AND m.created_at > $3 LIMIT $7) counted) ELSE 0 END,
       (SELECT coalesce(max(n), 0) FROM (
          SELECT count(DISTINCT newest.conversation_id) AS n FROM (
            SELECT m.conversation_id, coalesce(m.commitment, m.body) AS content FROM messages m
            WHERE m.sender_id = u.id AND m.created_at > $4 AND m.gone IS NULL
            ORDER BY m.created_at DESC LIMIT $8) newest
          GROUP BY sha256(newest.content)) same)
     FROM (SELECT id, role, created_at FROM users WHERE status = 'ACTIVE' AND last_active_at > $1
           ORDER BY last_active_at DESC LIMIT $6) u
     WHERE (SELECT count(*) FROM (
       SELECT FROM messages m WHERE m.sender_id = u.id AND m.created_at > $4 LIMIT $5) counted) >= $5";

impl Detection for PostgresStore {
    async fn senders(&self, at_least: u64) -> Answer<Vec<Sender>> {
        self.read(async move |tx, now| {
            let before = |ms: u64| At(now.saturating_sub(ms));
            let (active, minute) = (before(ACTIVE_WITHIN_MS), before(MINUTE_MS));
            let (day, hour) = (before(NEW_FOR_MS), before(SAME_WITHIN_MS));
            let most = [SENDERS_MAX, COUNTED_MAX, COMPARED_MAX].map(i64::from);
            let least = int(at_least);
            let rows = tx
                .query(SENDERS, &[&active, &minute, &day, &hour, &least, &most[0], &most[1], &most[2]])
                .await?;
            let read = |row: &Row| {
                Ok(Sender {
                    user: id(row, 0)?,
                    is_staff: row.try_get(1)?,
                    minute: uint(row, 2)?,
                    first_day: uint(row, 3)?,
                    same: uint(row, 4)?,
                })
            };
            rows.iter().map(read).collect()
        })
        .await
    }

    async fn evaders(&self) -> Answer<Vec<Evader>> {
        self.read(async move |tx, now| content::evaders(tx, now).await).await
    }

    async fn signals(&self) -> Answer<Signals> {
        self.read(async move |tx, now| content::signals(tx, now).await).await
    }

    async fn content_rules(&self) -> Answer<Vec<ContentRule>> {
        self.read(async move |tx, _| content::rules(tx).await).await
    }

    async fn add_content_rule(&self, kind: ContentKind, text: String, by: Origin) -> Answer<ContentRuleId> {
        self.write(async move |tx, now| content::add(tx, kind, &text, &by, now).await).await
    }

    async fn remove_content_rule(&self, wanted: ContentRuleId, by: Origin) -> Answer<()> {
        self.write(async move |tx, now| content::remove(tx, wanted, &by, now).await).await
    }
}
