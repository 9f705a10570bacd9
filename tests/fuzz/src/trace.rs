//! What a run did, as features: an input that shows a new one is worth keeping. Targets note outcomes here;
//! with instrumented code the counters of every region come on top.

use std::cell::RefCell;

thread_local! {
    static NOTES: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Notes kept of one run; later ones are not new behaviour but repetition.
const NOTES_MAX: usize = 4_096;

/// Says that something happened, with a small number that tells its kinds apart.
pub fn note(what: &'static str, detail: u64) {
    let word = crate::random::digest(what.as_bytes()) ^ detail.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    NOTES.with_borrow_mut(|notes| {
        if notes.len() < NOTES_MAX {
            notes.push(word);
        }
    });
}

/// The same for a size: only its order of magnitude counts.
pub fn note_size(what: &'static str, size: usize) {
    note(what, u64::from(usize::BITS - size.leading_zeros()));
}

/// Takes the notes of a run as features: each alone, and each after the one before it.
pub fn take() -> Vec<u64> {
    NOTES.with_borrow_mut(|notes| {
        let pairs = notes.windows(2).map(|w| w[0].rotate_left(17) ^ w[1]);
        let mut features: Vec<u64> = notes.iter().copied().chain(pairs).collect();
        notes.clear();
        features.sort_unstable();
        features.dedup();
        features
    })
}
