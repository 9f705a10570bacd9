//! Publish keys as `relay-client` makes them, without its system call for each.

use schema_wire::PublishKey;

use super::clock;

/// Random bytes of a key.
const RANDOM_BYTES: usize = 10;
/// Random bytes fetched at once.
const FETCHED_BYTES: usize = 400 * RANDOM_BYTES;

/// Makes keys that were never used before.
#[derive(Default)]
pub struct Keys {
    random: Vec<u8>,
}

impl Keys {
    pub fn fresh(&mut self) -> PublishKey {
        if self.random.is_empty() {
            self.random.resize(FETCHED_BYTES, 0);
            getrandom::fill(&mut self.random).expect("the operating system gives random numbers");
        }
        let random: [u8; RANDOM_BYTES] = *self.random.last_chunk().expect("they are fetched in tens");
        self.random.truncate(self.random.len() - RANDOM_BYTES);
        PublishKey::v7(clock::unix_ms(), random)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_fresh_and_later_ones_follow_earlier_ones() {
        let mut keys = Keys::default();
        let earlier: BTreeSet<_> = (0..1_000).map(|_| keys.fresh()).collect();
        assert_eq!(earlier.len(), 1_000);
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(keys.fresh() > *earlier.last().unwrap());
    }
}
