//! What is refused: altered archives, wrong keys, other versions, targets that cannot be, places that deny. One line each, a
//! code of its own, and nothing of the target is touched.

use std::path::{Path, PathBuf};

use backup::catalogue::{self, Which};
use backup::key::Keyring;
use backup::manifest::Manifest;
use backup::place::{BucketAccess, Location, Place};
use servers::{Options, account};

use crate::bed::{Bed, KEY, files, fine, messages, refused};

/// A chunk of a sealed object with its tag, and the bytes before the first one.
const CHUNK: usize = 64 * 1024 + 16;
const HEAD: usize = 8;

/// Every way in which one object is made another one; `other` is the same part of another backup.
fn altered(own: &[u8], other: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let flipped = |at: usize| {
        let mut bytes = own.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let mut all = vec![
        ("flipped in the middle", flipped(own.len() / 2)),
        ("flipped at the end", flipped(own.len() - 1)),
        ("cut in the middle", own[..own.len() / 2].to_vec()),
        ("cut by a byte", own[..own.len() - 1].to_vec()),
        ("longer", [own, b"x"].concat()),
        ("of another backup", other.to_vec()),
    ];
    if own.len() > HEAD + 2 * CHUNK {
        let (first, second) = own[HEAD..].split_at(CHUNK);
        let (second, rest) = second.split_at(CHUNK);
        let last = HEAD + (own.len() - HEAD - 1) / CHUNK * CHUNK;
        all.push(("reordered", [&own[..HEAD], second, first, rest].concat()));
        all.push(("doubled", [&own[..HEAD], first, first, second, rest].concat()));
        all.push(("without its last chunk", own[..last].to_vec()));
    }
    all
}

/// Writes each altered content in its turn, and nothing at all, and asks `look` whether it was refused.
fn each_is_refused(object: &Path, other: &Path, mut look: impl FnMut(&str)) -> usize {
    let (own, other) = (std::fs::read(object).unwrap(), std::fs::read(other).unwrap());
    let all = altered(&own, &other);
    for (how, content) in &all {
        std::fs::write(object, content).unwrap();
        look(&format!("{} {how}", object.display()));
    }
    std::fs::remove_file(object).unwrap();
    look(&format!("{} removed", object.display()));
    std::fs::write(object, own).unwrap();
    all.len() + 1
}

fn untouched(bed: &Bed, what: &str) {
    let output = bed.restoring(&["latest"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(14 | 8 | 15)), "{what}: {:?} {text}", output.status.code());
    let said = text.lines().filter(|line| line.starts_with("messenger: ")).count();
    assert_eq!(said, 1, "{what}: {text}");
    assert!(!bed.target().exists() && !bed.path("back/pg.restoring").exists(), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_altered_base_backup_is_refused_and_nothing_is_left() {
    let bed = Bed::new();
    let old = bed.back_up();
    bed.talk(1..11).await;
    let new = bed.back_up();
    let of = |name: &str, part: &str| bed.seen.join("database").join(name).join(part);
    let mut refusals = 0;
    for part in ["base.0000", "erasures"] {
        refusals += each_is_refused(&of(&new, part), &of(&old, part), |what| untouched(&bed, what));
    }
    // Without a manifest it is none, and the one before it is the newest.
    let manifest = std::fs::read(of(&new, "manifest.json")).unwrap();
    let other = std::fs::read(of(&old, "manifest.json")).unwrap();
    for (how, content) in altered(&manifest, &other) {
        std::fs::write(of(&new, "manifest.json"), content).unwrap();
        untouched(&bed, how);
        refusals += 1;
    }
    std::fs::write(of(&new, "manifest.json"), manifest).unwrap();
    println!("{refusals} altered base backups refused");
    let (back, _) = bed.restore(&["latest", "--verify"]);
    assert_eq!(messages(&back), 10, "unharmed, it comes back");
}

/// The objects of the log's pieces and what says what they are, of the segment with the most pieces.
fn pieces(bed: &Bed) -> Vec<PathBuf> {
    let all = files(&bed.seen.join("wal"));
    let folder = |path: &PathBuf| path.parent().unwrap().to_owned();
    let most = all.iter().map(folder).max_by_key(|at| all.iter().filter(|path| folder(path) == *at).count());
    let most = most.unwrap();
    all.into_iter().filter(|path| folder(path) == most && path.extension().is_none()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_altered_log_is_refused_and_nothing_is_left() {
    let bed = Bed::new();
    let talk = bed.talk(1..11).await;
    bed.back_up();
    let streaming = bed.stream();
    for round in 0..3u64 {
        talk.write(11 + round * 10..21 + round * 10).await;
        bed.until_sealed();
    }
    assert!(streaming.stop().success(), "{}", bed.log());
    let pieces = pieces(&bed);
    assert!(pieces.len() >= 3, "{pieces:?}");
    let header = |piece: &Path| piece.with_extension("json");
    let mut refusals = 0;
    // Each is found by whoever checks; the ones in the middle also by a server that recovers.
    let mut found = |what: &str| {
        let output = bed.run(&["backup", "verify"]);
        assert!(
            matches!(output.status.code(), Some(14)),
            "{what}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    refusals += each_is_refused(&pieces[1], &pieces[2], &mut found);
    refusals += each_is_refused(&header(&pieces[1]), &header(&pieces[2]), &mut found);
    refusals += each_is_refused(&pieces[2], &pieces[0], &mut found);
    println!("{refusals} altered logs found");
    let middle = (std::fs::read(&pieces[1]).unwrap(), std::fs::read(header(&pieces[1])).unwrap());
    for (piece, said) in [(Some(b"x".to_vec()), Some(middle.1.clone())), (None, None)] {
        for (path, content) in [(pieces[1].clone(), piece), (header(&pieces[1]), said)] {
            match content {
                Some(content) => std::fs::write(path, content).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
        }
        untouched(&bed, "a piece in the middle");
    }
    std::fs::write(&pieces[1], middle.0).unwrap();
    std::fs::write(header(&pieces[1]), middle.1).unwrap();
    fine(&bed.run(&["backup", "verify"]));
    let (back, _) = bed.restore(&["latest"]);
    assert_eq!(messages(&back), 40, "unharmed, it comes back");
}

/// The newest backup's manifest, changed and signed again.
fn signed(bed: &Bed, change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let keys = Keyring::parse(KEY, "the test's").unwrap();
    let place = Place::open(&Location::Folder(bed.seen.clone()), &BucketAccess::default()).unwrap();
    let found = backup::block_on(async { catalogue::find(&place, Which::Latest, &keys).await });
    let (_, mut manifest) = found.unwrap();
    change(&mut manifest);
    manifest.sign(keys.current())
}

#[test]
fn other_versions_and_other_keys_are_refused() {
    let bed = Bed::new();
    let name = bed.back_up();
    let path = bed.seen.join("database").join(&name).join("manifest.json");
    let own = std::fs::read(&path).unwrap();
    let restoring = |code, part: &str| {
        refused(&bed.restoring(&[&name]).output().unwrap(), code, part);
        assert!(!bed.target().exists() && !bed.path("back/pg.restoring").exists());
    };
    std::fs::write(&path, signed(&bed, |manifest| manifest.holds.schema += 1)).unwrap();
    restoring(6, "update this program");
    std::fs::write(&path, &own).unwrap();
    let of = |version| signed(&bed, |manifest| manifest.base.as_mut().unwrap().version = version);
    std::fs::write(&path, of(990_001)).unwrap();
    restoring(7, "99");
    std::fs::write(&path, own).unwrap();
    let other = KEY.replace("7d1f", "8e1f");
    std::fs::write(bed.path("key"), &other).unwrap();
    restoring(10, "add it to the key file");
    std::fs::remove_file(bed.path("key")).unwrap();
    restoring(10, "cannot be read");
    std::fs::write(bed.path("key"), format!("{other}\n{KEY}\n")).unwrap();
    account::hand_over(&bed.path("key"), 0o600);
    fine(&bed.restoring(&[&name]).output().unwrap());
    let by_variable = |key: &str| {
        let mut command = bed.command(&["backup", "verify"]);
        // Empty is not set.
        command.env("BACKUP_KEY_FILE", "").env("BACKUP_KEY", key).output().unwrap()
    };
    refused(&by_variable("short"), 10, "not 32 bytes");
    refused(&by_variable(&"00".repeat(32)), 10, "sample or pattern");
    fine(&by_variable(KEY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_gets_one_line_and_a_code_of_its_own() {
    let bed = Bed::with(Options { password: Some("hunter2".into()), ..Options::default() });
    let held = bed.server().connect().await;
    // What `backup run` holds.
    held.execute("SELECT pg_advisory_lock($1)", &[&0x5345_4355_5245_4241_i64]).await.unwrap();
    refused(&bed.run(&["backup", "run"]), 13, "another backup");
    held.execute("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
    let name = bed.back_up();
    bed.server().sql("CREATE ROLE guest LOGIN PASSWORD 'hunter2' IN ROLE pg_read_all_data, pg_monitor");
    bed.server().sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO guest");
    let guest = bed.url.replace("//test:", "//guest:");
    refused(
        bed.command(&["backup", "run"]).env("BACKUP_DATABASE_URL", &guest).output().as_ref().unwrap(),
        8,
        "replication",
    );
    let pooled = bed.command(&["backup", "run"]).env("DATABASE_POOLER", "transaction").output().unwrap();
    refused(&pooled, 2, "BACKUP_DATABASE_URL");
    let into = bed.path("back").display().to_string();
    refused(
        &bed.run(&["restore", &name, "--target", &bed.path("nowhere/pg").display().to_string()]),
        4,
        "parent",
    );
    let full = bed.path("back/full");
    std::fs::create_dir(&full).unwrap();
    account::hand_over(&full, 0o700);
    std::fs::write(full.join("x"), "").unwrap();
    refused(&bed.run(&["restore", &name, "--target", &full.display().to_string()]), 4, "--replace");
    let said = fine(&bed.run(&["restore", &name, "--target", &full.display().to_string(), "--replace"]));
    assert!(said.contains("what was there lies in"), "{said}");
    refused(&bed.run(&["restore", &name]), 2, "--target");
    refused(&bed.run(&["restore", "--to-lsn", "0/0", "--target", &format!("{into}/y")]), 4, "old enough");
    let missing = bed.run(&["wal-fetch", "--system", "1", "000000010000000000000001", "x"]);
    assert_eq!(missing.status.code(), Some(1));
    let mut wrong = bed.command(&["wal-fetch", "--system", "1", "000000010000000000000001", "x"]);
    assert_eq!(wrong.env("BACKUP_KEY_FILE", "/nowhere").output().unwrap().status.code(), Some(200));
    let seldom = bed.run(&["backup", "stream", "--every", "301"]);
    assert_eq!(seldom.status.code(), Some(2), "five minutes is the longest");
    let embedded = bed.command(&["backup", "stream"]).env("DATABASE_URL", "").output().unwrap();
    refused(&embedded, 2, "embedded");
}
