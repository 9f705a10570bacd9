//! Notes about accounts.

use rusqlite::{Transaction, params};
use schema_wire::UserId;

use crate::accounts::{AccountError, Answer};
use crate::moderation::must_be_told;
use crate::rows::account::{Origin, audit_event};
use crate::sqlite::account::audit::record;
use crate::sqlite::account::standing_of;
use crate::stored::int;

pub fn add(tx: &Transaction<'_>, subject: UserId, text: &str, by: &Origin, now: u64) -> Answer<()> {
    let author = by.actor.ok_or(AccountError::NotAllowed)?;
    must_be_told("note", text)?;
    standing_of(tx, subject, now)?;
    tx.execute(
        "INSERT INTO moderation_notes (id, user_id, author_id, text, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![crate::fresh_id(now), subject.0, author.0, text.trim(), int(now)],
    )?;
    record(tx, audit_event::NOTE_ADDED, Some(subject), "", by, now)?;
    Ok(())
}
