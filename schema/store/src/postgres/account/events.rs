//! Telling many people at once: as appending to one user's own stream, in as many statements for all of them.

use std::collections::BTreeMap;

use buffa::Message as _;
use schema_wire::UserId;
use schema_wire::v1::UserEvent;
use schema_wire::v1::user_event::Event;

use crate::accounts::Answer;
use crate::postgres::generation::current;
use crate::postgres::transaction::Tx;
use crate::postgres::value::{At, Id, id, uint};
use crate::stored::int;

/// Tells many, each in the order given. The rows of more than one must be locked before. Unknown users have no stream:
/// nothing happens.
pub async fn push_all(tx: &Tx, events: Vec<(UserId, Event)>, now: u64) -> Answer<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut next = advance(tx, &events).await?;
    let generation = current(tx).await?;
    let (mut users, mut offsets, mut encoded) = (Vec::new(), Vec::new(), Vec::new());
    for (user, event) in events {
        let Some(offset) = next.get_mut(&user) else { continue };
        let event = UserEvent {
            offset: *offset,
            generation: generation.0,
            at: now,
            event: Some(event),
            ..Default::default()
        };
        users.push(Id(user.0));
        offsets.push(int(*offset));
        encoded.push(event.encode_to_vec());
        *offset += 1;
    }
    tx.execute(
        "WITH told AS (
           INSERT INTO user_events (user_id, log_offset, generation, created_at, event)
           SELECT user_id, log_offset, $4, $5, event FROM unnest($1, $2, $3) AS t (user_id, log_offset, event))
         INSERT INTO change_log (kind, user_id, number, created_at)
         SELECT 'USER_EVENTS', user_id, log_offset, $5 FROM unnest($1, $2) AS t (user_id, log_offset)",
        &[&users, &offsets, &encoded, &i64::from(generation.0), &At(now)],
    )
    .await?;
    Ok(())
}

/// Moves the counters and returns each one's first new offset.
async fn advance(tx: &Tx, events: &[(UserId, Event)]) -> Answer<BTreeMap<UserId, u64>> {
    let mut counts: BTreeMap<UserId, i64> = BTreeMap::new();
    for (user, _) in events {
        *counts.entry(*user).or_default() += 1;
    }
    let users: Vec<Id> = counts.keys().map(|user| Id(user.0)).collect();
    let moved = tx
        .query(
            "UPDATE users u SET event_head = u.event_head + t.count FROM unnest($1, $2) AS t (id, count)
             WHERE u.id = t.id RETURNING u.id, u.event_head - t.count + 1",
            &[&users, &counts.into_values().collect::<Vec<_>>()],
        )
        .await?;
    moved.iter().map(|row| Ok((id(row, 0)?, uint(row, 1)?))).collect()
}
