//! What a conversation is, for five minutes: the same for all its members. Who is one, as what, and how far the log goes is
//! asked of the store each time.

use std::time::Instant;

use schema_wire::{ConversationId, UserId};
use tokio_postgres::Row;

use super::bytes::{Reader, Writer};
use crate::postgres::fault::Failed;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{Id, time, uint_opt};
use crate::redis::Item;
use crate::rows::conversation::{ConversationKind, HistoryPolicy};

const FORM: u8 = 1;

/// What does not depend on who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    pub kind: ConversationKind,
    pub name: String,
    /// Both of a direct conversation.
    pub pair: Option<[UserId; 2]>,
    pub created_at: u64,
    pub history: HistoryPolicy,
    pub ttl: Option<u32>,
}

impl Description {
    /// The one who is not `user`.
    pub fn peer_of(&self, user: UserId) -> Option<UserId> {
        self.pair.map(|[low, high]| if low == user { high } else { low })
    }
}

/// From the cache, if it is there.
pub async fn cached(tx: &Tx, conversation: ConversationId) -> Option<Description> {
    let (item, cache) = (Item::Conversation(conversation), tx.cache()?);
    let entry = cache.get(item).await?;
    let description = decode(&entry);
    if description.is_none() {
        cache.missed(item);
    }
    description
}

/// From the store, and into the cache.
pub async fn read(tx: &Tx, conversation: ConversationId) -> Result<Option<Description>, Failed> {
    let began = Instant::now();
    let find =
        "SELECT kind = 'DIRECT', name, direct_pair, created_at, history = 'all', ttl FROM conversations
        WHERE id = $1";
    let row = tx.query_opt(find, &[&Id(conversation.0)]).await?;
    let Some(description) = row.map(|row| description(&row)).transpose()? else { return Ok(None) };
    if let Some(cache) = tx.cache() {
        cache.fill(Item::Conversation(conversation), began, encode(&description));
    }
    Ok(Some(description))
}

fn description(row: &Row) -> Result<Description, Failed> {
    let pair: Option<&[u8]> = row.try_get(2)?;
    Ok(Description {
        kind: if row.try_get(0)? { ConversationKind::Direct } else { ConversationKind::Group },
        name: row.try_get(1)?,
        pair: pair.and_then(both),
        created_at: time(row, 3)?,
        history: if row.try_get(4)? { HistoryPolicy::All } else { HistoryPolicy::SinceJoin },
        ttl: uint_opt(row, 5)?.map(|ttl| u32::try_from(ttl).unwrap_or(u32::MAX)),
    })
}

fn both(pair: &[u8]) -> Option<[UserId; 2]> {
    let (low, high) = pair.split_at_checked(16)?;
    Some([UserId::from_slice(low)?, UserId::from_slice(high)?])
}

fn encode(description: &Description) -> Vec<u8> {
    let pair = description.pair.map(|[low, high]| [low.0, high.0].concat()).unwrap_or_default();
    Writer::new(FORM)
        .flag(description.kind == ConversationKind::Direct)
        .bytes(description.name.as_bytes())
        .bytes(&pair)
        .number(description.created_at)
        .flag(description.history == HistoryPolicy::All)
        .number_opt(description.ttl.map(u64::from))
        .done()
}

fn decode(entry: &[u8]) -> Option<Description> {
    let mut entry = Reader::new(entry, FORM)?;
    let kind = if entry.flag()? { ConversationKind::Direct } else { ConversationKind::Group };
    let (name, pair) = (entry.text()?, entry.bytes()?);
    let pair = if pair.is_empty() { None } else { Some(both(pair)?) };
    let created_at = entry.number()?;
    let history = if entry.flag()? { HistoryPolicy::All } else { HistoryPolicy::SinceJoin };
    let ttl = entry.number_opt()?.map(u32::try_from).transpose().ok()?;
    entry.end()?;
    Some(Description { kind, name, pair, created_at, history, ttl })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_survives_its_bytes() {
        let group = Description {
            kind: ConversationKind::Group,
            name: "all of us".to_owned(),
            pair: None,
            created_at: 9,
            history: HistoryPolicy::All,
            ttl: Some(60),
        };
        let (low, high) = (UserId([1; 16]), UserId([2; 16]));
        let direct = Description {
            kind: ConversationKind::Direct,
            pair: Some([low, high]),
            ttl: None,
            history: HistoryPolicy::SinceJoin,
            ..group.clone()
        };
        assert_eq!((direct.peer_of(low), direct.peer_of(high)), (Some(high), Some(low)));
        for description in [group, direct] {
            let entry = encode(&description);
            assert_eq!(decode(&entry), Some(description));
            assert!((0..entry.len()).all(|n| decode(&entry[..n]).is_none()));
        }
    }
}
