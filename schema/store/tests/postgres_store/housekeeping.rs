//! What has expired is emptied; partitions come and go.

use schema_store::Store;
use schema_wire::record::{Append, Entry};
use schema_wire::v1::GoneReason;

use crate::seed::{message, page, people, publish, world};

#[tokio::test]
async fn what_has_expired_is_swept() {
    let (server, store) = world().await;
    people(&server, 2, 1);
    publish(&store, Append { expires_in: Some(60), ..message(1, 1, 1) }).await;
    publish(&store, message(1, 1, 2)).await;
    server.sql(
        "UPDATE users SET status = 'SUSPENDED', suspended_until = now() + interval '30 s' WHERE name = 'n2';
         INSERT INTO change_log (kind, created_at) VALUES ('OLD', now() - interval '2 hours')",
    );
    let now = server.sql("SELECT floor(extract(epoch FROM now()) * 1000)::bigint").parse::<u64>().unwrap();
    let swept = store.sweep(now + 61_000).await.unwrap();
    assert_eq!((swept.expired, swept.suspensions_ended, swept.changes, swept.more), (1, 1, 1, false));
    assert_eq!(server.sql("SELECT count(*) FROM messages WHERE octet_length(body) = 0 AND gone = 2"), "1");
    let log = page(&store, 1, 1, 1).await;
    assert!(matches!(log.entries[0], Entry::Gone { reason: GoneReason::Expired, .. }), "{log:?}");
    assert_eq!(store.sweep(now + 61_000).await.unwrap(), Default::default());
    assert_eq!(store.check().await, Ok(()));
}

#[tokio::test]
async fn partitions_are_made_ahead_and_leave_when_they_are_old() {
    let (server, store) = world().await;
    people(&server, 1, 1);
    assert_eq!(store.keep_partitions(None).await.unwrap().made, 0, "the schema made them");
    server.sql(
        "CREATE TABLE messages_2020_01 PARTITION OF messages FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z');
         INSERT INTO messages (conversation_id, log_offset, generation, kind, sender_id, device_id, created_at,
             publish_key, members_version, body)
           SELECT id, 1, 1, 0, id, id, '2020-01-05Z', id, 1, 'x' FROM conversations;
         UPDATE conversations SET next_offset = 2",
    );
    publish(&store, message(1, 1, 1)).await;
    let all = page(&store, 1, 1, 1).await;
    assert_eq!(all.entries.len(), 2);
    let kept = store.keep_partitions(Some(12)).await.unwrap();
    assert_eq!(kept.detached, ["messages_2020_01"]);
    assert_eq!(server.sql("SELECT count(*) FROM messages_2020_01"), "1", "theirs who run the server");
    let log = page(&store, 1, 1, 1).await;
    assert!(matches!(log.entries[0], Entry::Gone { reason: GoneReason::Expired, .. }), "{log:?}");
    assert_eq!(store.keep_partitions(Some(12)).await.unwrap(), Default::default());
}
