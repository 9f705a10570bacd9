//! What the administrator's guide prints, word for word, by `psql` on a database that the store itself has written: that
//! it says what is so, and that the store sees what it changes. Needs PostgreSQL with its contributed extensions.
#![allow(clippy::unwrap_used)]

use schema_store::postgres::{self, migrate};
use schema_store::rows::account::{Activation, Origin, Registration, StatusChange};
use schema_store::rows::device::NewSession;
use schema_store::rows::operations::Ranked;
use schema_store::{Accounts, NewToken, Operations, PostgresStore, Store};
use schema_wire::publication::kind;
use schema_wire::record::{Append, Appended, StoreReply, StoreRequest, UserStatus};
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};
use servers::{Options, Postgres};

/// The database's name in the guide.
const NAME: &str = "securemessenger";
/// Later than this test, unix milliseconds.
const LATER: u64 = 4_000_000_000_000;
const DAY_MS: u64 = 86_400_000;

struct Guide {
    store: PostgresStore,
    server: Postgres,
}

impl Guide {
    async fn begin() -> Self {
        let server =
            Postgres::start_with(Options::default().set("shared_preload_libraries", "pg_stat_statements"));
        let url = server.database(NAME);
        migrate(&mut server.connect_to(NAME).await).await.unwrap();
        let store = PostgresStore::open(&url, postgres::Options::default()).await.unwrap();
        Self { store, server }
    }

    /// What `psql` prints: a line a row, bars between columns.
    fn psql(&self, sql: &str) -> String {
        self.server.sql_in(NAME, sql)
    }

    async fn person(&self, name: &str) -> (UserId, DeviceId) {
        let new = Registration {
            email: format!("{name}@example.com"),
            name: name.to_owned(),
            password_hash: "hash".to_owned(),
            invite: None,
            activation: Activation::Immediate,
        };
        let user = self.store.register(new, Origin::system()).await.unwrap();
        let refresh = NewToken::generate(LATER).1;
        let session =
            NewSession { user, device: None, device_name: "phone".to_owned(), refresh, rehash: None };
        (user, self.store.open_session(session, Origin::system()).await.unwrap().device)
    }

    async fn say(&self, (sender, device): (UserId, DeviceId), conversation: ConversationId, n: u8) {
        let message = Append {
            conversation,
            publish_key: PublishKey([n; 16]),
            sender,
            device,
            kind: kind::MESSAGE,
            relates_to: None,
            expires_in: None,
            expected_epoch: None,
            notify: 0,
            body: "ciphertext".into(),
            commitment: None,
        };
        let stored = self.store.append(vec![message]).await.unwrap();
        assert!(matches!(stored[0], Appended::Stored { .. }), "{stored:?}");
    }

    async fn status(&self, user: UserId) -> UserStatus {
        self.store.profile(user).await.unwrap().status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guide_holds_on_what_the_store_writes() {
    let guide = Guide::begin().await;
    let (user, spam) = (guide.person("user").await, guide.person("spam").await);
    let (conversation, _) = guide.store.create_direct(user.0, spam.0).await.unwrap();
    guide.say(user, conversation, 1).await;
    guide.say(spam, conversation, 2).await;
    guide.say(spam, conversation, 3).await;
    statistics(&guide, spam.0);
    counted(&guide, user.0, spam.0).await;
    suspensions(&guide, spam.0).await;
    moderation(&guide, user.0, spam.0).await;
    audit(&guide).await;
    indexes(&guide, conversation);
    upkeep(&guide, spam.0).await;
}

fn statistics(guide: &Guide, spam: UserId) {
    assert_eq!(guide.psql("SELECT COUNT(*) FROM users;"), "2");
    assert_eq!(guide.psql("SELECT COUNT(*) FROM messages;"), "3");
    let found = guide.psql(
        "SELECT id, email, name, created_at, last_active_at
FROM users
WHERE email = 'user@example.com';",
    );
    assert!(found.contains("|user@example.com|user|") && !found.ends_with('|'), "{found}");
    let active = guide.psql(
        "-- Utilisateurs actifs (7 derniers jours)
SELECT COUNT(*) as active_users
FROM users
WHERE last_active_at > NOW() - INTERVAL '7 days';",
    );
    assert_eq!(active, "2");
    guide.psql(
        "SELECT COUNT(*) as new_users_today
FROM users
WHERE created_at::date = CURRENT_DATE;",
    );
    let top = guide.psql(
        "SELECT u.email, COUNT(m.id) as message_count
FROM users u
JOIN messages m ON m.sender_id = u.id
GROUP BY u.id
ORDER BY message_count DESC
LIMIT 10;",
    );
    assert_eq!(top, "spam@example.com|2\nuser@example.com|1");
    guide.psql(&format!(
        "INSERT INTO media_files (user_id, s3_key, size, created_at)
         VALUES ('{spam}', 'old', 3145728, now() - interval '91 days'), ('{spam}', 'new', 2097152, now())"
    ));
    let storage = guide.psql(
        "SELECT u.email, SUM(mf.size) / 1024 / 1024 as size_mb
FROM users u
JOIN media_files mf ON mf.user_id = u.id
GROUP BY u.id
ORDER BY size_mb DESC
LIMIT 20;",
    );
    assert!(storage.starts_with("spam@example.com|5."), "{storage}");
    let unused = guide.psql(
        "SELECT mf.s3_key, mf.size, mf.created_at
FROM media_files mf
LEFT JOIN messages m ON m.media_id = mf.id
WHERE mf.created_at < NOW() - INTERVAL '90 days'
  AND m.id IS NULL;",
    );
    assert!(unused.starts_with("old|3145728|") && unused.lines().count() == 1, "{unused}");
}

/// The page about them shows what the guide's queries give.
async fn counted(guide: &Guide, user: UserId, spam: UserId) {
    assert!(guide.store.take_statistics(LATER).await.unwrap());
    let counted = guide.store.statistics().await.unwrap().unwrap();
    assert_eq!(counted.active, 2);
    let numbers = |rows: &[Ranked]| rows.iter().map(|row| (row.user, row.number)).collect::<Vec<_>>();
    assert_eq!(numbers(&counted.senders), [(spam, 2), (user, 1)]);
    assert_eq!(numbers(&counted.storage), [(spam, 5_242_880)]);
}

async fn suspensions(guide: &Guide, spam: UserId) {
    guide.psql(
        "-- Suspendre
UPDATE users SET status = 'SUSPENDED', suspended_at = NOW()
WHERE email = 'spam@example.com';",
    );
    assert_eq!(guide.status(spam).await, UserStatus::Suspended { until: None });
    guide.psql(
        "-- Réactiver
UPDATE users SET status = 'ACTIVE', suspended_at = NULL
WHERE email = 'spam@example.com';",
    );
    assert_eq!(guide.status(spam).await, UserStatus::Active);
    let week = "UPDATE users
SET status = 'SUSPENDED',
    suspended_until = NOW() + INTERVAL '7 days',
    suspension_reason = 'Repeated spam'
WHERE id = 'user-id';";
    guide.psql(&week.replace("user-id", &spam.to_string()));
    let now: u64 = guide.psql("SELECT (extract(epoch FROM now()) * 1000)::bigint").parse().unwrap();
    let UserStatus::Suspended { until: Some(until) } = guide.status(spam).await else {
        panic!("it is suspended")
    };
    assert!(until.abs_diff(now + 7 * DAY_MS) < DAY_MS, "{until}");
}

async fn moderation(guide: &Guide, user: UserId, spam: UserId) {
    guide.psql(&format!(
        "INSERT INTO reports (reporter_id, reported_user_id, reason) VALUES ('{user}', '{spam}', 'spam')"
    ));
    let reports = guide.psql(
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
    );
    assert!(reports.ends_with("|user@example.com|spam@example.com|PENDING"), "{reports}");
    let ban = "UPDATE users
SET status = 'BANNED',
    banned_at = NOW(),
    ban_reason = 'Harassment and threats'
WHERE id = 'user-id';";
    guide.psql(&ban.replace("user-id", &spam.to_string()));
    assert_eq!(guide.status(spam).await, UserStatus::Banned);
    guide.psql(
        "-- Bloquer aussi l'IP
INSERT INTO banned_ips (ip_address, reason)
VALUES ('1.2.3.4', 'Associated with banned user');",
    );
    let address = Some("1.2.3.4".parse().unwrap());
    let reply = guide.store.ask(StoreRequest::Attach { user, device: DeviceId([1; 16]), address }).await;
    assert!(matches!(&reply, StoreReply::Attach(attach) if attach.address_banned), "{reply:?}");
    guide.store.set_status(spam, StatusChange::Reactivate, String::new(), Origin::system()).await.unwrap();
    assert_eq!(guide.status(spam).await, UserStatus::Active, "what SQL did, the console undoes");
}

async fn audit(guide: &Guide) {
    for _ in 0..6 {
        let by = Origin { address: Some("198.51.100.7".parse().unwrap()), ..Origin::default() };
        guide.store.login_failed(None, "unknown account", by).await.unwrap();
    }
    let events = guide.psql(
        "-- Voir tous les événements de sécurité
SELECT *
FROM audit_logs
WHERE event_type IN ('LOGIN_FAILED', 'SUSPICIOUS_ACTIVITY', 'KEY_CHANGE')
ORDER BY created_at DESC
LIMIT 100;",
    );
    assert_eq!(events.lines().filter(|line| line.contains("|LOGIN_FAILED|")).count(), 6, "{events}");
    let attempts = guide.psql(
        "-- Tentatives de connexion échouées par IP
SELECT ip_address, COUNT(*) as attempts
FROM audit_logs
WHERE event_type = 'LOGIN_FAILED'
  AND created_at > NOW() - INTERVAL '1 hour'
GROUP BY ip_address
HAVING COUNT(*) > 5
ORDER BY attempts DESC;",
    );
    assert_eq!(attempts, "198.51.100.7|6");
}

/// The schema has the indexes that the guide calls missing, under their names. The one on `users` can be made again as
/// printed; on a partitioned table PostgreSQL makes none concurrently.
fn indexes(guide: &Guide, conversation: ConversationId) {
    let without = guide.psql(
        "SELECT schemaname, tablename, attname
FROM pg_stats
WHERE schemaname = 'public'
  AND n_distinct > 100
  AND tablename NOT IN (
    SELECT tablename FROM pg_indexes WHERE schemaname = 'public'
  );",
    );
    assert_eq!(without, "");
    let defined = |name| guide.psql(&format!("SELECT indexdef FROM pg_indexes WHERE indexname = '{name}'"));
    let messages = defined("idx_messages_conversation");
    assert!(messages.ends_with("(conversation_id, created_at DESC)"), "{messages}");
    let users = defined("idx_users_last_active");
    guide.psql("DROP INDEX idx_users_last_active");
    guide.psql(
        "CREATE INDEX CONCURRENTLY idx_users_last_active
  ON users(last_active_at) WHERE status = 'ACTIVE';",
    );
    assert_eq!(defined("idx_users_last_active"), users);
    guide.psql("CREATE EXTENSION pg_stat_statements");
    guide.psql("SELECT COUNT(*) FROM messages;");
    let slow = guide.psql(
        "SELECT query, calls, mean_exec_time, max_exec_time
FROM pg_stat_statements
ORDER BY mean_exec_time DESC
LIMIT 10;",
    );
    assert!(slow.lines().count() > 1, "{slow}");
    let plan = "EXPLAIN ANALYZE
SELECT * FROM messages WHERE conversation_id = 'xxx';";
    let plan = guide.psql(&plan.replace("xxx", &conversation.to_string()));
    assert!(plan.contains("rows=3"), "{plan}");
}

async fn upkeep(guide: &Guide, spam: UserId) {
    guide.psql("CREATE USER securemsg_old");
    guide.psql("CREATE USER securemsg_new WITH PASSWORD 'new-password';");
    guide.psql("GRANT ALL PRIVILEGES ON DATABASE securemessenger TO securemsg_new;");
    guide.psql("DROP USER securemsg_old;");
    guide.psql("VACUUM ANALYZE;");
    guide.psql("REINDEX DATABASE securemessenger;");
    guide.store.erase_account(spam, "asked".to_owned(), Origin::system()).await.unwrap();
    let purge = "DELETE FROM users
WHERE status = 'DELETED'
  AND deleted_at < NOW() - INTERVAL '90 days';";
    guide.psql(purge);
    assert_eq!(guide.psql("SELECT COUNT(*) FROM users;"), "2", "not yet");
    guide.psql("UPDATE users SET deleted_at = now() - interval '91 days' WHERE status = 'DELETED'");
    guide.psql(purge);
    assert_eq!(guide.psql("SELECT COUNT(*) FROM users;"), "1");
    assert!(guide.psql("SELECT * FROM pg_stat_activity;").contains(NAME));
    assert_eq!(guide.psql("SELECT 1"), "1");
}
