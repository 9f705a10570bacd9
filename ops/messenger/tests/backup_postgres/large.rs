//! A server whose log has segments of more than 16 MiB: what came is sealed in pieces of that size, however seldom it is due.

use std::time::Instant;

use servers::Options;

use crate::bed::{Bed, PATIENCE, files};

/// The largest end of a piece of each segment: pieces are named by the stretch that they hold.
fn ends(bed: &Bed) -> Vec<u64> {
    let pieces = files(&bed.seen.join("wal"));
    let stretch = |path: &std::path::PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".json")?.split_once('-')?;
        u64::from_str_radix(name.1, 16).ok()
    };
    pieces.iter().filter_map(stretch).collect()
}

#[test]
fn much_of_a_large_segment_is_sealed_before_it_is_due() {
    let bed = Bed::with(Options { segment_mib: Some(64), ..Options::default() });
    bed.back_up();
    // In the beginning of a segment, so that none becomes whole.
    bed.server().sql("SELECT pg_switch_wal()");
    let streaming = bed.stream_with(&["--every", "300"]);
    let began = Instant::now();
    let mut written = 0;
    while !ends(&bed).iter().any(|end| *end >= 16 << 20) {
        assert!(began.elapsed() < PATIENCE, "{:?} after {written} MiB; {}", ends(&bed), bed.log());
        if written < 40 {
            bed.server().sql("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1 << 20))");
            written += 1;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(ends(&bed).iter().all(|end| *end < 64 << 20), "no segment was whole: {:?}", ends(&bed));
    assert!(streaming.stop().success(), "{}", bed.log());
}
