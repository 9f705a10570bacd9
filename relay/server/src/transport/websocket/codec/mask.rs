//! Client-to-server masking (RFC 6455 section 5.3), eight bytes at a time.

/// Removes (or applies) a mask in place. `position` is how many payload bytes of the frame came before.
pub fn unmask(bytes: &mut [u8], key: [u8; 4], position: u64) {
    let turn = (position % 4) as usize;
    let key = [key[turn], key[(turn + 1) % 4], key[(turn + 2) % 4], key[(turn + 3) % 4]];
    let half = u64::from(u32::from_ne_bytes(key));
    let wide = half << 32 | half;
    let mut words = bytes.chunks_exact_mut(8);
    for word in &mut words {
        let value = u64::from_ne_bytes((&*word).try_into().expect("chunks are eight bytes"));
        word.copy_from_slice(&(value ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_byte_by_byte_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..40 {
            for position in 0..9u64 {
                let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
                let mut fast = plain.clone();
                unmask(&mut fast, key, position);
                for (i, byte) in plain.iter().enumerate() {
                    assert_eq!(fast[i], byte ^ key[(i + position as usize) % 4], "{length} {position} {i}");
                }
            }
        }
    }
}
