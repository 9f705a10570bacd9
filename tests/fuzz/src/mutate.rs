//! Chooses what to change in an input: bits, interesting numbers, runs of bytes, words of the target, other inputs.

use crate::random::Random;

/// Numbers at which code tends to break.
const INTERESTING: &[u64] = &[
    0,
    1,
    2,
    15,
    16,
    31,
    32,
    63,
    64,
    100,
    125,
    126,
    127,
    128,
    200,
    254,
    255,
    256,
    511,
    512,
    1_023,
    1_024,
    4_095,
    4_096,
    16_383,
    16_384,
    32_767,
    32_768,
    65_535,
    65_536,
    81_920,
    81_921,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x3fff_ffff_ffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// Changes `input` one to eight times; `other` is another input of the corpus, `words` belong to the target.
pub fn mutate(random: &mut Random, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], bytes_max: usize) {
    for _ in 0..1 + random.below(8).min(random.below(8)) {
        once(random, input, other, words);
    }
    input.truncate(bytes_max);
}

fn once(random: &mut Random, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
    match random.below(14) {
        0 | 1 => flip(random, input),
        2 => replace_byte(random, input),
        3 => overwrite(random, input),
        4 => {
            let number = INTERESTING[random.below(INTERESTING.len())];
            let bytes = number.to_be_bytes();
            let from = 8 - (1 << random.below(4));
            insert(random, input, &bytes[from..]);
        }
        5 => remove(random, input),
        6 => {
            let run = run_of(random, input).to_vec();
            insert(random, input, &run);
        }
        7 => {
            let run = run_of(random, other).to_vec();
            insert(random, input, &run);
        }
        8 => splice(random, input, other),
        9 | 10 if !words.is_empty() => {
            let word = random.pick(words);
            insert(random, input, word);
        }
        11 => input.truncate(random.below(input.len() + 1)),
        12 => {
            let byte = random.number() as u8;
            let length = scale(random, 10);
            let run = vec![byte; length];
            insert(random, input, &run);
        }
        _ => add(random, input),
    }
}

/// A number from 1 up to `2^bits`, small ones as likely as large ones.
fn scale(random: &mut Random, bits: usize) -> usize {
    let below = 1 << random.below(bits);
    1 + random.below(below)
}

fn flip(random: &mut Random, input: &mut [u8]) {
    if !input.is_empty() {
        input[random.below(input.len())] ^= 1 << random.below(8);
    }
}

fn replace_byte(random: &mut Random, input: &mut [u8]) {
    if !input.is_empty() {
        input[random.below(input.len())] = random.number() as u8;
    }
}

/// A small step up or down: lengths and counters that are off by one.
fn add(random: &mut Random, input: &mut [u8]) {
    if !input.is_empty() {
        let at = random.below(input.len());
        input[at] = input[at].wrapping_add(random.below(9) as u8).wrapping_sub(4);
    }
}

fn overwrite(random: &mut Random, input: &mut [u8]) {
    let width = 1 << random.below(4);
    if input.len() < width {
        return;
    }
    let at = random.below(input.len() - width + 1);
    let number = INTERESTING[random.below(INTERESTING.len())];
    let bytes = if random.below(2) == 0 { number.to_be_bytes() } else { number.swap_bytes().to_be_bytes() };
    let from = if bytes[0] == 0 { 8 - width } else { 0 };
    input[at..at + width].copy_from_slice(&bytes[from..from + width]);
}

fn insert(random: &mut Random, input: &mut Vec<u8>, run: &[u8]) {
    let at = random.below(input.len() + 1);
    input.splice(at..at, run.iter().copied());
}

fn remove(random: &mut Random, input: &mut Vec<u8>) {
    let from = random.below(input.len() + 1);
    let to = (from + scale(random, 8)).min(input.len());
    input.drain(from.min(to)..to);
}

fn run_of<'a>(random: &mut Random, from: &'a [u8]) -> &'a [u8] {
    let start = random.below(from.len() + 1);
    let length = random.below((from.len() - start).min(512) + 1);
    &from[start..start + length]
}

fn splice(random: &mut Random, input: &mut Vec<u8>, other: &[u8]) {
    input.truncate(random.below(input.len() + 1));
    input.extend_from_slice(&other[random.below(other.len() + 1)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_input_within_its_bound() {
        let make = |seed| {
            let mut random = Random(seed);
            let mut input = b"abc".to_vec();
            for _ in 0..500 {
                mutate(&mut random, &mut input, b"another input", &[b"word"], 300);
                assert!(input.len() <= 300);
            }
            input
        };
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
    }
}
