//! Data export: each section is one query; its first three columns say where the next page begins.

use bytes::Bytes;
use schema_wire::UserId;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::standing_of;
use crate::accept::page;
use crate::accounts::Answer;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id};
use crate::rows::export::{ExportPage, ExportPlace, ExportRecord, ExportValue};
use crate::stored::int;

/// Columns that say where a page begins.
const PLACE_COLUMNS: usize = 3;

/// Section and query. $1: the user; $2, $3 and $4: where the page begins (exclusive), a number, an id and an
/// offset; $5: how many.
const SECTIONS: [(&str, &str); 14] = [
    (
        "profile",
        "SELECT 1::bigint, $3, $4, id, email, name, about, role, status, email_verified_at, created_at, updated_at,
           last_active_at, suspended_at, suspended_until, suspension_reason
         FROM users WHERE id = $1 AND $2 < 1 LIMIT $5",
    ),
    (
        "devices",
        "SELECT 0::bigint, id, $4, id, name, created_at, last_seen_at, revoked_at FROM devices
         WHERE user_id = $1 AND (0, id) > ($2, $3) ORDER BY id LIMIT $5",
    ),
    (
        "keys",
        "SELECT 0::bigint, device_id, $4, device_id, identity_key, published_at FROM key_bundles
         WHERE user_id = $1 AND (0, device_id) > ($2, $3) ORDER BY device_id LIMIT $5",
    ),
    (
        "conversations",
        "SELECT m.joined_version, m.conversation_id, $4, m.conversation_id, c.kind, c.name, m.role, m.joined_at, m.left_at,
           m.joined_offset, m.left_offset
         FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
         WHERE m.user_id = $1 AND (m.conversation_id, m.joined_version) > ($3, $2)
         ORDER BY m.conversation_id, m.joined_version LIMIT $5",
    ),
    (
        "messages",
        "SELECT (extract(epoch FROM created_at) * 1000000)::bigint, conversation_id, log_offset, id, conversation_id,
           log_offset, kind, device_id, created_at, relates_to, expires_at, gone, deleted_at, body
         FROM messages
         WHERE sender_id = $1 AND (created_at, conversation_id, log_offset)
           > ('epoch'::timestamptz + $2 * interval '1 microsecond', $3, $4)
         ORDER BY created_at, conversation_id, log_offset LIMIT $5",
    ),
    (
        "cursors",
        "SELECT 0::bigint, conversation_id, $4, conversation_id, log_offset, updated_at FROM cursors
         WHERE user_id = $1 AND (0, conversation_id) > ($2, $3) ORDER BY conversation_id LIMIT $5",
    ),
    (
        "blocks",
        "SELECT 0::bigint, blocked_id, $4, blocked_id, created_at FROM blocks
         WHERE user_id = $1 AND (0, blocked_id) > ($2, $3) ORDER BY blocked_id LIMIT $5",
    ),
    (
        "invitations",
        "SELECT 0::bigint, conversation_id, $4, conversation_id, invited_by, invited_at FROM group_invitations
         WHERE user_id = $1 AND (0, conversation_id) > ($2, $3) ORDER BY conversation_id LIMIT $5",
    ),
    (
        "settings",
        "SELECT $2 + row_number() OVER (ORDER BY name), $3, $4, name, value, updated_at
         FROM settings WHERE user_id = $1 ORDER BY name LIMIT $5 OFFSET $2",
    ),
    (
        "media",
        "SELECT 0::bigint, id, $4, id, s3_key, size, status, created_at, deleted_at FROM media_files
         WHERE user_id = $1 AND (0, id) > ($2, $3) ORDER BY id LIMIT $5",
    ),
    (
        "reports",
        "SELECT 0::bigint, id, $4, id, reported_user_id, conversation_id, message_offset, reason, status, created_at
         FROM reports WHERE reporter_id = $1 AND (0, id) > ($2, $3) ORDER BY id LIMIT $5",
    ),
    (
        "appeals",
        "SELECT 0::bigint, decision_id, $4, decision_id, text, state, created_at, answer, answered_at
         FROM moderation_appeals WHERE user_id = $1 AND (0, decision_id) > ($2, $3) ORDER BY decision_id LIMIT $5",
    ),
    (
        "sessions",
        "SELECT $2 + row_number() OVER (ORDER BY created_at, token_hash), $3, $4, device_id, created_at, expires_at,
           used_at, revoked_at
         FROM refresh_tokens WHERE user_id = $1 ORDER BY created_at, token_hash LIMIT $5 OFFSET $2",
    ),
    (
        "audit",
        "SELECT id, $3, $4, event_type, abbrev(ip_address) AS ip_address, user_agent, detail, created_at FROM audit_logs
         WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $5",
    ),
];

pub async fn export(tx: &Tx, user: UserId, place: &ExportPlace, limit: u32, now: u64) -> Answer<ExportPage> {
    standing_of(tx, user, now).await?;
    let limit = page(limit) as usize;
    let (mut records, mut place) = (Vec::new(), place.clone());
    while let Some((section, query)) = SECTIONS.get(place.section) {
        let room = limit - records.len();
        let (after, after_id, after_offset) = (place.after, Id(place.after_id), place.after_offset);
        let found = tx.query(query, &[&Id(user.0), &after, &after_id, &after_offset, &(room as i64)]).await?;
        for row in &found {
            place.after = row.try_get(0)?;
            place.after_id = row.try_get::<_, Id>(1)?.0;
            place.after_offset = row.try_get(2)?;
            records.push(ExportRecord { section, fields: fields(row)? });
        }
        if found.len() < room {
            place = ExportPlace { section: place.section + 1, ..ExportPlace::default() };
        } else {
            return Ok(ExportPage { records, next: Some(place) });
        }
    }
    Ok(ExportPage { records, next: None })
}

fn fields(row: &Row) -> Answer<Vec<(String, ExportValue)>> {
    let names = row.columns().iter().enumerate().skip(PLACE_COLUMNS);
    names.map(|(column, c)| Ok((c.name().to_owned(), value(row, column, c.type_())?))).collect()
}

fn value(row: &Row, column: usize, kind: &Type) -> Answer<ExportValue> {
    let value = match *kind {
        Type::UUID => {
            row.try_get::<_, Option<Id>>(column)?.map(|id| ExportValue::Text(UserId(id.0).to_string()))
        }
        Type::TIMESTAMPTZ => row.try_get::<_, Option<At>>(column)?.map(|at| ExportValue::Number(int(at.0))),
        Type::INT8 => row.try_get::<_, Option<i64>>(column)?.map(ExportValue::Number),
        Type::INT2 => row.try_get::<_, Option<i16>>(column)?.map(|n| ExportValue::Number(n.into())),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(column)?.map(|b| ExportValue::Bytes(Bytes::from(b))),
        _ => row.try_get::<_, Option<String>>(column)?.map(ExportValue::Text),
    };
    Ok(value.unwrap_or(ExportValue::Null))
}
