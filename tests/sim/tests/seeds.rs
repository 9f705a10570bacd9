//! A few dozen worlds, and that a seed always tells the same story.

use sim::run::{kept_seeds, run_seed, run_seeds};
use sim::trace::Trace;

#[test]
fn fifty_worlds_keep_every_promise() {
    let tally = run_seeds(&(2_000..2_050).collect::<Vec<_>>());
    let failed: Vec<_> = tally.failed.iter().map(|o| (o.seed, o.violation.clone())).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(tally.events > 10_000, "the worlds are not empty");
}

#[test]
fn kept_seeds_stay_mended() {
    let tally = run_seeds(&kept_seeds());
    let failed: Vec<_> = tally.failed.iter().map(|o| (o.seed, o.violation.clone())).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..8 {
        let (first, _) = run_seed(seed, None, Trace::default());
        let (again, _) = run_seed(seed, None, Trace::default());
        assert_eq!((first.hash, first.events), (again.hash, again.events), "seed {seed}");
    }
}
