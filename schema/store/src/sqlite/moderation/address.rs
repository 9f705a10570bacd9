//! Banned addresses and blocks of them: one moderator asks for a ban, another one agrees, any of them lifts it.

use rusqlite::{OptionalExtension, Row, Transaction, params};
use schema_wire::Network;

use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::moderation::{must_be_narrow, must_be_told};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{AddressBan, AddressBanId, AddressBanRequest};
use crate::sqlite::account::admin::set_address_ban;
use crate::sqlite::account::audit::record;
use crate::sqlite::value::{id, uint, uint_opt, unknown};
use crate::stored::int;

const ROW: &str = "SELECT r.id, r.network, r.reason, r.asked_by, coalesce(a.name, ''), r.asked_at
     FROM address_ban_requests r LEFT JOIN users a ON a.id = r.asked_by";

pub fn ask(
    tx: &Transaction<'_>,
    network: Network,
    reason: &str,
    by: &Origin,
    now: u64,
) -> Answer<AddressBanId> {
    let asker = by.actor.ok_or(AccountError::NotAllowed)?;
    must_be_narrow(network)?;
    must_be_told("reason", reason)?;
    let text = network.to_string();
    let request = AddressBanId(crate::fresh_id(now));
    let asked = tx.execute(
        "INSERT INTO address_ban_requests (id, network, reason, asked_by, asked_at)
         SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS (SELECT 1 FROM banned_ips WHERE ip_address = ?2)
         ON CONFLICT DO NOTHING",
        params![request.0, text, reason.trim(), asker.0, int(now)],
    )?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::ADDRESS_BAN_ASKED, None, &format!("{text}: {reason}"), by, now)?;
    Ok(request)
}

pub fn withdraw(tx: &Transaction<'_>, wanted: AddressBanId, by: &Origin, now: u64) -> Answer<()> {
    let request = take(tx, wanted)?;
    record(tx, audit_event::ADDRESS_BAN_WITHDRAWN, None, &request.network.to_string(), by, now)?;
    Ok(())
}

pub fn agree(tx: &Transaction<'_>, wanted: AddressBanId, by: &Origin, now: u64) -> Answer<Network> {
    let request = take(tx, wanted)?;
    if by.actor.is_none_or(|agrees| agrees == request.asked_by) {
        return Err(AccountError::NotAllowed);
    }
    set_address_ban(tx, request.network, true, &request.reason, by, now)?;
    Ok(request.network)
}

/// The request, which is none any more once the transaction ends well.
fn take(tx: &Transaction<'_>, wanted: AddressBanId) -> Answer<AddressBanRequest> {
    let found = tx.query_row(&format!("{ROW} WHERE r.id = ?1"), [wanted.0], request).optional()?;
    let found = found.ok_or(AccountError::Overtaken)?;
    tx.execute("DELETE FROM address_ban_requests WHERE id = ?1", [wanted.0])?;
    Ok(found)
}

pub fn asked(tx: &Transaction<'_>, limit: u32) -> Answer<Vec<AddressBanRequest>> {
    let mut find = tx.prepare_cached(&format!("{ROW} ORDER BY r.asked_at LIMIT ?1"))?;
    let rows = find.query_map([page(limit)], request)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn request(row: &Row<'_>) -> rusqlite::Result<AddressBanRequest> {
    Ok(AddressBanRequest {
        id: id(row, 0)?,
        network: network(row, 1)?,
        reason: row.get(2)?,
        asked_by: id(row, 3)?,
        asker: row.get(4)?,
        asked_at: uint(row, 5)?,
    })
}

fn network(row: &Row<'_>, column: usize) -> rusqlite::Result<Network> {
    Network::parse(&row.get::<_, String>(column)?).ok_or_else(|| unknown(column))
}

pub fn list(tx: &Transaction<'_>, before: Option<u64>, limit: u32, now: u64) -> Answer<Vec<AddressBan>> {
    let mut find = tx.prepare_cached(
        "SELECT b.id, b.ip_address, b.reason, coalesce(u.name, ''), b.created_at, b.expires_at
         FROM banned_ips b LEFT JOIN users u ON u.id = b.created_by
         WHERE b.id < ?1 AND (b.expires_at IS NULL OR b.expires_at > ?2) ORDER BY b.id DESC LIMIT ?3",
    )?;
    let rows = find.query_map(params![int(before.unwrap_or(u64::MAX)), int(now), page(limit)], |row| {
        Ok(AddressBan {
            id: uint(row, 0)?,
            network: network(row, 1)?,
            reason: row.get(2)?,
            by: row.get(3)?,
            created_at: uint(row, 4)?,
            expires_at: uint_opt(row, 5)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
