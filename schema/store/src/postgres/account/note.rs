//! What the change log is told, in the transaction of what it tells.

use schema_wire::{ConversationId, DeviceId, UserId};

use crate::accounts::Answer;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id};
use crate::stored::int;

pub async fn note_devices_revoked(tx: &Tx, user: UserId, devices: &[DeviceId], now: u64) -> Answer<()> {
    let devices: Vec<Id> = devices.iter().map(|device| Id(device.0)).collect();
    tx.execute(
        "INSERT INTO change_log (kind, user_id, device_id, created_at)
         SELECT 'DEVICE_REVOKED', $1, device, $3 FROM unnest($2) AS device",
        &[&Id(user.0), &devices, &At(now)],
    )
    .await?;
    Ok(())
}

/// `not_before`: unix seconds.
pub async fn note_tokens_revoked(tx: &Tx, user: UserId, not_before: u64, now: u64) -> Answer<()> {
    tx.execute(
        "INSERT INTO change_log (kind, user_id, number, created_at) VALUES ('TOKENS_REVOKED', $1, $2, $3)",
        &[&Id(user.0), &int(not_before), &At(now)],
    )
    .await?;
    Ok(())
}

pub async fn note_members(tx: &Tx, conversation: ConversationId, version: u64, now: u64) -> Answer<()> {
    tx.execute(
        "INSERT INTO change_log (kind, conversation_id, number, created_at) VALUES ('MEMBERS', $1, $2, $3)",
        &[&Id(conversation.0), &int(version), &At(now)],
    )
    .await?;
    Ok(())
}
