//! Numbers without order that anybody can compute again from where they stand.

/// One number for a seed, a place and a purpose.
pub fn mix(seed: u64, place: u64, purpose: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(place.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(purpose.wrapping_mul(0x94d0_49bb_1331_11eb));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The same, below a bound.
pub fn below(bound: u64, seed: u64, place: u64, purpose: u64) -> u64 {
    mix(seed, place, purpose) % bound.max(1)
}

/// The same, with small numbers far more often: a few get most of everything.
pub fn skewed(bound: u64, seed: u64, place: u64, purpose: u64) -> u64 {
    let even = mix(seed, place, purpose) as f64 / u64::MAX as f64;
    ((bound as f64) * even.powi(3)) as u64 % bound.max(1)
}

/// An id of that time (UUID version 7).
pub fn id(at_ms: u64, seed: u64, place: u64, purpose: u64) -> [u8; 16] {
    let random = (u128::from(mix(seed, place, purpose)) << 64) | u128::from(mix(seed, place, purpose + 1000));
    let mut bytes = ((u128::from(at_ms) << 80) | (random & ((1 << 80) - 1))).to_be_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_get_most() {
        let mut counts = [0u32; 100];
        for place in 0..100_000 {
            counts[skewed(100, 1, place, 2) as usize] += 1;
        }
        assert!(counts[0] > 10 * counts[50] && counts[99] > 0, "{counts:?}");
        assert_eq!(id(0x0192_0000_0000, 1, 2, 3), id(0x0192_0000_0000, 1, 2, 3));
        assert_ne!(id(1, 1, 2, 3), id(1, 1, 3, 3));
        assert_eq!(id(7, 1, 2, 3)[6] >> 4, 7);
    }
}
