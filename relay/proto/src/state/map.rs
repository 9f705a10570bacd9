//! A hash table whose order depends on nothing but its contents: no random seed, so that a run repeats exactly.
//! Even so nothing iterates one to emit effects.

use core::hash::{BuildHasherDefault, Hasher};

/// A table with the fixed hasher.
pub(crate) type Map<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<Fold>>;

/// Multiplies and folds; the ids it sees are random or rising numbers of our own making.
#[derive(Default)]
pub(crate) struct Fold(u64);

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Fold {
    fn mix(&mut self, word: u64) {
        let wide = u128::from(self.0 ^ word).wrapping_mul(u128::from(ODD) | (1 << 64));
        self.0 = (wide as u64) ^ ((wide >> 64) as u64).rotate_left(23);
    }
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
}
