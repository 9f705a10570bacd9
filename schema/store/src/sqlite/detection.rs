//! How much active accounts send: found by when they were last active, counted by the index on their messages.

use rusqlite::params;

use super::value::{id, int, uint};
use super::{SqliteStore, content};
use crate::accounts::Answer;
use crate::detection::{
    ACTIVE_WITHIN_MS, COMPARED_MAX, COUNTED_MAX, Detection, MINUTE_MS, NEW_FOR_MS, SAME_WITHIN_MS,
    SENDERS_MAX, Sender,
};
use crate::rows::account::Origin;
use crate::rows::detection::{ContentKind, ContentRule, ContentRuleId, Evader, Signals};

const SENDERS: &str = "SELECT u.id, u.role <> 'USER',
       (SELECT count(*) FROM (SELECT 1 FROM messages m WHERE m.sender_id = u.id AND m.created_at > ?2 LIMIT ?7)),
       iif(u.created_at > ?3,
         (SELECT count(*) FROM (SELECT 1 FROM messages m WHERE m.sender_id = u.id AND m.created_at > ?3 LIMIT ?7)), 0),
       (SELECT coalesce(max(n), 0) FROM (
          SELECT count(DISTINCT newest.conversation_id) AS n FROM (
            SELECT m.conversation_id, coalesce(m.commitment, m.body) AS content FROM messages m
            WHERE m.sender_id = u.id AND m.created_at > ?4 AND m.gone IS NULL
            ORDER BY m.created_at DESC LIMIT ?8) newest
          GROUP BY newest.content))
     FROM (SELECT id, role, created_at FROM users WHERE status = 'ACTIVE' AND last_active_at > ?1
           ORDER BY last_active_at DESC LIMIT ?6) u
     WHERE (SELECT count(*) FROM (SELECT 1 FROM messages m WHERE m.sender_id = u.id AND m.created_at > ?4 LIMIT ?5)) >= ?5";

impl Detection for SqliteStore {
    async fn senders(&self, at_least: u64) -> Answer<Vec<Sender>> {
        self.read(move |tx, now| {
            let before = |ms: u64| int(now.saturating_sub(ms));
            let mut find = tx.prepare_cached(SENDERS)?;
            let arguments = params![
                before(ACTIVE_WITHIN_MS),
                before(MINUTE_MS),
                before(NEW_FOR_MS),
                before(SAME_WITHIN_MS),
                int(at_least),
                SENDERS_MAX,
                COUNTED_MAX,
                COMPARED_MAX
            ];
            let rows = find.query_map(arguments, |row| {
                Ok(Sender {
                    user: id(row, 0)?,
                    is_staff: row.get(1)?,
                    minute: uint(row, 2)?,
                    first_day: uint(row, 3)?,
                    same: uint(row, 4)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    async fn evaders(&self) -> Answer<Vec<Evader>> {
        self.read(content::evaders).await
    }

    async fn signals(&self) -> Answer<Signals> {
        self.read(content::signals).await
    }

    async fn content_rules(&self) -> Answer<Vec<ContentRule>> {
        self.read(move |tx, _| content::rules(tx)).await
    }

    async fn add_content_rule(&self, kind: ContentKind, text: String, by: Origin) -> Answer<ContentRuleId> {
        self.write(move |tx, now| content::add(tx, kind, &text, &by, now)).await
    }

    async fn remove_content_rule(&self, wanted: ContentRuleId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| content::remove(tx, wanted, &by, now)).await
    }
}
