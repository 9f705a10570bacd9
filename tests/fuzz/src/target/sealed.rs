//! A sealed object, its envelope, a manifest and a key file: nothing opens but what was sealed, any cut of the bytes
//! gets the same answer, and bad bytes are refused.

use backup::key::{Keyring, MasterKey};
use backup::manifest::Manifest;
use backup::name::BackupName;
use backup::seal::{ENVELOPE_BYTES, Envelope, OpenError, Opener};

use crate::random::cuts;
use crate::trace;

/// The key of this target's corpus.
const KEY: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
/// Where the objects of the corpus lie.
const NAME: &str = "database/secure-messenger_20261125_120000/store.0000";
/// Beginning of all that was sealed for the corpus.
const PLAIN: &[u8] = b"sealed for the corpus ";
/// Who the manifests of the corpus are about.
const MANIFEST: &str = "secure-messenger_20261125_120000";

pub const WORDS: &[&[u8]] = &[
    b"SMSEAL\0\x01",
    b"\x01",
    b"\x02",
    b"\0\0\0\0\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"{\"manifest\":{\"format\":1,",
    b"\"name\":\"secure-messenger_20261125_120000\"",
    b"\"objects\":[",
    b"\"mac\":\"",
    b"\"key\":\"",
    b"18446744073709551615",
    b"# ",
    b"\n",
    KEY.as_bytes(),
];

pub fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, rest)) => object(rest),
        Some((1, rest)) => manifest(rest),
        Some((_, rest)) => keys(rest),
        None => {}
    }
}

fn ring() -> Keyring {
    Keyring::of(MasterKey::parse(KEY, "here").expect("the corpus's key is one"))
}

fn object(data: &[u8]) {
    let Some((envelope, object)) = data.split_first_chunk::<ENVELOPE_BYTES>() else { return };
    let envelope = Envelope(*envelope);
    let mut answers = cuts(object).into_iter().map(|pieces| open(&envelope, &pieces));
    let whole = answers.next().expect("one cut is no cut");
    for answer in answers {
        assert_eq!(answer, whole, "any cut gets the same answer");
    }
    match whole {
        Ok(plain) => {
            assert!(plain.starts_with(PLAIN), "nothing opens but what was sealed");
            trace::note_size("opened", plain.len());
        }
        Err(OpenError::UnknownKey(_)) => trace::note("unknown key", 0),
        Err(OpenError::Envelope) => trace::note("envelope", 0),
        Err(OpenError::NotSealed) => trace::note_size("not sealed", object.len()),
        Err(OpenError::Chunk { chunk }) => trace::note_size("chunk", chunk as usize),
        Err(OpenError::Content) => panic!("what is authentic is whole"),
    }
}

fn open(envelope: &Envelope, pieces: &[&[u8]]) -> Result<Vec<u8>, OpenError> {
    let mut plain = Vec::new();
    let mut opener = Opener::begin(&ring(), NAME, envelope)?;
    for piece in pieces {
        opener.push(piece, &mut |bytes| plain.extend_from_slice(bytes))?;
    }
    opener.finish(&mut |bytes| plain.extend_from_slice(bytes))?;
    Ok(plain)
}

fn manifest(data: &[u8]) {
    let name: BackupName = MANIFEST.parse().expect("it is a name");
    match Manifest::read(data, name, &ring()) {
        Ok(manifest) => {
            assert_eq!(manifest.name, MANIFEST);
            let again = manifest.sign(ring().current());
            assert_eq!(Manifest::read(&again, name, &ring()), Ok(manifest), "what is read is written alike");
            trace::note("manifest", 0);
        }
        Err(why) => trace::note("refused", why.to_string().len() as u64),
    }
}

fn keys(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Keyring::parse(text, "here") {
        Ok(ring) => {
            let shown = format!("{ring:?}");
            assert!(!shown.contains(ring.current().to_text().as_str()), "a key does not show itself");
            trace::note_size("keys", text.lines().count());
        }
        Err(why) => {
            let longest = text.lines().map(str::trim).filter(|line| line.len() > 20);
            assert!(!longest.into_iter().any(|line| why.to_string().contains(line)), "nor does what is none");
            trace::note("no key", why.to_string().len() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_were_sealed_open() {
        for size in [0, 10, 1_000, 70_000] {
            let plain: Vec<u8> =
                PLAIN.iter().copied().chain((0..size).map(|n: u32| (n * 7 + n / 251) as u8)).collect();
            let (object, sealed) = backup::seal::seal_all(ring().current(), NAME, &plain).unwrap();
            let input = [&[0], sealed.envelope.0.as_slice(), &object].concat();
            run(&input);
            assert_eq!(open(&sealed.envelope, &[&object]), Ok(plain));
        }
    }
}
