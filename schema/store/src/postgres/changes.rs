//! The change log: what live sessions must learn within a second. Transactions commit in another order than they
//! begin, so a position is a snapshot: a change is new if the snapshot of the last look did not show it. Nothing that
//! commits late is skipped, and nothing waits for a transaction that takes long.

use schema_wire::record::Change;
use schema_wire::{Generation, Network, Offset};
use tokio_postgres::Row;

use super::fault::Failed;
use super::transaction::Tx;
use super::value::{id, uint, uint_opt};
use crate::redis::Item;
use crate::store::ChangePosition;
use crate::stored::status;

/// Most changes in one page.
const CHANGES_MAX: u32 = 1024;

/// How far somebody has read.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    generation: u32,
    /// All that this snapshot shows has been read.
    read: String,
    /// In the middle of a page: what shows up to this snapshot is being read, after this transaction and id.
    reading: Option<(String, u64, i64)>,
}

/// What one look at the log showed.
pub struct Read {
    pub changes: Vec<Change>,
    pub next: ChangePosition,
    pub generation: Generation,
    /// What was cached of it before is of no use.
    pub stale: Vec<Item>,
    /// There may be more behind it.
    pub more: bool,
}

/// Changes after a position; the default position is "from now".
pub async fn changes(tx: &Tx, after: &ChangePosition, limit: u32) -> Result<Read, Failed> {
    let row = tx
        .query_one("SELECT pg_current_snapshot()::text, max(generation) FROM store_generation", &[])
        .await?;
    let (now, generation): (String, _) = (row.try_get(0)?, u32::try_from(uint(&row, 1)?).unwrap_or(u32::MAX));
    let of = Generation(generation);
    let Some(place) = after.0.as_deref().and_then(Place::decode) else {
        let next = Place { generation, read: now, reading: None }.encode();
        let stale = lately(tx).await?;
        return Ok(Read { changes: Vec::new(), next, generation: of, stale, more: false });
    };
    if place.generation != generation {
        let next = Place { generation, read: before_generation(tx).await?, reading: None }.encode();
        let changes = vec![Change::Generation { generation: of }];
        return Ok(Read { changes, next, generation: of, stale: Vec::new(), more: false });
    }
    let limit = limit.clamp(1, CHANGES_MAX);
    let (until, transaction, last) = place.reading.clone().unwrap_or((now, 0, 0));
    let rows = tx
        .query(
            "SELECT kind, user_id, device_id, conversation_id, number, text, txid::text, id, other_id FROM change_log
             WHERE txid >= pg_snapshot_xmin($1::text::pg_snapshot)
               AND NOT pg_visible_in_snapshot(txid, $1::text::pg_snapshot)
               AND pg_visible_in_snapshot(txid, $2::text::pg_snapshot)
               AND (txid, id) > ($3::text::xid8, $4)
             ORDER BY txid, id LIMIT $5",
            &[&place.read, &until, &transaction.to_string(), &last, &i64::from(limit)],
        )
        .await?;
    let (mut changes, mut stale) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        changes.extend(change(row)?);
        stale.extend(item(row)?);
    }
    let more = rows.len() as u64 == u64::from(limit);
    let next = match rows.last() {
        Some(row) if more => {
            let transaction = row.try_get::<_, &str>(6)?.parse().unwrap_or(0);
            Place { reading: Some((until, transaction, row.try_get(7)?)), ..place }
        }
        _ => Place { read: until, reading: None, ..place },
    };
    Ok(Read { changes, next: next.encode(), generation: of, stale, more })
}

/// What changed while nobody looked, if no node ran: within the longest life of an entry.
async fn lately(tx: &Tx) -> Result<Vec<Item>, Failed> {
    if tx.cache().is_none() {
        return Ok(Vec::new());
    }
    let find = "SELECT DISTINCT kind, user_id, device_id, conversation_id FROM change_log
        WHERE kind IN ('PROFILE', 'USER_STATUS', 'CONVERSATION', 'ERASED') AND created_at > now() - interval '1 hour'";
    let rows = tx.query(find, &[]).await?;
    let items = rows.iter().map(item).collect::<Result<Vec<_>, _>>()?;
    Ok(items.into_iter().flatten().collect())
}

/// What is cached of what a row of the log is about.
fn item(row: &Row) -> Result<Option<Item>, Failed> {
    Ok(match row.try_get(0)? {
        "PROFILE" | "USER_STATUS" => Some(Item::Profile(id(row, 1)?)),
        "CONVERSATION" => Some(Item::Conversation(id(row, 3)?)),
        "ERASED" => Some(Item::Recent(id(row, 3)?)),
        _ => None,
    })
}

/// A snapshot before whatever this generation's beginning may have brought: numbers of transactions from before mean
/// nothing on another server.
async fn before_generation(tx: &Tx) -> Result<String, Failed> {
    let find = "SELECT coalesce(min(txid), pg_snapshot_xmin(pg_current_snapshot()))::text FROM change_log
        WHERE created_at >= (SELECT max(begun_at) FROM store_generation) - interval '1 minute'";
    let first: String = tx.query_one(find, &[]).await?.try_get(0)?;
    Ok(format!("{first}:{first}:"))
}

impl Place {
    fn encode(&self) -> ChangePosition {
        let (until, transaction, last) = self.reading.clone().unwrap_or_default();
        let text = format!("{};{};{until};{transaction};{last}", self.generation, self.read);
        ChangePosition(Some(text.into_bytes()))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split(';');
        let generation = parts.next()?.parse().ok()?;
        let read = parts.next()?.to_owned();
        let until = parts.next()?.to_owned();
        let (transaction, last) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let reading = (!until.is_empty()).then_some((until, transaction, last));
        Some(Self { generation, read, reading })
    }
}

/// `None` for a kind that a newer program wrote.
fn change(row: &Row) -> Result<Option<Change>, Failed> {
    let number = || Ok::<_, Failed>(uint_opt(row, 4)?.unwrap_or(0));
    let text = || Ok::<_, Failed>(row.try_get::<_, Option<&str>>(5)?.unwrap_or_default());
    Ok(Some(match row.try_get(0)? {
        "USER_STATUS" => {
            let status =
                status(text()?, uint_opt(row, 4)?).ok_or(Failed::Unreadable("the name of a status"))?;
            Change::UserStatus { user: id(row, 1)?, status }
        }
        "DEVICE_REVOKED" => Change::DeviceRevoked { user: id(row, 1)?, device: id(row, 2)? },
        "TOKENS_REVOKED" => Change::TokensRevoked { user: id(row, 1)?, not_before: number()? },
        "MEMBERS" => Change::Members { conversation: id(row, 3)?, version: number()? },
        "USER_EVENTS" => Change::UserEvents { user: id(row, 1)?, head: Offset(number()?) },
        "BLOCK" => Change::Block { user: id(row, 1)?, other: id(row, 8)?, stands: number()? > 0 },
        "ERASED" => Change::Erased { conversation: id(row, 3)? },
        "GENERATION" => {
            Change::Generation { generation: Generation(u32::try_from(number()?).unwrap_or(u32::MAX)) }
        }
        "ADDRESS_BANNED" => match Network::parse(text()?) {
            Some(network) => Change::AddressBanned { network },
            None => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_bytes() {
        let read = "10:20:10,14".to_owned();
        for reading in [None, Some(("12:30:".to_owned(), 17, 4))] {
            let place = Place { generation: 3, read: read.clone(), reading };
            assert_eq!(Place::decode(&place.encode().0.unwrap()), Some(place));
        }
        assert_eq!(Place::decode(b"nonsense"), None);
    }
}
