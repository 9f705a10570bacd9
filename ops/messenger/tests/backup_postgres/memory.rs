//! Memory stays within its bound whatever the size: a database, and segments of its log, larger than the bound allows to be
//! held, through a bucket.

use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use servers::{Options, S3};

use crate::bed::{Bed, fine};

/// What each process of the program may take, in MiB.
const BOUND_MIB: u64 = 128;
/// More than that, and nobody can compress it.
const DATABASE_MIB: u64 = 160;
/// Of a segment of the log; three of them are more than the bound too.
const SEGMENT_MIB: u32 = 64;

/// The largest memory that a process had, in MiB; none once it ended.
fn high_water_mib(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kib.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

/// Looks at a process until it is over, or as long as it lives.
fn watch(id: u32, is_over: &AtomicBool) -> u64 {
    let mut most = 0;
    while !is_over.load(Relaxed) {
        most = most.max(high_water_mib(id).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(10));
    }
    most
}

#[track_caller]
fn within(most: u64, what: &str) {
    println!("{what}: {most} MiB");
    assert!(most > 0 && most <= BOUND_MIB, "{what}: {most} MiB");
}

/// Runs it to its end.
#[track_caller]
fn measured(mut command: Command, what: &str) -> String {
    let child: Child = command.spawn().unwrap();
    let (id, is_over) = (child.id(), AtomicBool::new(false));
    let (output, most): (Output, u64) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(id, &is_over));
        let output = child.wait_with_output().unwrap();
        is_over.store(true, Relaxed);
        (output, watching.join().unwrap())
    });
    let said = fine(&output);
    within(most, what);
    said
}

#[test]
fn every_process_stays_within_its_bound_whatever_the_size() {
    let s3 = S3::start();
    let options = Options { segment_mib: Some(SEGMENT_MIB), ..Options::default() };
    let mut bed = Bed { place: s3.variables().into(), seen: s3.bucket(), ..Bed::with(options) };
    bed.server()
        .sql("CREATE TABLE noise (n int, bytes bytea); ALTER TABLE noise ALTER bytes SET STORAGE EXTERNAL");
    measured(bed.command(&["backup", "run"]), "backup run of an empty database");
    let streaming = bed.stream();
    let fill = format!(
        "INSERT INTO noise SELECT n, pg_read_binary_file('/dev/urandom', 0, 1 << 20) FROM generate_series(1, {DATABASE_MIB}) n"
    );
    bed.server().sql(&fill);
    bed.until_sealed();
    within(high_water_mib(streaming.id()).unwrap(), "backup stream");
    measured(bed.command(&["backup", "verify"]), "backup verify of a log");
    measured(bed.restoring(&["latest"]), "restore from a log");
    std::fs::remove_dir_all(bed.target()).unwrap();
    let segment = bed.server().sql("SELECT pg_walfile_name(pg_current_wal_lsn() - 67108864)");
    let system = bed.server().sql("SELECT system_identifier FROM pg_control_system()");
    let fetch = ["wal-fetch", "--system", &system, &segment, "back/segment"];
    measured(bed.command(&fetch), "wal-fetch");
    let fetched = std::fs::metadata(bed.path("back/segment")).unwrap();
    assert_eq!(fetched.len(), u64::from(SEGMENT_MIB) << 20);
    let made = measured(bed.command(&["backup", "run"]), "backup run");
    assert!(made.contains("MiB of database"), "{made}");
    measured(bed.command(&["backup", "verify"]), "backup verify");
    assert!(streaming.stop().success(), "{}", bed.log());
    bed.lose_the_server();
    measured(bed.restoring(&["latest"]), "restore");
}
