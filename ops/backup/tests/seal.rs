//! The sealed stream as a property: what was sealed comes back whatever the cuts, and nothing that was changed opens.
#![allow(clippy::unwrap_used)]

use backup::key::{Keyring, MasterKey};
use backup::seal::{CHUNK_BYTES, Envelope, OpenError, Opener, Sealed, Sealer, open_all, seal_all};

/// splitmix64: the same cases on every machine.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.number().to_le_bytes()).take(count).collect()
    }

    /// Random, repeated, or both.
    fn content(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = self.bytes(count);
        match self.below(3) {
            0 => bytes.fill(7),
            1 => bytes[count / 2..].fill(0),
            _ => {}
        }
        bytes
    }
}

const NAME: &str = "database/one/store.0000";

/// Sizes around the edges of chunks, since incompressible content fills them.
fn sizes(random: &mut Random) -> Vec<usize> {
    let mut sizes = vec![0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES];
    sizes.extend((0..40).map(|_| random.below(5 * CHUNK_BYTES)));
    sizes
}

fn opens(ring: &Keyring, envelope: &Envelope, object: &[u8]) -> Result<Vec<u8>, OpenError> {
    open_all(ring, NAME, envelope, object)
}

#[test]
fn what_was_sealed_comes_back_whatever_the_cuts() {
    let (mut random, ring) = (Random(1), Keyring::of(MasterKey::generate()));
    for size in sizes(&mut random) {
        let plain = random.content(size);
        let mut sealer = Sealer::begin(ring.current(), NAME).unwrap();
        let mut object = Vec::new();
        let mut rest = plain.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len()));
            object.extend(sealer.push(piece).unwrap());
            rest = after;
        }
        let (end, sealed) = sealer.finish().unwrap();
        object.extend(end);
        assert_eq!((sealed.plain_bytes, sealed.bytes), (size as u64, object.len() as u64));
        let mut opener = Opener::begin(&ring, NAME, &sealed.envelope).unwrap();
        let mut back = Vec::new();
        let mut rest = object.as_slice();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random.below(rest.len()));
            opener.push(piece, &mut |plain| back.extend_from_slice(plain)).unwrap();
            rest = after;
        }
        opener.finish(&mut |plain| back.extend_from_slice(plain)).unwrap();
        assert!(back == plain, "{size} bytes come back");
    }
}

/// An object of several chunks, so that there is an order to break.
fn several_chunks(random: &mut Random, ring: &Keyring) -> (Vec<u8>, Sealed, Vec<u8>) {
    let plain = random.bytes(4 * CHUNK_BYTES + 1_000);
    let (object, sealed) = seal_all(ring.current(), NAME, &plain).unwrap();
    (object, sealed, plain)
}

/// Where each chunk lies.
fn chunks(object: &[u8]) -> Vec<&[u8]> {
    object[8..].chunks(CHUNK_BYTES + 16).collect()
}

fn assembled(object: &[u8], chunks: &[&[u8]]) -> Vec<u8> {
    [&[&object[..8]], chunks].concat().concat()
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let (mut random, ring) = (Random(2), Keyring::of(MasterKey::generate()));
    let (object, sealed, _) = several_chunks(&mut random, &ring);
    for _ in 0..400 {
        let mut flipped = object.clone();
        let at = random.below(flipped.len());
        flipped[at] ^= 1 << random.below(8);
        opens(&ring, &sealed.envelope, &flipped).expect_err("a flipped bit");
    }
    for at in 0..sealed.envelope.0.len() {
        let mut envelope = sealed.envelope;
        envelope.0[at] ^= 1 << random.below(8);
        opens(&ring, &envelope, &object).expect_err("a flipped bit of the envelope");
    }
    let ends = (0..=5).flat_map(|n| [8 + n * (CHUNK_BYTES + 16)]).filter(|end| *end < object.len());
    let cuts = ends.chain((0..200).map(|_| random.below(object.len()))).chain(0..40);
    for cut in cuts.collect::<Vec<_>>() {
        opens(&ring, &sealed.envelope, &object[..cut]).expect_err("a cut object");
    }
    let longer = [object.as_slice(), &[0]].concat();
    opens(&ring, &sealed.envelope, &longer).expect_err("something after the end");
}

#[test]
fn chunks_that_are_moved_doubled_dropped_or_foreign_are_refused() {
    let (mut random, ring) = (Random(3), Keyring::of(MasterKey::generate()));
    let (object, sealed, plain) = several_chunks(&mut random, &ring);
    let (other, other_sealed) = seal_all(ring.current(), NAME, &plain).unwrap();
    let (own, foreign) = (chunks(&object), chunks(&other));
    assert_eq!(opens(&ring, &sealed.envelope, &assembled(&object, &own)).unwrap(), plain);
    let count = own.len();
    assert!(count > 4);
    for a in 0..count {
        let refused = |order: &[&[u8]]| {
            opens(&ring, &sealed.envelope, &assembled(&object, order)).expect_err("another order");
        };
        let (mut dropped, mut doubled, mut swapped) = (own.clone(), own.clone(), own.clone());
        dropped.remove(a);
        refused(&dropped);
        doubled.insert(a, own[a]);
        refused(&doubled);
        swapped[a] = foreign[a];
        refused(&swapped);
        for b in 0..a {
            let mut moved = own.clone();
            moved.swap(a, b);
            refused(&moved);
        }
    }
    opens(&ring, &other_sealed.envelope, &object).expect_err("the envelope of another object");
    open_all(&ring, "database/two/store.0000", &sealed.envelope, &object).expect_err("under another name");
}

#[test]
fn the_wrong_key_is_named_and_an_old_one_opens() {
    let (old, new) = (MasterKey::generate(), MasterKey::generate());
    let (object, sealed) = seal_all(&old, NAME, b"plain").unwrap();
    let wrong = opens(&Keyring::of(new.clone()), &sealed.envelope, &object).unwrap_err();
    assert_eq!(wrong, OpenError::UnknownKey(old.id()));
    let both = Keyring::parse(&format!("{}\n{}", *new.to_text(), *old.to_text()), "x").unwrap();
    assert_eq!(opens(&both, &sealed.envelope, &object).unwrap(), b"plain");
    let rewrapped = sealed.envelope.rewrap(&both, NAME).unwrap();
    assert_eq!(rewrapped.key(), new.id());
    assert_eq!(opens(&Keyring::of(new), &rewrapped, &object).unwrap(), b"plain");
    assert_eq!(sealed.envelope.rewrap(&both, "another").unwrap_err(), OpenError::Envelope);
}

#[test]
fn the_same_bytes_never_look_the_same() {
    let key = MasterKey::generate();
    let (one, first) = seal_all(&key, NAME, &[0; 4096]).unwrap();
    let (two, second) = seal_all(&key, NAME, &[0; 4096]).unwrap();
    assert_ne!(one, two);
    assert_ne!(first.envelope, second.envelope);
}

#[test]
fn what_compresses_well_is_unfolded_in_pieces() {
    let ring = Keyring::of(MasterKey::generate());
    let mut sealer = Sealer::begin(ring.current(), NAME).unwrap();
    let (block, blocks) = (vec![0u8; 1 << 20], 64);
    let mut object = Vec::new();
    for _ in 0..blocks {
        object.extend(sealer.push(&block).unwrap());
    }
    let (end, sealed) = sealer.finish().unwrap();
    object.extend(end);
    assert!(object.len() < 64 * 1024, "{}", object.len());
    let (mut largest, mut total) = (0, 0);
    let mut sink = |piece: &[u8]| {
        largest = largest.max(piece.len());
        total += piece.len();
    };
    let mut opener = Opener::begin(&ring, NAME, &sealed.envelope).unwrap();
    opener.push(&object, &mut sink).unwrap();
    opener.finish(&mut sink).unwrap();
    assert_eq!(total, blocks << 20);
    assert!(largest <= 256 * 1024, "{largest}");
}
