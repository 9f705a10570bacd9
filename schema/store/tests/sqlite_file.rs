//! What only a file can do: be closed and opened, filled, locked, damaged, restored, tampered with, left by `kill -9`.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod contract;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, atomic::AtomicBool, atomic::Ordering};
use std::time::Duration;

use contract::{Bed, START, TestClock, message, offset, sketch};
use rusqlite::Connection;
use schema_store::audit_chain::Verified;
use schema_store::rows::account::{AuditEntry, Origin};
use schema_store::rows::backup::{BackupEnd, BackupRow, Erased};
use schema_store::rows::condition::Condition;
use schema_store::rows::console::{KeyUse, NewSecurityKey};
use schema_store::rows::role::AccountRole;
use schema_store::sqlite::{self, Options, Swept};
use schema_store::{Accounts, ChangePosition, ConsoleAccess, OpenError, Operations, SqliteStore, Store};
use schema_wire::record::{Append, Appended, Change, StoreFault, UserStatus};
use schema_wire::{Generation, Network, Offset, Position};

fn options(clock: &TestClock) -> Options {
    let clock = clock.clone();
    Options {
        clock: Arc::new(move || clock.now()),
        busy_timeout: Duration::from_millis(50),
        ..Options::default()
    }
}

fn open(file: &Path, clock: &TestClock) -> Bed<SqliteStore> {
    Bed { store: SqliteStore::open_with(file, options(clock)).unwrap(), clock: clock.clone() }
}

#[tokio::test]
async fn retries_are_known_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("store.db"), TestClock::new());
    let bed = open(&file, &clock);
    let (alice, bob, conversation) = bed.pair().await;
    assert_eq!(offset(bed.publish(message(alice, conversation, 1)).await), 1);
    drop(bed);
    let bed = open(&file, &clock);
    let again = bed.publish(message(alice, conversation, 1)).await;
    assert!(matches!(again, Appended::Duplicate { offset: Offset(1), .. }), "{again:?}");
    assert_eq!(offset(bed.publish(message(bob, conversation, 2)).await), 2);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "for nobody else");
}

#[tokio::test]
async fn a_file_tells_how_large_it_and_its_log_are() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("store.db"), TestClock::new());
    let bed = open(&file, &clock);
    let condition = async || match bed.store.condition().await.unwrap() {
        Condition::Sqlite(condition) => condition,
        other => panic!("{other:?}"),
    };
    let before = condition().await;
    assert!(before.file_bytes > 4096, "{before:?}");
    for n in 0..9 {
        bed.store.keep_span(n, 300, vec![7; 1_000_000]).await.unwrap();
    }
    let mut after = condition().await;
    for _ in 0..200 {
        if after.checkpoints > before.checkpoints {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        after = condition().await;
    }
    assert!(after.checkpoints > before.checkpoints && after.checkpointed_at == Some(START), "{after:?}");
    assert!(after.file_bytes > before.file_bytes + 8_000_000 && after.log_bytes > 0, "{after:?}");
    bed.store.forget_spans(300, 9).await.unwrap();
    assert!(condition().await.free_bytes > 8_000_000, "room for new rows");
}

#[tokio::test]
async fn what_is_older_than_it_is_kept_goes() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let bed = open(&folder.path().join("store.db"), &clock);
    let (alice, bob, conversation) = bed.pair().await;
    for n in 1..=2 {
        bed.publish(message(alice, conversation, n)).await;
        clock.forward(86_400_000);
    }
    let from = contract::now_position(&bed).await;
    assert_eq!(bed.store.empty_before(START + 1).await, Ok(1));
    assert_eq!(bed.store.empty_before(START + 1).await, Ok(0));
    assert_eq!(sketch(&bed.page(bob.user, conversation, 1, false).await), "expired(1) 2 -> 3");
    let told = contract::changes_since(&bed, from).await;
    assert_eq!(told, [Change::Erased { conversation }], "live sessions forget it");
    let trail = async || bed.store.audit_page(None, 200).await.unwrap();
    let before = trail().await;
    assert_eq!(bed.store.prune_audit(START).await, Ok(0), "nothing is that old");
    let pruned = bed.store.prune_audit(clock.now()).await.unwrap();
    let after = trail().await;
    assert!(pruned >= before.len() as u64 && after.len() <= 2, "{pruned} of {}", before.len());
    assert_eq!(after[0].event, "AUDIT_PRUNED");
    let verified = bed.store.audit_verify(None, 1000).await.unwrap();
    assert!(matches!(verified, Verified::Intact { more: false, .. }), "the chain goes on: {verified:?}");
    bed.person("carol").await;
    assert!(matches!(bed.store.audit_verify(None, 1000).await.unwrap(), Verified::Intact { .. }));
}

#[tokio::test]
async fn a_restore_begins_a_generation_and_rewinds() {
    let folder = tempfile::tempdir().unwrap();
    let (file, backup, clock) =
        (folder.path().join("store.db"), folder.path().join("backup"), TestClock::new());
    let bed = open(&file, &clock);
    let (alice, bob, conversation) = bed.pair().await;
    let say = async |bed: &Bed<SqliteStore>, n| bed.publish(message(alice, conversation, n)).await;
    for n in 1..=3 {
        say(&bed, n).await;
    }
    drop(bed);
    std::fs::copy(&file, &backup).unwrap();
    let bed = open(&file, &clock);
    let old = bed.standing(bob.user, conversation, None).await.unwrap().generation;
    assert_eq!((offset(say(&bed, 4).await), offset(say(&bed, 5).await)), (4, 5));
    drop(bed);
    std::fs::copy(&backup, &file).unwrap();
    let bed = open(&file, &clock);
    let new = bed.store.begin_generation("restore".to_owned()).await.unwrap();
    assert!(new > old && u64::from(new.0) >= START / 1000);
    let rewound = async |generation, at| {
        let after = Some(Position { generation, offset: Offset(at) });
        bed.standing(bob.user, conversation, after).await.unwrap().rewound
    };
    assert_eq!(rewound(old, 5).await, Some(Offset(3)));
    assert_eq!(rewound(old, 3).await, None);
    for n in 6..=9 {
        say(&bed, n).await;
    }
    assert_eq!(rewound(old, 5).await, Some(Offset(3)), "offset 5 is another message now");
    assert_eq!(rewound(new, 5).await, None);
    let retried = say(&bed, 5).await;
    assert_eq!(offset(retried), 8, "what the restore lost is published again by its key");
    let newer = bed.store.begin_generation("again".to_owned()).await.unwrap();
    assert_eq!((rewound(old, 5).await, rewound(new, 8).await), (Some(Offset(3)), None));
    assert_eq!(rewound(newer, 99).await, Some(Offset(8)), "beyond the head there is nothing");
    let page = contract::events(&bed, alice.user, Position { generation: old, offset: Offset(99) }).await;
    assert_eq!((page.rewound, page.generation), (Some(page.head), newer));
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let options = Options { pages_max: 400, ..options(&clock) };
    let store = SqliteStore::open_with(&folder.path().join("store.db"), options).unwrap();
    let bed = Bed { store, clock };
    let (alice, bob, conversation) = bed.pair().await;
    let big = |n| Append {
        body: vec![1; 64 * 1024].into(),
        expires_in: Some(60),
        ..message(alice, conversation, n)
    };
    let mut stored = 0;
    let fault = loop {
        match bed.store.append(vec![message(bob, conversation, 1000 + stored), big(stored)]).await {
            Ok(_) => stored += 1,
            Err(fault) => break fault,
        }
        assert!(stored < 100, "the bound was not noticed");
    };
    assert_eq!(fault, StoreFault::Full);
    let head = bed.standing(bob.user, conversation, None).await.unwrap().head;
    assert_eq!(head, Offset(2 * stored), "nothing of the failed batch is there");
    assert!(sketch(&bed.page(bob.user, conversation, 1, false).await).starts_with("1 2"), "reading goes on");
    bed.clock.forward(60_000);
    let swept = bed.store.sweep(bed.clock.now()).await.unwrap();
    assert_eq!(swept.expired as u64, stored);
    let again = bed.store.append(vec![message(bob, conversation, 1000 + stored), big(stored)]).await.unwrap();
    assert_eq!((offset(again[0]), offset(again[1])), (head.0 + 1, head.0 + 2));
}

#[tokio::test]
async fn a_locked_file_is_unavailable_until_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("store.db"), TestClock::new());
    let bed = open(&file, &clock);
    let (alice, _, conversation) = bed.pair().await;
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = bed.store.append(vec![message(alice, conversation, 1)]).await;
    assert_eq!(held, Err(StoreFault::Unavailable));
    assert_eq!(bed.store.check().await, Err(StoreFault::Unavailable));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(offset(bed.publish(message(alice, conversation, 1)).await), 1);
    assert_eq!(bed.store.check().await, Ok(()));
}

#[tokio::test]
async fn a_failed_batch_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("store.db"), TestClock::new());
    let bed = open(&file, &clock);
    let (alice, bob, conversation) = bed.pair().await;
    let sql = Connection::open(&file).unwrap();
    sql.execute_batch(
        "CREATE TRIGGER broken BEFORE INSERT ON messages WHEN new.kind = 99 BEGIN SELECT RAISE(ABORT, 'broken'); END",
    )
    .unwrap();
    let batch =
        || vec![message(alice, conversation, 1), Append { kind: 99, ..message(alice, conversation, 2) }];
    assert_eq!(bed.store.append(batch()).await, Err(StoreFault::Unavailable));
    assert_eq!(bed.page(bob.user, conversation, 1, false).await.head, Offset(0));
    sql.execute_batch("DROP TRIGGER broken").unwrap();
    let again = bed.store.append(batch()).await.unwrap();
    assert_eq!(again.into_iter().map(offset).collect::<Vec<_>>(), [1, 2], "the keys were not kept either");
}

/// A clock at which the writer can be held.
struct Gate {
    closed: AtomicBool,
    arrived: Mutex<Sender<()>>,
    open: Mutex<Receiver<()>>,
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (arrived, at_gate) = channel();
    let (release, opened) = channel();
    let gate = Arc::new(Gate {
        closed: AtomicBool::new(false),
        arrived: Mutex::new(arrived),
        open: Mutex::new(opened),
    });
    let guard = gate.clone();
    let clock: schema_store::sqlite::Clock = Arc::new(move || {
        if guard.closed.swap(false, Ordering::SeqCst) {
            guard.arrived.lock().unwrap().send(()).unwrap();
            guard.open.lock().unwrap().recv().unwrap();
        }
        START
    });
    let options = Options { clock, queue_max: 2, ..Options::default() };
    let store = SqliteStore::open_with(&folder.path().join("store.db"), options).unwrap();
    let bed = Bed { store, clock: TestClock::new() };
    let (alice, _, conversation) = bed.pair().await;
    gate.closed.store(true, Ordering::SeqCst);
    let spawn = |n| {
        let store = bed.store.clone();
        tokio::spawn(async move { store.append(vec![message(alice, conversation, n)]).await })
    };
    let first = spawn(1);
    tokio::task::spawn_blocking(move || at_gate.recv().unwrap()).await.unwrap();
    let mut waiting = [2, 3].map(|n| Box::pin(bed.store.append(vec![message(alice, conversation, n)])));
    for append in &mut waiting {
        assert!(futures_util::poll!(append).is_pending(), "there is room in the queue");
    }
    let refused = bed.store.append(vec![message(alice, conversation, 4)]).await;
    assert_eq!(refused, Err(StoreFault::Unavailable));
    release.send(()).unwrap();
    assert_eq!(offset(first.await.unwrap().unwrap()[0]), 1);
    for (append, expected) in waiting.into_iter().zip(2..) {
        assert_eq!(offset(append.await.unwrap()[0]), expected);
    }
}

#[tokio::test]
async fn tampering_breaks_the_audit_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("store.db"), TestClock::new());
    let bed = open(&file, &clock);
    for n in 0..10 {
        let entry = AuditEntry { event: "TEST", subject: None, detail: n.to_string() };
        bed.store.audit(entry, Origin::system()).await.unwrap();
    }
    let sql = Connection::open(&file).unwrap();
    let broken_at = async |statement: &str| {
        sql.execute_batch(&format!("SAVEPOINT t; {statement}; RELEASE t")).unwrap();
        match bed.store.audit_verify(None, 100).await.unwrap() {
            Verified::Broken { id } => Some(id),
            Verified::Intact { .. } => None,
        }
    };
    assert_eq!(broken_at("UPDATE audit_logs SET detail = '7x' WHERE id = 8").await, Some(8));
    assert_eq!(broken_at("UPDATE audit_logs SET detail = '7' WHERE id = 8").await, None, "as it was");
    assert_eq!(broken_at("UPDATE audit_logs SET hash = zeroblob(32) WHERE id = 9").await, Some(9));
    assert_eq!(broken_at("DELETE FROM audit_logs WHERE id = 5").await, Some(5));
    assert_eq!(
        broken_at("DELETE FROM audit_logs WHERE id < 10").await,
        None,
        "pruned by age: the rest stands"
    );
}

#[tokio::test]
async fn what_is_changed_in_sql_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    // Triggers go by the machine's clock, so the store must as well.
    let bed = Bed { store: SqliteStore::open(&file).unwrap(), clock: TestClock::new() };
    let now = (Options::default().clock)();
    let alice = bed.person("alice").await;
    let (_, at) = bed.store.changes(ChangePosition::default(), 1).await.unwrap();
    let sql = Connection::open(&file).unwrap();
    let ends = now + 60_000;
    sql.execute_batch(&format!("UPDATE users SET status = 'SUSPENDED', suspended_until = {ends}")).unwrap();
    sql.execute_batch("UPDATE users SET name = 'Alicia'").unwrap();
    sql.execute_batch("INSERT INTO banned_ips (ip_address) VALUES ('192.0.2.0/24')").unwrap();
    let swept = bed.store.sweep(ends).await.unwrap();
    assert_eq!(swept, Swept { suspensions_ended: 1, ..Swept::default() });
    let changes = bed.store.changes(at, 10).await.unwrap().0;
    let status = |status| Change::UserStatus { user: alice.user, status };
    let expected = [
        status(UserStatus::Suspended { until: Some(ends) }),
        Change::AddressBanned { network: Network::parse("192.0.2.0/24").unwrap() },
        status(UserStatus::Active),
    ];
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn sweeping_empties_what_expired() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("store.db"), TestClock::new());
    let bed = open(&file, &clock);
    let (alice, bob, conversation) = bed.pair().await;
    bed.publish(Append { expires_in: Some(1), ..message(alice, conversation, 1) }).await;
    bed.publish(message(alice, conversation, 2)).await;
    bed.clock.forward(2 * 3_600_000);
    let swept = bed.store.sweep(bed.clock.now()).await.unwrap();
    assert_eq!((swept.expired, swept.more), (1, false));
    assert!(swept.changes > 0);
    let sql = Connection::open(&file).unwrap();
    let left: i64 =
        sql.query_row("SELECT count(*) FROM messages WHERE length(body) > 0", [], |r| r.get(0)).unwrap();
    assert_eq!(left, 1);
    assert_eq!(sketch(&bed.page(bob.user, conversation, 1, false).await), "expired(1) 2 -> 3");
    let (none, at) = bed.store.changes(ChangePosition::default(), 10).await.unwrap();
    assert!(none.is_empty() && at != ChangePosition::default(), "an empty log still has an end");
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let error = |file: &Path| SqliteStore::open_with(file, options(&clock)).map(drop).unwrap_err();
    let file = folder.path().join("store.db");
    drop(open(&file, &clock));
    let sql = |statement: &str| Connection::open(&file).unwrap().execute_batch(statement).unwrap();

    sql("INSERT INTO refinery_schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')");
    let newest = schema_store::sqlite::schema_version();
    assert!(matches!(error(&file), OpenError::Newer { found: 99, known, .. } if known == newest));
    sql("DELETE FROM refinery_schema_history WHERE version = 99");
    sql("UPDATE refinery_schema_history SET checksum = '1' WHERE version = 2");
    assert!(matches!(error(&file), OpenError::Altered { version: 2, .. }));

    let holder = Connection::open(&file).unwrap();
    holder.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(error(&file), OpenError::Locked { .. }));
    drop(holder);

    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096..12 * 4096].fill(0xa5);
    std::fs::write(&file, &bytes).unwrap();
    assert!(matches!(error(&file), OpenError::Damaged { .. }), "damage inside");
    std::fs::write(&file, vec![b'x'; 8192]).unwrap();
    assert!(matches!(error(&file), OpenError::Damaged { .. }), "not a database");

    assert!(matches!(error(&folder.path().join("no/such/store.db")), OpenError::NotWritable { .. }));
    assert!(matches!(error(Path::new("/proc/store.db")), OpenError::NotWritable { .. }));
    for (error, word) in [(error(&file), "backup"), (error(Path::new("/proc/store.db")), "permissions")] {
        let line = error.to_string();
        assert!(line.contains(word) && !line.contains('\n'), "{line}");
    }
}

#[tokio::test]
async fn attempts_at_backups_are_noted_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let bed = open(&folder.path().join("store.db"), &TestClock::new());
    let attempt = |n: u64, end| BackupRow {
        kind: "SCHEDULED".to_owned(),
        location: format!("place/{n}"),
        started_at: n,
        finished_at: n + 5,
        end,
    };
    let audit = bed.store.audit_head().await.unwrap();
    let done = BackupEnd::Done { bytes: 7, manifest_sha256: [1; 32], generation: Generation(1), audit };
    let rows = [attempt(1, done), attempt(2, BackupEnd::Failed { why: "no room".to_owned() })];
    for row in &rows {
        bed.store.note_backup(row.clone()).await.unwrap();
    }
    assert_eq!(bed.store.backups(10).await.unwrap(), [rows[1].clone(), rows[0].clone()]);
    assert_eq!(bed.store.backups(1).await.unwrap(), [rows[1].clone()]);
}

#[tokio::test]
async fn a_copy_is_of_one_moment_and_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let (file, copy) = (folder.path().join("store.db"), folder.path().join("copy?#%"));
    let bed = open(&file, &TestClock::new());
    let (alice, bob, conversation) = bed.pair().await;
    for n in 1..=5 {
        bed.publish(message(alice, conversation, n)).await;
    }
    bed.store.erase_account(bob.user, "asked for it".to_owned(), Origin::system()).await.unwrap();
    sqlite::copy(&file, &copy).unwrap();
    let (contents, erased) = sqlite::contents(&copy).unwrap();
    assert_eq!((contents.users, contents.conversations, contents.messages), (2, 1, 5));
    assert_eq!(contents.audit, bed.store.audit_head().await.unwrap());
    assert_eq!((erased.len(), erased[0].user), (1, bob.user));
    assert_eq!(sqlite::schema_of(&file).unwrap(), contents.schema);
    sqlite::check_copy(&copy).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "nothing is made beside the copy");
    Connection::open(&copy).unwrap().execute("DELETE FROM messages WHERE log_offset = 3", []).unwrap();
    let gap = sqlite::check_copy(&copy).unwrap_err();
    assert!(gap.to_string().contains("miss messages"), "{gap}");
    std::fs::write(&copy, b"no database at all").unwrap();
    assert!(matches!(sqlite::check_copy(&copy), Err(sqlite::CopyError::Damaged { .. })));
    let missing = sqlite::copy(&folder.path().join("none"), &copy).unwrap_err();
    assert!(matches!(missing, sqlite::CopyError::Missing { .. }), "{missing}");
}

#[tokio::test]
async fn a_restored_backup_erases_again_whoever_was_its_only_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let bed = open(&folder.path().join("store.db"), &TestClock::new());
    let erased = |user| Erased { user, reason: "asked".to_owned(), erased_at: 1 };
    let both = ["ada", "eve"].map(|name| bed.staff(name, AccountRole::Admin));
    let mut all = Vec::new();
    for user in both {
        all.push(erased(user.await));
    }
    let restored = bed.store.after_restore("restored".to_owned(), all.clone()).await.unwrap();
    assert_eq!(restored.erased_again, 2);
    assert!(bed.store.profile(all[1].user).await.is_err(), "nobody is left");
    let again = bed.store.after_restore("once more".to_owned(), all).await.unwrap();
    assert_eq!(again.erased_again, 0, "each step may be repeated");
}

#[tokio::test]
async fn a_key_of_before_says_at_its_next_use_whether_it_may_be_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (file, clock) = (folder.path().join("store.db"), TestClock::new());
    let bed = open(&file, &clock);
    let user = bed.staff("mia", AccountRole::Moderator).await;
    let new = NewSecurityKey {
        name: "blue".into(),
        credential: vec![1; 32],
        public_key: vec![9; 77],
        sign_count: 0,
        backup_eligible: false,
    };
    let key = bed.store.add_security_key(user, new, Origin::system()).await.unwrap();
    Connection::open(&file).unwrap().execute("UPDATE security_keys SET backup_eligible = NULL", []).unwrap();
    let kept = async || bed.store.security_keys(user).await.unwrap()[0].backup_eligible;
    assert_eq!(kept().await, None);
    for backup_eligible in [true, false] {
        let said = KeyUse { sign_count: 0, backup_eligible };
        assert_eq!(bed.store.use_security_key(user, key, said, Origin::system()).await, Ok(true));
        assert_eq!(kept().await, Some(true), "the first word holds");
    }
}
