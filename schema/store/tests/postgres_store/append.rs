//! Appending: what differs from the embedded store is that others write meanwhile.

use schema_store::{PostgresStore, Store};
use schema_wire::publication::kind;
use schema_wire::record::{Append, Appended, Entry};
use schema_wire::{ConversationId, Offset, Refused};

use crate::seed::{bodies, message, offset, page, people, publish, world};

fn refused(outcome: &Appended) -> Refused {
    match outcome {
        Appended::Refused { refused, .. } => *refused,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_batch_is_decided_one_by_one() {
    let (server, store) = world().await;
    people(&server, 3, 2);
    server.sql("UPDATE users SET status = 'BANNED' WHERE name = 'n3'");
    let delete = |sender, key, target| Append {
        kind: kind::DELETE,
        relates_to: Some(Offset(target)),
        ..message(sender, 1, key)
    };
    let batch = vec![
        message(1, 1, 1),
        message(3, 1, 2),
        Append { conversation: ConversationId([7; 16]), ..message(1, 1, 3) },
        message(2, 1, 4),
        message(2, 1, 4),
        message(2, 2, 4),
        Append { expected_epoch: Some(4), ..message(1, 1, 5) },
        delete(2, 6, 1),
        delete(1, 7, 2),
        delete(1, 8, 2),
        message(1, 2, 9),
    ];
    let done = store.append(batch).await.unwrap();
    assert_eq!((offset(&done[0]), offset(&done[3]), offset(&done[8]), offset(&done[10])), (1, 2, 3, 1));
    assert_eq!(refused(&done[1]), Refused::Banned);
    assert_eq!(refused(&done[2]), Refused::NotMember, "unknown looks like foreign");
    assert!(matches!(done[4], Appended::Duplicate { offset: Offset(2), .. }));
    assert_eq!(refused(&done[5]), Refused::PublishKeyReused);
    assert_eq!(refused(&done[6]), Refused::EpochConflict);
    assert_eq!(refused(&done[7]), Refused::NotAllowed, "only the author, or who runs the group");
    assert_eq!(refused(&done[9]), Refused::NoSuchMessage, "gone within the batch");
    let log = page(&store, 1, 1, 1).await;
    assert!(
        matches!(
            &log.entries[..],
            [Entry::Message(_), Entry::Gone { from: Offset(2), to: Offset(2), .. }, Entry::Message(_)]
        ),
        "{log:?}"
    );
    assert_eq!(offset(&publish(&store, delete(1, 10, 1)).await), 4, "also what an earlier batch stored");
    assert!(matches!(publish(&store, delete(1, 10, 1)).await, Appended::Duplicate { offset: Offset(4), .. }));
    assert_eq!(server.sql("SELECT count(*) FROM users WHERE last_active_at IS NOT NULL"), "2");
}

#[tokio::test]
async fn what_somebody_holds_comes_back_and_holds_up_nobody() {
    let (server, store) = world().await;
    people(&server, 1, 2);
    let mut holder = server.connect().await;
    let hold = holder.transaction().await.unwrap();
    hold.execute("SELECT 1 FROM conversations WHERE id::text LIKE '02%1' FOR UPDATE", &[]).await.unwrap();
    let batch = vec![message(1, 1, 1), message(1, 2, 2), message(1, 1, 3)];
    let done = store.try_append(batch.clone()).await.unwrap();
    assert_eq!((&done[0], &done[2]), (&Err(batch[0].clone()), &Err(batch[2].clone())));
    assert_eq!(offset(done[1].as_ref().unwrap()), 1);
    let waits = tokio::spawn({
        let store = store.clone();
        async move { store.append(vec![message(1, 1, 1), message(1, 1, 3)]).await.unwrap() }
    });
    assert_eq!(offset(&publish(&store, message(1, 2, 4)).await), 2, "while the other one waits");
    hold.commit().await.unwrap();
    let waited = waits.await.unwrap();
    assert_eq!((offset(&waited[0]), offset(&waited[1])), (1, 2));
}

/// A removal that commits while an append waits for the conversation is seen by the append.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_comes_first_is_seen() {
    let (server, store) = world().await;
    people(&server, 2, 1);
    let mut remover = server.connect().await;
    let removal = remover.transaction().await.unwrap();
    removal.batch_execute("SELECT 1 FROM conversations FOR UPDATE").await.unwrap();
    let waits = tokio::spawn({
        let store = store.clone();
        async move { publish(&store, message(2, 1, 1)).await }
    });
    server.until("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'", "1");
    removal
        .batch_execute("UPDATE conversation_members SET left_offset = 0 WHERE user_id::text LIKE '01%2'")
        .await
        .unwrap();
    removal.commit().await.unwrap();
    assert_eq!(refused(&waits.await.unwrap()), Refused::NotMember);
}

/// The same key in two conversations at once: one of them has it, both come to an end.
#[tokio::test]
async fn one_key_has_one_message() {
    let (server, store) = world().await;
    people(&server, 1, 2);
    for key in 0..50 {
        let to = |to| {
            let store: PostgresStore = store.clone();
            async move { publish(&store, message(1, to, key)).await }
        };
        let (a, b) = tokio::join!(to(1), to(2));
        let stored = [&a, &b].into_iter().filter(|o| matches!(o, Appended::Stored { .. })).count();
        let reused = [&a, &b].into_iter().filter(|o| matches!(o, Appended::Refused { .. })).count();
        assert_eq!((stored, reused), (1, 1), "{a:?} {b:?}");
    }
    assert_eq!(bodies(&store, 1).await.len() + bodies(&store, 2).await.len(), 50);
}
