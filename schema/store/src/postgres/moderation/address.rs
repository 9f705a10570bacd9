//! Banned addresses and blocks of them: one moderator asks for a ban, another one agrees, any of them lifts it. A request
//! is deleted by whoever decides about it, so that two can't do so.

use schema_wire::Network;
use tokio_postgres::Row;

use crate::accept::page;
use crate::accounts::{AccountError, Answer};
use crate::moderation::{must_be_narrow, must_be_told};
use crate::postgres::account::admin::set_address_ban;
use crate::postgres::account::audit::record;
use crate::postgres::fault::Failed;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, time, time_opt, uint};
use crate::rows::account::{Origin, audit_event};
use crate::rows::moderation::{AddressBan, AddressBanId, AddressBanRequest};
use crate::stored::int;

const COLUMNS: &str = "r.id, abbrev(r.network), r.reason, r.asked_by, coalesce(a.name, ''), r.asked_at";

pub async fn ask(tx: &Tx, network: Network, reason: &str, by: &Origin, now: u64) -> Answer<AddressBanId> {
    let asker = by.actor.ok_or(AccountError::NotAllowed)?;
    must_be_narrow(network)?;
    must_be_told("reason", reason)?;
    let text = network.to_string();
    let request = AddressBanId(crate::fresh_id(now));
    let asked = tx
        .execute(
            "INSERT INTO address_ban_requests (id, network, reason, asked_by, asked_at)
             SELECT $1, $2::inet, $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM banned_ips WHERE ip_address = $2::inet)
             ON CONFLICT DO NOTHING",
            &[&Id(request.0), &text, &reason.trim(), &Id(asker.0), &At(now)],
        )
        .await?;
    if asked == 0 {
        return Err(AccountError::Overtaken);
    }
    record(tx, audit_event::ADDRESS_BAN_ASKED, None, &format!("{text}: {reason}"), by, now).await?;
    Ok(request)
}

pub async fn withdraw(tx: &Tx, wanted: AddressBanId, by: &Origin, now: u64) -> Answer<()> {
    let request = take(tx, wanted).await?;
    record(tx, audit_event::ADDRESS_BAN_WITHDRAWN, None, &request.network.to_string(), by, now).await?;
    Ok(())
}

pub async fn agree(tx: &Tx, wanted: AddressBanId, by: &Origin, now: u64) -> Answer<Network> {
    let request = take(tx, wanted).await?;
    if by.actor.is_none_or(|agrees| agrees == request.asked_by) {
        return Err(AccountError::NotAllowed);
    }
    set_address_ban(tx, request.network, true, &request.reason, by, now).await?;
    Ok(request.network)
}

/// The request, which is none any more once the transaction ends well.
async fn take(tx: &Tx, wanted: AddressBanId) -> Answer<AddressBanRequest> {
    let sql = format!(
        "WITH r AS (DELETE FROM address_ban_requests WHERE id = $1 RETURNING *)
         SELECT {COLUMNS} FROM r LEFT JOIN users a ON a.id = r.asked_by"
    );
    let found = tx.query_opt(&sql, &[&Id(wanted.0)]).await?;
    request(&found.ok_or(AccountError::Overtaken)?)
}

pub async fn asked(tx: &Tx, limit: u32) -> Answer<Vec<AddressBanRequest>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM address_ban_requests r LEFT JOIN users a ON a.id = r.asked_by
         ORDER BY r.asked_at LIMIT $1"
    );
    tx.query(&sql, &[&i64::from(page(limit))]).await?.iter().map(request).collect()
}

fn request(row: &Row) -> Answer<AddressBanRequest> {
    Ok(AddressBanRequest {
        id: id(row, 0)?,
        network: network(row, 1)?,
        reason: row.try_get(2)?,
        asked_by: id(row, 3)?,
        asker: row.try_get(4)?,
        asked_at: time(row, 5)?,
    })
}

fn network(row: &Row, column: usize) -> Answer<Network> {
    Network::parse(row.try_get(column)?).ok_or_else(|| Failed::Unreadable("a block of addresses").into())
}

pub async fn list(tx: &Tx, before: Option<u64>, limit: u32, now: u64) -> Answer<Vec<AddressBan>> {
    let rows = tx
        .query(
            "SELECT b.id, abbrev(b.ip_address), b.reason, coalesce(u.name, ''), b.created_at, b.expires_at
             FROM banned_ips b LEFT JOIN users u ON u.id = b.created_by
             WHERE b.id < $1 AND (b.expires_at IS NULL OR b.expires_at > $2) ORDER BY b.id DESC LIMIT $3",
            &[&int(before.unwrap_or(u64::MAX)), &At(now), &i64::from(page(limit))],
        )
        .await?;
    let read = |row: &Row| {
        Ok(AddressBan {
            id: uint(row, 0)?,
            network: network(row, 1)?,
            reason: row.try_get(2)?,
            by: row.try_get(3)?,
            created_at: time(row, 4)?,
            expires_at: time_opt(row, 5)?,
        })
    };
    rows.iter().map(read).collect()
}
