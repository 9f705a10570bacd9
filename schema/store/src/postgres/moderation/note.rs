//! Notes about accounts.

use schema_wire::UserId;

use crate::accounts::{AccountError, Answer};
use crate::moderation::must_be_told;
use crate::postgres::account::audit::record;
use crate::postgres::account::{own, standing_of};
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id};
use crate::rows::account::{Origin, audit_event};

pub async fn add(tx: &Tx, subject: UserId, text: &str, by: &Origin, now: u64) -> Answer<()> {
    let author = by.actor.ok_or(AccountError::NotAllowed)?;
    must_be_told("note", text)?;
    own(tx, subject).await?;
    standing_of(tx, subject, now).await?;
    tx.execute(
        "INSERT INTO moderation_notes (id, user_id, author_id, text, created_at) VALUES ($1, $2, $3, $4, $5)",
        &[&Id(crate::fresh_id(now)), &Id(subject.0), &Id(author.0), &text.trim(), &At(now)],
    )
    .await?;
    record(tx, audit_event::NOTE_ADDED, Some(subject), "", by, now).await?;
    Ok(())
}
