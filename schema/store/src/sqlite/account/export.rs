//! Data export: each section is one query; its first column says where the next page begins.

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Row, Transaction, params};
use schema_wire::UserId;

use super::standing_of;
use crate::accept::page;
use crate::accounts::Answer;
use crate::rows::export::{ExportPage, ExportPlace, ExportRecord, ExportValue};

/// Section and query. ?1: the user, ?2: where the page begins (exclusive), ?3: how many.
const SECTIONS: [(&str, &str); 14] = [
    (
        "profile",
        "SELECT 1, id, email, name, about, role, status, email_verified_at, created_at, updated_at, last_active_at,
           suspended_at, suspended_until, suspension_reason
         FROM users WHERE id = ?1 AND ?2 < 1 LIMIT ?3",
    ),
    (
        "devices",
        "SELECT rowid, id, name, created_at, last_seen_at, revoked_at FROM devices
         WHERE user_id = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3",
    ),
    (
        "keys",
        "SELECT rowid, device_id, identity_key, published_at FROM key_bundles
         WHERE user_id = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3",
    ),
    (
        "conversations",
        "SELECT ?2 + row_number() OVER (ORDER BY m.conversation_id, m.joined_version), m.conversation_id, c.kind,
           c.name, m.role, m.joined_at, m.left_at, m.joined_offset, m.left_offset
         FROM conversation_members m JOIN conversations c ON c.id = m.conversation_id
         WHERE m.user_id = ?1 ORDER BY m.conversation_id, m.joined_version LIMIT ?3 OFFSET ?2",
    ),
    (
        "messages",
        "SELECT rowid, id, conversation_id, log_offset, kind, device_id, created_at, relates_to, expires_at, gone,
           deleted_at, body
         FROM messages WHERE sender_id = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3",
    ),
    (
        "cursors",
        "SELECT ?2 + row_number() OVER (ORDER BY conversation_id), conversation_id, log_offset, updated_at
         FROM cursors WHERE user_id = ?1 ORDER BY conversation_id LIMIT ?3 OFFSET ?2",
    ),
    (
        "blocks",
        "SELECT ?2 + row_number() OVER (ORDER BY blocked_id), blocked_id, created_at
         FROM blocks WHERE user_id = ?1 ORDER BY blocked_id LIMIT ?3 OFFSET ?2",
    ),
    (
        "invitations",
        "SELECT ?2 + row_number() OVER (ORDER BY conversation_id), conversation_id, invited_by, invited_at
         FROM group_invitations WHERE user_id = ?1 ORDER BY conversation_id LIMIT ?3 OFFSET ?2",
    ),
    (
        "settings",
        "SELECT ?2 + row_number() OVER (ORDER BY name), name, value, updated_at
         FROM settings WHERE user_id = ?1 ORDER BY name LIMIT ?3 OFFSET ?2",
    ),
    (
        "media",
        "SELECT rowid, id, s3_key, size, status, created_at, deleted_at FROM media_files
         WHERE user_id = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3",
    ),
    (
        "reports",
        "SELECT rowid, id, reported_user_id, conversation_id, message_offset, reason, status, created_at
         FROM reports WHERE reporter_id = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3",
    ),
    (
        "appeals",
        "SELECT ?2 + row_number() OVER (ORDER BY decision_id), decision_id, text, state, created_at, answer, answered_at
         FROM moderation_appeals WHERE user_id = ?1 ORDER BY decision_id LIMIT ?3 OFFSET ?2",
    ),
    (
        "sessions",
        "SELECT ?2 + row_number() OVER (ORDER BY created_at, token_hash), device_id, created_at, expires_at, used_at,
           revoked_at
         FROM refresh_tokens WHERE user_id = ?1 ORDER BY created_at, token_hash LIMIT ?3 OFFSET ?2",
    ),
    (
        "audit",
        "SELECT id, event_type, ip_address, user_agent, detail, created_at FROM audit_logs
         WHERE user_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    ),
];

pub fn export(
    tx: &Transaction<'_>,
    user: UserId,
    place: &ExportPlace,
    limit: u32,
    now: u64,
) -> Answer<ExportPage> {
    standing_of(tx, user, now)?;
    let limit = page(limit) as usize;
    let (mut records, mut place) = (Vec::new(), place.clone());
    while let Some((section, query)) = SECTIONS.get(place.section) {
        let room = limit - records.len();
        let mut find = tx.prepare_cached(query)?;
        let names: Vec<String> = find.column_names().skip(1).map(str::to_owned).collect();
        let mut rows = find.query(params![user.0, place.after, room as i64])?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            place.after = row.get(0)?;
            records.push(ExportRecord { section, fields: fields(row, &names)? });
            found += 1;
        }
        if found < room {
            place = ExportPlace { section: place.section + 1, ..ExportPlace::default() };
        } else {
            return Ok(ExportPage { records, next: Some(place) });
        }
    }
    Ok(ExportPage { records, next: None })
}

fn fields(row: &Row<'_>, names: &[String]) -> rusqlite::Result<Vec<(String, ExportValue)>> {
    names.iter().enumerate().map(|(i, name)| Ok((name.clone(), value(name, row.get_ref(i + 1)?)))).collect()
}

fn value(name: &str, value: ValueRef<'_>) -> ExportValue {
    match value {
        ValueRef::Null => ExportValue::Null,
        ValueRef::Integer(n) => ExportValue::Number(n),
        ValueRef::Real(x) => ExportValue::Text(x.to_string()),
        ValueRef::Text(text) => ExportValue::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) if name == "id" || name.ends_with("_id") => {
            ExportValue::Text(UserId::from_slice(bytes).unwrap_or_default().to_string())
        }
        ValueRef::Blob(bytes) => ExportValue::Bytes(Bytes::copy_from_slice(bytes)),
    }
}
