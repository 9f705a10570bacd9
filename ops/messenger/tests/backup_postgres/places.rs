//! A server's backups in a bucket, and places and disks without room: small filesystems that really are full.

use std::path::{Path, PathBuf};
use std::process::Command;

use servers::{Disk, S3, account};

use crate::bed::{Bed, fine, messages, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_comes_back_from_a_bucket() {
    let s3 = S3::start();
    let mut bed = Bed::in_bucket(&s3);
    let talk = bed.talk(1..21).await;
    let name = bed.back_up();
    let mut streaming = bed.stream();
    talk.write(21..31).await;
    bed.until_sealed();
    streaming.kill();
    let streaming = bed.stream();
    talk.write(31..41).await;
    bed.until_sealed();
    let drilled = fine(&bed.run(&["backup", "drill"]));
    assert!(drilled.contains("messages 40"), "{drilled}");
    let checked = fine(&bed.run(&["backup", "verify"]));
    assert!(checked.contains("its log: whole and authentic"), "{checked}");
    drop(talk);
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    for (which, expected) in [(name.as_str(), 20), ("latest", 40)] {
        let (back, said) = bed.restore(&[which]);
        assert_eq!(messages(&back), expected, "{said}");
    }
    let pruned = fine(&bed.run(&["backup", "prune"]));
    assert!(pruned.contains("removed 0 backups"), "{pruned}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_refuses_is_named_and_nothing_in_it_looks_whole() {
    let s3 = S3::start();
    let mut bed = Bed::in_bucket(&s3);
    let name = bed.back_up();
    s3.refuse(403, "QuotaExceeded");
    refused(&bed.run(&["backup", "run"]), 12, "no room left");
    s3.refuse(403, "AccessDenied");
    refused(&bed.run(&["backup", "run"]), 11, "permission denied");
    s3.refuse(403, "RequestTimeTooSkewed");
    refused(&bed.run(&["backup", "run"]), 7, "clock");
    let mut streaming = bed.stream();
    assert_eq!(streaming.ended().code(), Some(7), "who cannot seal ends: {}", bed.log());
    s3.accept();
    let listed = fine(&bed.run(&["backup", "list"]));
    assert_eq!(listed.lines().filter(|line| line.ends_with("whole")).count(), 1, "{listed}");
    fine(&bed.restoring(&[&name]).output().unwrap());
    bed.place.retain(|(variable, _)| *variable != "S3_SECRET_KEY");
    bed.place.push(("S3_SECRET_KEY", "another".to_owned()));
    refused(&bed.run(&["backup", "run"]), 11, "permission denied");
}

/// A folder on a small filesystem of its own, and the program where it sees it.
struct Small {
    disk: Disk,
    at: PathBuf,
}

impl Small {
    fn new(bed: &Bed, name: &str, mib: u32) -> Self {
        let at = bed.path(name);
        if !at.exists() {
            std::fs::create_dir(&at).unwrap();
            account::hand_over(&at, 0o700);
        }
        Self { disk: Disk::mount(&at, mib, &bed.path("mount.log")), at }
    }

    fn command(&self, bed: &Bed, arguments: &[&str]) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_messenger"));
        bed.prepared(self.disk.enter(program, bed.folder.path()), arguments)
    }

    /// What lies on it, but for what tells that it is there, and locks.
    fn files(&self) -> Vec<String> {
        let all = std::fs::read_dir(self.disk.seen("")).unwrap();
        let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with('.') && name != "filler" && !name.ends_with("lock")).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_nothing_is_left_behind_and_with_room_it_goes_through() {
    let mut bed = Bed::new();
    bed.talk(1..11).await;
    let name = bed.back_up();
    // Where the restore goes.
    let target = Small::new(&bed, "small", 12);
    let into = target.at.join("pg").display().to_string();
    let restoring = ["restore", &name, "--target", &into];
    refused(&target.command(&bed, &restoring).output().unwrap(), 12, "no room left");
    assert_eq!(target.files(), Vec::<String>::new());
    // The scratch area of a drill.
    let scratch = Small::new(&bed, "data", 12);
    refused(&scratch.command(&bed, &["backup", "drill"]).output().unwrap(), 12, "no room left");
    assert_eq!(scratch.files(), Vec::<String>::new());
    assert_eq!(bed.server().sql("SELECT string_agg(status, ',') FROM restore_drills"), "FAILED");
    // Where the log is put down before it is sealed: a segment has 16 MiB.
    let spool = Small::new(&bed, "spool", 12);
    let at = spool.at.display().to_string();
    let stream = spool.command(&bed, &["backup", "stream", "--spool", &at]).output().unwrap();
    refused(&stream, 12, "no room left");
    // The place.
    let place = Small::new(&bed, "small-place", 1);
    bed.place = vec![("BACKUP_LOCATION", place.at.display().to_string())];
    let output = place.command(&bed, &["backup", "run"]).output().unwrap();
    refused(&output, 12, "no room left");
    let listed = fine(&place.command(&bed, &["backup", "list"]).output().unwrap());
    assert!(!listed.contains("whole"), "{listed}");
    drop(place);
    let place = Small::new(&bed, "small-place", 64);
    let made = fine(&place.command(&bed, &["backup", "run"]).output().unwrap());
    assert!(made.contains("10 messages"), "{made}");
    place.disk.fill(0);
    refused(&place.command(&bed, &["backup", "run"]).output().unwrap(), 12, "no room left");
    place.disk.clear();
    let checked = fine(&place.command(&bed, &["backup", "verify", "all"]).output().unwrap());
    assert_eq!(checked.lines().count(), 1, "{checked}");
}

#[test]
fn a_folder_of_others_is_named() {
    if !account::is_root() {
        // Only root can make a folder of somebody else.
        return;
    }
    let mut bed = Bed::new();
    let denied = bed.path("denied");
    std::fs::create_dir(&denied).unwrap();
    std::fs::set_permissions(&denied, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bed.place = vec![("BACKUP_LOCATION", denied.join("place").display().to_string())];
    refused(&bed.run(&["backup", "run"]), 11, "permission denied");
    bed.place = vec![("BACKUP_LOCATION", denied.display().to_string())];
    refused(&bed.run(&["backup", "run"]), 11, "permission denied");
    bed.place = vec![("BACKUP_LOCATION", bed.path("place").display().to_string())];
    let name = bed.back_up();
    let target = denied.join("pg").display().to_string();
    refused(&bed.run(&["restore", &name, "--target", &target]), 4, "Permission denied");
}
