//! Seeded randomness for tests: the same seed cuts and mutates the same bytes in the same way.

/// splitmix64: small and good enough to choose cuts and mutations.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// Pieces of random size that make up `bytes`.
    pub fn cut_up<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let step = 1 + self.below(40);
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let (chunk, rest) = bytes.split_at((self.below(step) + 1).min(bytes.len()));
            chunks.push(chunk);
            bytes = rest;
        }
        chunks
    }

    /// Flips one to four bits.
    pub fn mutate(&mut self, bytes: &mut [u8]) {
        for _ in 0..1 + self.below(4) {
            let at = self.below(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        }
    }
}
