//! The PostgreSQL schema against a real server: it applies, applies again, and every query that the administrator's
//! guide prints runs on it as printed. Needs PostgreSQL 15 or newer (Debian: `postgresql-15`); without it the test fails.
#![allow(clippy::unwrap_used)]

use schema_store::postgres::{MigrateError, migrate};
use servers::Postgres;
use tokio_postgres::Client;

/// As the guide prints them; its placeholders for ids stand as such, filled in by `filled`.
const GUIDE: [&str; 22] = [
    "SELECT COUNT(*) FROM users;",
    "SELECT COUNT(*) FROM messages;",
    "SELECT id, email, name, created_at, last_active_at
FROM users
WHERE email = 'user@example.com';",
    "UPDATE users SET status = 'SUSPENDED', suspended_at = NOW()
WHERE email = 'spam@example.com';",
    "UPDATE users SET status = 'ACTIVE', suspended_at = NULL
WHERE email = 'spam@example.com';",
    "SELECT COUNT(*) as active_users
FROM users
WHERE last_active_at > NOW() - INTERVAL '7 days';",
    "SELECT COUNT(*) as new_users_today
FROM users
WHERE created_at::date = CURRENT_DATE;",
    "SELECT u.email, COUNT(m.id) as message_count
FROM users u
JOIN messages m ON m.sender_id = u.id
GROUP BY u.id
ORDER BY message_count DESC
LIMIT 10;",
    "SELECT u.email, SUM(mf.size) / 1024 / 1024 as size_mb
FROM users u
JOIN media_files mf ON mf.user_id = u.id
GROUP BY u.id
ORDER BY size_mb DESC
LIMIT 20;",
    "SELECT 
  r.id,
  r.reason,
  r.created_at,
  u_reporter.email as reporter,
  u_reported.email as reported_user,
  r.status
FROM reports r
JOIN users u_reporter ON r.reporter_id = u_reporter.id
JOIN users u_reported ON r.reported_user_id = u_reported.id
WHERE r.status = 'PENDING'
ORDER BY r.created_at DESC;",
    "UPDATE users
SET status = 'SUSPENDED',
    suspended_until = NOW() + INTERVAL '7 days',
    suspension_reason = 'Repeated spam'
WHERE id = 'user-id';",
    "UPDATE users
SET status = 'BANNED',
    banned_at = NOW(),
    ban_reason = 'Harassment and threats'
WHERE id = 'user-id';",
    "INSERT INTO banned_ips (ip_address, reason)
VALUES ('1.2.3.4', 'Associated with banned user');",
    "SELECT *
FROM audit_logs
WHERE event_type IN ('LOGIN_FAILED', 'SUSPICIOUS_ACTIVITY', 'KEY_CHANGE')
ORDER BY created_at DESC
LIMIT 100;",
    "SELECT ip_address, COUNT(*) as attempts
FROM audit_logs
WHERE event_type = 'LOGIN_FAILED'
  AND created_at > NOW() - INTERVAL '1 hour'
GROUP BY ip_address
HAVING COUNT(*) > 5
ORDER BY attempts DESC;",
    "SELECT schemaname, tablename, attname
FROM pg_stats
WHERE schemaname = 'public'
  AND n_distinct > 100
  AND tablename NOT IN (
    SELECT tablename FROM pg_indexes WHERE schemaname = 'public'
  );",
    "EXPLAIN ANALYZE
SELECT * FROM messages WHERE conversation_id = 'xxx';",
    "SELECT mf.s3_key, mf.size, mf.created_at
FROM media_files mf
LEFT JOIN messages m ON m.media_id = mf.id
WHERE mf.created_at < NOW() - INTERVAL '90 days'
  AND m.id IS NULL;",
    "VACUUM ANALYZE;",
    "DELETE FROM users
WHERE status = 'DELETED'
  AND deleted_at < NOW() - INTERVAL '90 days';",
    "SELECT * FROM pg_stat_activity;",
    "SELECT 1",
];

/// A printed query with real ids where it says `user-id` and `xxx`.
fn filled(query: &str) -> String {
    query.replace("'user-id'", &format!("'{BOB}'")).replace("'xxx'", &format!("'{CONVERSATION}'"))
}

const BOB: &str = "01920000-0000-7000-8000-00000000000b";
const CONVERSATION: &str = "01920000-0000-7000-8000-0000000000c0";

/// Two accounts, one of them to be purged, and something of everything they refer to.
const SEED: &str = "
INSERT INTO users (id, email, name, status) VALUES
  ('01920000-0000-7000-8000-00000000000a', 'spam@example.com', 'Spam', 'ACTIVE'),
  ('01920000-0000-7000-8000-00000000000b', 'user@example.com', 'Bob', 'ACTIVE'),
  ('01920000-0000-7000-8000-00000000000d', NULL, '', 'DELETED');
UPDATE users SET deleted_at = now() - interval '91 days' WHERE status = 'DELETED';
INSERT INTO devices (id, user_id, name, last_seen_at)
  SELECT gen_random_uuid(), id, 'phone', now() FROM users;
INSERT INTO conversations (id, kind, name, last_at)
  VALUES ('01920000-0000-7000-8000-0000000000c0', 'GROUP', 'team', now());
INSERT INTO conversation_members (conversation_id, user_id, joined_version, members_version, joined_offset, joined_at,
    role)
  SELECT '01920000-0000-7000-8000-0000000000c0', id, 1, 1, 1, now(), 1 FROM users;
INSERT INTO media_files (id, user_id, s3_key, size, created_at)
  SELECT gen_random_uuid(), id, id::text, 2097152, now() - interval '91 days' FROM users;
INSERT INTO messages (conversation_id, log_offset, generation, kind, sender_id, device_id, created_at, publish_key,
    members_version, body)
  SELECT '01920000-0000-7000-8000-0000000000c0', row_number() OVER (), 1, 0, id, id, now(), gen_random_uuid(), 1, 'x'
  FROM users;
INSERT INTO reports (reporter_id, reported_user_id, reason)
  VALUES ('01920000-0000-7000-8000-00000000000b', '01920000-0000-7000-8000-00000000000a', 'spam'),
         ('01920000-0000-7000-8000-00000000000d', '01920000-0000-7000-8000-00000000000a', 'spam');
INSERT INTO audit_logs (id, event_type, ip_address, hash)
  SELECT n, 'LOGIN_FAILED', '198.51.100.7', decode(repeat('00', 32), 'hex') FROM generate_series(1, 6) n;
";

async fn count(client: &Client, query: &str) -> i64 {
    client.query_one(query, &[]).await.unwrap_or_else(|e| panic!("{query}: {e:?}")).get(0)
}

#[tokio::test]
async fn the_schema_applies_and_the_guide_runs_on_it() {
    let server = Postgres::start();
    let mut client = server.connect().await;
    let files =
        std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres")).unwrap().count();
    assert_eq!(migrate(&mut client).await.unwrap(), files);
    assert_eq!(migrate(&mut client).await.unwrap(), 0, "nothing is left to do");
    client.batch_execute(SEED).await.unwrap();
    for query in GUIDE {
        client.batch_execute(&filled(query)).await.unwrap_or_else(|e| panic!("{query}: {e:?}"));
    }
    assert_eq!(count(&client, "SELECT count(*) FROM users").await, 2, "the purge removed one account");
    assert_eq!(count(&client, "SELECT count(*) FROM messages").await, 3, "and left the log dense");
    assert_eq!(
        count(&client, "SELECT count(*) FROM messages_other").await,
        0,
        "this month has its partition"
    );
    assert_eq!(count(&client, "SELECT ensure_message_partitions(5)::bigint").await, 2);
    changes_made_in_sql_are_noticed(&client).await;
    a_late_commit_is_not_skipped(&server).await;
    a_newer_schema_is_refused(&mut client).await;
}

async fn changes_made_in_sql_are_noticed(client: &Client) {
    let rows =
        client.query("SELECT kind, text, number IS NOT NULL FROM change_log ORDER BY txid, id", &[]).await;
    let seen: Vec<(String, String, bool)> =
        rows.unwrap().iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    let expected = [
        ("USER_STATUS", "SUSPENDED", false),
        ("USER_STATUS", "ACTIVE", false),
        ("USER_STATUS", "SUSPENDED", true),
        ("USER_STATUS", "BANNED", false),
        ("ADDRESS_BANNED", "1.2.3.4", false),
    ];
    assert_eq!(seen, expected.map(|(kind, text, until)| (kind.to_owned(), text.to_owned(), until)));
    let left = "SELECT count(*) FROM users WHERE status = 'BANNED' AND suspended_until IS NOT NULL";
    assert_eq!(count(client, left).await, 0, "a ban does not end with the suspension before it");
}

/// The rule readers follow: (txid, id), up to the oldest transaction still running.
async fn a_late_commit_is_not_skipped(server: &Postgres) {
    const READ: &str = "SELECT count(*) FROM change_log
        WHERE kind = 'MARK' AND txid < pg_snapshot_xmin(pg_current_snapshot())";
    const MARK: &str = "INSERT INTO change_log (kind) VALUES ('MARK')";
    let (mut slow, quick) = (server.connect().await, server.connect().await);
    let transaction = slow.transaction().await.unwrap();
    transaction.execute(MARK, &[]).await.unwrap();
    quick.execute(MARK, &[]).await.unwrap();
    assert_eq!(count(&quick, READ).await, 0, "the one committed first waits for the one begun first");
    transaction.commit().await.unwrap();
    assert_eq!(count(&quick, READ).await, 2);
}

async fn a_newer_schema_is_refused(client: &mut Client) {
    let add = "INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')";
    client.batch_execute(add).await.unwrap();
    let error = migrate(client).await.unwrap_err();
    assert!(matches!(error, MigrateError::Newer { found: 99, .. }), "{error}");
}
