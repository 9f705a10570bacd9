//! The change log: what live sessions must learn within a second. Transactions commit in another order than they
//! begin, so a position is a snapshot: a change is new if the snapshot of the last look did not show it. Nothing that
//! commits late is skipped, and nothing waits for a transaction that takes long. Who looks so late that something new was
//! swept is told that it missed something.

use schema_wire::record::Change;
use schema_wire::{Generation, Network, Offset};
use tokio_postgres::Row;

use super::fault::Failed;
use super::transaction::Tx;
use super::value::{At, id, uint, uint_opt};
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

/// Where everybody stands who asks now.
const NOW: &str =
    "SELECT pg_current_snapshot()::text, max(generation), max(begun_at) < now() - interval '45 minutes',
      (SELECT l.text::xid8 < pg_snapshot_xmax(pg_current_snapshot())
         AND NOT pg_visible_in_snapshot(l.text::xid8, $1::text::pg_snapshot)
       FROM change_log l WHERE l.created_at = 'infinity' AND l.kind = 'SWEPT')
    FROM store_generation";

/// Changes after a position; the default position is "from now".
pub async fn changes(tx: &Tx, after: &ChangePosition, limit: u32) -> Result<Read, Failed> {
    let place = after.0.as_deref().and_then(Place::decode);
    let row = tx.query_one(NOW, &[&place.as_ref().map(|place| place.read.as_str())]).await?;
    let (now, generation): (String, _) = (row.try_get(0)?, u32::try_from(uint(&row, 1)?).unwrap_or(u32::MAX));
    let Some(place) = place else { return anew(tx, now, generation, Vec::new()).await };
    let swept: Option<bool> = row.try_get(3)?;
    let of = Generation(generation);
    if place.generation != generation {
        // Of what its first hour brought, nothing may be left.
        if row.try_get(2)? {
            return anew(tx, now, generation, vec![Change::Generation { generation: of }, Change::Missed])
                .await;
        }
        let next = Place { generation, read: before_generation(tx).await?, reading: None }.encode();
        let changes = vec![Change::Generation { generation: of }];
        return Ok(Read { changes, next, generation: of, stale: Vec::new(), more: false });
    }
    if swept == Some(true) {
        return anew(tx, now, generation, vec![Change::Missed]).await;
    }
    page(tx, place, now, limit.clamp(1, CHANGES_MAX)).await
}

/// From now on, whatever was before.
async fn anew(tx: &Tx, now: String, generation: u32, changes: Vec<Change>) -> Result<Read, Failed> {
    let next = Place { generation, read: now, reading: None }.encode();
    let stale = lately(tx).await?;
    Ok(Read { changes, next, generation: Generation(generation), stale, more: false })
}

/// What showed between two looks, a page of it.
async fn page(tx: &Tx, place: Place, now: String, limit: u32) -> Result<Read, Failed> {
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
    let of = Generation(place.generation);
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

/// Removes what is older than this, `most` rows of it; how many. An entry of its own, which no sweep removes and no release
/// takes for a change, keeps the newest transaction of which something was removed: whoever has not seen that one has
/// missed something. Numbers beyond the present are another server's.
pub async fn sweep(tx: &Tx, older_than: u64, most: i64) -> Result<u64, Failed> {
    let remove = "WITH swept AS (DELETE FROM change_log WHERE id IN
           (SELECT id FROM change_log WHERE created_at < $1 ORDER BY created_at LIMIT $2) RETURNING txid)
         SELECT count(*), (max(txid) FILTER (WHERE txid < pg_snapshot_xmax(pg_current_snapshot())))::text FROM swept";
    let row = tx.query_one(remove, &[&At(older_than), &most]).await?;
    if let Some(newest) = row.try_get::<_, Option<String>>(1)? {
        let keep = "UPDATE change_log SET text = greatest($1::text::xid8,
             CASE WHEN text::xid8 < pg_snapshot_xmax(pg_current_snapshot()) THEN text::xid8 END)::text
           WHERE created_at = 'infinity' AND kind = 'SWEPT'";
        if tx.execute(keep, &[&newest]).await? == 0 {
            let begin = "INSERT INTO change_log (kind, text, created_at) VALUES ('SWEPT', $1, 'infinity')";
            tx.execute(begin, &[&newest]).await?;
        }
    }
    uint(&row, 0)
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
        WHERE created_at >= (SELECT max(begun_at) FROM store_generation) - interval '1 minute'
          AND created_at < 'infinity'";
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
