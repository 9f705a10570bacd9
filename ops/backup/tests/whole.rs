//! Whole backups of a real database into a folder and back: what comes back, what does not, what is refused.
#![allow(clippy::unwrap_used)]

mod bed;
mod equal;
mod people;

use std::collections::BTreeSet;

use backup::catalogue::{self, Which};
use backup::key::{Keyring, MasterKey};
use backup::manifest::ManifestError;
use backup::restore::Target;
use backup::run::FolderLock;
use backup::{BackupError, check, drill, prune, rekey};
use bed::{Bed, wait};
use people::{pair, person, publish_keys, write};
use schema_store::rows::account::Origin;
use schema_store::{Accounts, SqliteStore};
use schema_wire::Offset;

#[test]
fn what_was_written_comes_back_and_clients_are_told_to_rewind() {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, bob, conversation) = wait(pair(&store));
    wait(write(&store, alice, conversation, 1..40));
    wait(publish_keys(&store, bob, 3));
    let made = bed.back_up().unwrap();
    assert_eq!((made.contents.users, made.contents.messages), (2, 39));
    wait(write(&store, alice, conversation, 40..50));
    drop(store);
    let back = bed.restore(Which::Latest, &bed.elsewhere()).unwrap();
    assert_eq!(back.name, made.name);
    assert_eq!((back.contents.users, back.contents.messages), (2, 39));
    assert!(back.restored.generation > made.contents.generation);
    assert_eq!(back.restored.packages_dropped, 3);
    let restored = SqliteStore::open(&bed.elsewhere().database).unwrap();
    let page = wait(restored.history(bob.user, conversation, Offset(1), 100, false)).unwrap();
    assert_eq!(page.entries.len(), 39);
    assert!(matches!(wait(restored.keys_left(bob.user, bob.device)).unwrap().packages, 0));
    drop(restored);
    assert_eq!(bed.files("other"), ["backup.lock", "messenger.db"], "nothing else stays");
}

#[test]
fn no_plain_word_lies_in_the_place_and_no_copy_beside_the_database() {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, _, conversation) = wait(pair(&store));
    wait(write(&store, alice, conversation, 1..20));
    bed.back_up().unwrap();
    let files = bed.files("place");
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let bytes = std::fs::read(bed.folder.path().join("place").join(&file)).unwrap();
        for word in ["plain words", "alice", "SQLite format"] {
            assert!(!bytes.windows(word.len()).any(|w| w == word.as_bytes()), "{file} says {word}");
        }
    }
    assert!(!bed.files("data").iter().any(|file| file.contains("copy")));
}

#[test]
fn who_was_erased_after_the_backup_is_erased_again() {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, bob, conversation) = wait(pair(&store));
    wait(write(&store, alice, conversation, 1..6));
    wait(write(&store, bob, conversation, 6..8));
    let old = bed.back_up().unwrap();
    let carol = wait(person(&store, "carol"));
    for gone in [alice, carol] {
        wait(store.erase_account(gone.user, "asked for it".to_owned(), Origin::system())).unwrap();
    }
    bed.back_up().unwrap();
    drop(store);
    let back = bed.restore(Which::Named(old.name), &bed.elsewhere()).unwrap();
    assert_eq!(back.restored.erased_again, 1, "carol is not in that backup");
    let restored = SqliteStore::open(&bed.elsewhere().database).unwrap();
    let page = wait(restored.history(bob.user, conversation, Offset(1), 100, false)).unwrap();
    assert!(!format!("{page:?}").contains("plain words of message 5"), "her messages are gone");
    assert!(wait(restored.find_user("alice@example.org".to_owned())).is_err());
    assert!(wait(restored.find_user("bob@example.org".to_owned())).is_ok());
    drop(restored);
    let (_, ledger) = schema_store::sqlite::contents(&bed.elsewhere().database).unwrap();
    let users: BTreeSet<_> = ledger.iter().map(|erased| erased.user).collect();
    assert_eq!(users, BTreeSet::from([alice.user, carol.user]), "a later restore knows of both");
}

#[test]
fn a_folder_with_something_in_it_needs_to_be_told_and_is_backed_up_first() {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, bob, conversation) = wait(pair(&store));
    wait(write(&store, alice, conversation, 1..4));
    let made = bed.back_up().unwrap();
    wait(write(&store, alice, conversation, 4..9));
    wait(store.erase_account(bob.user, "asked for it".to_owned(), Origin::system())).unwrap();
    drop(store);
    let over = |replace| Target { database: bed.database(), replace };
    let refused = bed.restore(Which::Latest, &over(false)).unwrap_err();
    assert!(matches!(refused, BackupError::NotEmpty { .. }), "{refused}");
    let back = bed.restore(Which::Named(made.name), &over(true)).unwrap();
    assert_eq!(back.contents.messages, 3);
    assert_eq!(back.restored.erased_again, 1, "the ledger of what was there counts");
    let safety = back.safety.unwrap();
    assert_eq!(safety.contents.messages, 8);
    assert_eq!(back.aside, None);
    let undone = bed.restore(Which::Named(safety.name), &bed.elsewhere()).unwrap();
    assert_eq!(undone.contents.messages, 8, "the safety backup is a backup");
}

#[test]
fn what_is_damaged_moves_aside_and_a_log_without_database_is_not_taken_for_the_new_ones() {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, _, conversation) = wait(pair(&store));
    wait(write(&store, alice, conversation, 1..4));
    bed.back_up().unwrap();
    drop(store);
    let over = Target { database: bed.database(), replace: true };
    std::fs::write(bed.database(), b"no database").unwrap();
    let back = bed.restore(Which::Latest, &over).unwrap();
    assert!(back.safety.is_none());
    assert_eq!(std::fs::read(back.aside.unwrap()).unwrap(), b"no database");
    std::fs::remove_file(bed.database()).unwrap();
    std::fs::write(bed.database().with_extension("db-wal"), b"no log").unwrap();
    bed.restore(Which::Latest, &over).unwrap();
    let files = bed.files("data");
    assert!(files.iter().any(|file| file.contains(".replaced-") && file.ends_with("-wal")), "{files:?}");
    let (contents, _) = schema_store::sqlite::contents(&bed.database()).unwrap();
    assert_eq!(contents.messages, 3);
}

/// Three backups, so that parts can be swapped between them; gives their folders.
fn several() -> (Bed, Vec<backup::name::BackupName>) {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, _, conversation) = wait(pair(&store));
    let mut names = Vec::new();
    for round in 0..2 {
        wait(write(&store, alice, conversation, 1 + round * 20..21 + round * 20));
        names.push(bed.back_up().unwrap().name);
    }
    (bed, names)
}

#[test]
fn every_altered_archive_is_refused_before_the_target_is_touched() {
    let (bed, names) = several();
    let place = bed.folder.path().join("place");
    let newest = names[1];
    let object = |name: backup::name::BackupName, part: &str| place.join(name.path(part));
    let target = bed.elsewhere();
    let mut random = 1u64;
    let mut step = |below: usize| {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (random >> 33) as usize % below
    };
    let mut refused = 0;
    let mut refuse = |part: &str, content: Option<&[u8]>| {
        let path = object(newest, part);
        let before = std::fs::read(&path).unwrap();
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = bed.restore(Which::Named(newest), &target).expect_err("an altered archive");
        assert_eq!(bed.files("other"), ["backup.lock"], "{part}: {error}");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, before).unwrap();
        refused += 1;
    };
    for part in ["store.0000", "erasures", "manifest.json"] {
        let (own, other) =
            (std::fs::read(object(newest, part)).unwrap(), std::fs::read(object(names[0], part)).unwrap());
        for _ in 0..30 {
            let mut flipped = own.clone();
            let at = step(own.len());
            flipped[at] ^= 1 << step(8);
            refuse(part, Some(&flipped));
            refuse(part, Some(&own[..step(own.len())]));
        }
        refuse(part, Some(&[own.as_slice(), b"x"].concat()));
        refuse(part, Some(&other));
        refuse(part, None);
    }
    assert!(refused > 180, "{refused}");
    let back = bed.restore(Which::Named(newest), &target).unwrap();
    assert_eq!(back.contents.messages, 40, "unharmed, it comes back");
}

#[test]
fn a_whole_backup_under_another_name_or_with_another_key_is_refused() {
    let (bed, names) = several();
    let place = bed.folder.path().join("place/database");
    let (old, new) = (place.join(names[0].to_string()), place.join(names[1].to_string()));
    std::fs::rename(&new, place.join("kept")).unwrap();
    std::fs::create_dir(&new).unwrap();
    for entry in std::fs::read_dir(&old).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), new.join(entry.file_name())).unwrap();
    }
    let replayed = bed.restore(Which::Latest, &bed.elsewhere()).unwrap_err();
    let is_foreign = matches!(&replayed, BackupError::Manifest { why: ManifestError::Foreign(_), .. });
    assert!(is_foreign, "{replayed}");
    let wrong = Keyring::of(MasterKey::generate());
    let refused = bed.restore_with(&wrong, Which::Named(names[0]), &bed.elsewhere()).unwrap_err();
    assert!(matches!(refused, BackupError::Manifest { why: ManifestError::UnknownKey(_), .. }), "{refused}");
    assert_eq!(bed.files("other"), ["backup.lock"]);
}

#[test]
fn what_has_no_manifest_is_no_backup_and_is_pruned_a_day_later() {
    let (bed, names) = several();
    let place = bed.folder.path().join("place");
    std::fs::remove_file(place.join(names[1].path("manifest.json"))).unwrap();
    let refused = bed.restore(Which::Named(names[1]), &bed.elsewhere()).unwrap_err();
    assert!(matches!(refused, BackupError::NoSuch { .. }), "{refused}");
    let back = bed.restore(Which::Latest, &bed.elsewhere()).unwrap();
    assert_eq!(back.name, names[0], "the newest whole one");
    let retention = backup::retain::Retention::LOCAL;
    let pruned = |hours: i64| {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        bed::on_ring(async { prune::prune(&bed.place(), &retention, now, false).await }).unwrap()
    };
    assert_eq!(pruned(1).interrupted, []);
    assert_eq!(pruned(25).interrupted, [names[1]]);
    let left = bed::on_ring(async { catalogue::entries(&bed.place()).await }).unwrap();
    assert_eq!(left.iter().map(|entry| entry.name).collect::<Vec<_>>(), [names[0]]);
    assert!(pruned(24 * 400).removed.is_empty(), "the newest is never removed");
}

#[test]
fn rekeying_changes_manifests_only_and_the_old_key_is_not_needed_any_more() {
    let (bed, names) = several();
    let place = bed.folder.path().join("place");
    let object = place.join(names[0].path("store.0000"));
    let before = std::fs::read(&object).unwrap();
    let new = MasterKey::generate();
    let both =
        Keyring::parse(&format!("{}\n{}", *new.to_text(), *bed.keys.current().to_text()), "x").unwrap();
    let turn = || bed::on_ring(async { rekey::rekey(&bed.place(), &both).await }).unwrap();
    assert_eq!(turn().changed, 2);
    assert_eq!((turn().changed, turn().unchanged), (0, 2));
    assert_eq!(std::fs::read(&object).unwrap(), before);
    let only_new = Keyring::of(new);
    let checked = bed::on_ring(async {
        check::check(&bed.place(), Which::Named(names[0]), &only_new, &mut |_, _| {}).await
    });
    checked.unwrap();
    assert_eq!(bed.restore_with(&only_new, Which::Latest, &bed.elsewhere()).unwrap().name, names[1]);
    assert!(bed.restore(Which::Latest, &bed.elsewhere()).is_err(), "the old key opens nothing");
}

#[test]
fn only_one_backup_or_restore_at_a_time_and_missing_things_are_named() {
    let bed = Bed::new();
    let none = bed.restore(Which::Latest, &bed.elsewhere()).unwrap_err();
    assert!(matches!(none, BackupError::None { .. }), "{none}");
    let missing = bed.back_up().unwrap_err();
    assert!(missing.to_string().contains("there is no database"), "{missing}");
    drop(bed.store());
    let lock = FolderLock::take(&bed.folder.path().join("data")).unwrap();
    let busy = bed.back_up().unwrap_err();
    assert!(matches!(busy, BackupError::Busy { .. }), "{busy}");
    drop(lock);
    bed.back_up().unwrap();
}

#[test]
fn a_backup_of_a_database_in_use_is_of_one_moment() {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, _, conversation) = wait(pair(&store));
    let writer = {
        let store = store.clone();
        std::thread::spawn(move || wait(write(&store, alice, conversation, 1..400)))
    };
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(bed.back_up().unwrap());
    }
    writer.join().unwrap();
    for made in names {
        let target = bed.beside(&format!("of-{}", made.name));
        let back = bed.restore(Which::Named(made.name), &target).unwrap();
        assert_eq!(back.contents.messages, made.contents.messages, "dense, or it would be refused");
    }
}

#[test]
fn a_drill_restores_beside_and_leaves_nothing() {
    let (bed, names) = several();
    let but_the_lock = || {
        let files = bed.files("data").into_iter().filter(|file| file != "backup.drill.lock");
        files.collect::<Vec<_>>()
    };
    let before = but_the_lock();
    let turn = |which| {
        bed::on_ring(async {
            let folder = bed.folder.path().join("data");
            drill::drill(&bed.place(), which, &bed.keys, &folder, &mut |_, _| {}).await
        })
    };
    let drilled = turn(Which::Latest).unwrap();
    assert_eq!((drilled.name, drilled.contents.messages), (names[1], 40));
    assert_eq!(turn(Which::Named(names[0])).unwrap().contents.messages, 20);
    assert_eq!(but_the_lock(), before);
    let held = std::fs::File::open(bed.folder.path().join("data/backup.drill.lock")).unwrap();
    held.lock().unwrap();
    let busy = turn(Which::Latest).unwrap_err();
    assert!(matches!(busy, BackupError::Drilling { .. }), "{busy}");
    drop(held);
    let database = bed.database();
    let sqlite = rusqlite::Connection::open(&database).unwrap();
    sqlite.execute("UPDATE audit_logs SET detail = 'nothing' WHERE id = 1", []).unwrap();
    drop(sqlite);
    bed.back_up().unwrap();
    let broken = turn(Which::Latest).unwrap_err();
    assert!(matches!(broken, BackupError::Audit { entry: 1, .. }), "{broken}");
    assert_eq!(but_the_lock().iter().filter(|file| file.contains("drill")).count(), 0);
}

#[test]
fn a_clock_that_runs_behind_makes_no_backup_that_would_not_be_the_newest() {
    let (bed, names) = several();
    let place = bed.folder.path().join("place/database");
    let future = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let ahead = backup::name::BackupName::at(future);
    std::fs::create_dir(place.join(ahead.to_string())).unwrap();
    std::fs::write(place.join(ahead.to_string()).join("manifest.json"), "whatever it is").unwrap();
    let refused = bed.back_up().unwrap_err();
    assert!(matches!(refused, BackupError::Clock { .. }), "{refused}");
    assert!(refused.to_string().contains(&ahead.to_string()), "{refused}");
    assert_eq!(
        bed::on_ring(async { catalogue::entries(&bed.place()).await }).unwrap().len(),
        3,
        "nothing was begun"
    );
    std::fs::rename(place.join(ahead.to_string()), bed.folder.path().join("moved away")).unwrap();
    let made = bed.back_up().unwrap();
    assert!(made.name > names[1]);
}

#[test]
fn a_backup_of_a_newer_version_is_refused() {
    let (bed, names) = several();
    let path = bed.folder.path().join("place").join(names[1].path("manifest.json"));
    let found = bed::on_ring(async { catalogue::manifest(&bed.place(), names[1], &bed.keys).await });
    let mut manifest = found.unwrap();
    manifest.holds.schema += 1;
    std::fs::write(&path, manifest.sign(bed.keys.current())).unwrap();
    let refused = bed.restore(Which::Latest, &bed.elsewhere()).unwrap_err();
    assert!(matches!(refused, BackupError::Newer { .. }), "{refused}");
    assert_eq!(bed.files("other"), ["backup.lock"]);
}

#[test]
fn what_was_pruned_while_it_was_made_is_no_backup() {
    let bed = Bed::new();
    let store = bed.store();
    let (alice, _, conversation) = wait(pair(&store));
    wait(write(&store, alice, conversation, 1..4));
    let mut is_gone = false;
    // As a clock that runs ahead does it.
    let mut prune = |_: u64, _: u64| {
        for folder in std::fs::read_dir(bed.folder.path().join("place/database")).unwrap() {
            is_gone |= std::fs::remove_file(folder.unwrap().path().join("store.0000")).is_ok();
        }
    };
    let made =
        bed::on_ring(async { backup::run::run(&bed.place(), &bed.keys, &bed.database(), &mut prune).await });
    let refused = made.unwrap_err();
    assert!(is_gone && matches!(refused, BackupError::Pruned { .. }), "{refused}");
    assert_eq!(bed::on_ring(async { catalogue::entries(&bed.place()).await }).unwrap(), []);
}

#[test]
fn an_older_schema_is_brought_up_to_date() {
    let bed = Bed::new();
    // As a program left it that does not know the newest migration.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema/store/migrations/sqlite");
    let mut migrations = refinery::load_sql_migrations(folder).unwrap();
    migrations.sort();
    migrations.pop();
    let before = migrations.last().unwrap().version();
    let mut sqlite = rusqlite::Connection::open(bed.database()).unwrap();
    refinery::Runner::new(&migrations).run(&mut sqlite).unwrap();
    drop(sqlite);
    let made = bed.back_up().unwrap();
    assert_eq!(i64::from(made.contents.schema), i64::from(before));
    let back = bed.restore(Which::Latest, &bed.elsewhere()).unwrap();
    assert_eq!(back.contents.schema, schema_store::sqlite::schema_version());
    assert!(back.contents.schema > made.contents.schema);
}
