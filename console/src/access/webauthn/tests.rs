//! The standard's own examples, an authenticator made here for what they do not show, and everything turned wrong.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::*;

fn party() -> RelyingParty {
    RelyingParty::of("https://example.org").unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// What an example registers and shows: credential or refusal, signature counter or refusal.
fn example(name: &str) -> Result<(Credential, Result<u32, Mismatch>), Mismatch> {
    let mut lines = include_str!("vectors.txt").lines().skip_while(|line| *line != name).skip(1);
    let mut next = || bytes(lines.next().expect("seven lines"));
    let (challenge, client, attestation) = (next(), Text64(next()), Text64(next()));
    let credential = party().register(&Attestation { client, attestation }, &challenge)?;
    let (challenge, data, client, signature) = (next(), Text64(next()), Text64(next()), Text64(next()));
    let shown = Assertion { credential: Text64(credential.id.clone()), client, data, signature };
    let known =
        Known { public_key: &credential.public_key, backup_eligible: Some(credential.backup_eligible) };
    let verified = party().verify(&shown, known, &challenge).map(|verified| verified.sign_count);
    Ok((credential, verified))
}

/// https://www.w3.org/TR/webauthn-3/#sctn-test-vectors
#[test]
fn the_examples_of_the_standard_are_taken() {
    for (name, id_bytes) in [
        ("none-es256", 32),
        ("packed-self-es256", 32),
        ("none-es256-long-credential-id", 1023),
        ("packed-rs256", 32),
        ("packed-eddsa", 32),
    ] {
        let (credential, verified) = example(name).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!((credential.id.len(), credential.sign_count), (id_bytes, 0), "{name}");
        assert_eq!(verified, Ok(0), "{name}");
    }
    assert_eq!(example("none-es256-crossOrigin"), Err(Mismatch::Framed));
    assert_eq!(example("none-es256-topOrigin"), Err(Mismatch::Framed));
    assert_eq!(example("packed-es384"), Err(Mismatch::Key), "not asked for");
}

/// An authenticator with one key.
struct Key {
    pair: EcdsaKeyPair,
    flags: u8,
    count: u32,
    id: String,
}

impl Key {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { pair, flags: 0x01, count: 1, id: "example.org".into() }
    }

    fn public(&self) -> Vec<u8> {
        let point = self.pair.public_key().as_ref();
        let head = [0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32];
        [&head[..], &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat()
    }

    fn data(&self, flags: u8, rest: &[u8]) -> Vec<u8> {
        [&Sha256::digest(&self.id)[..], &[flags], &self.count.to_be_bytes(), rest].concat()
    }

    fn made(&self, client: &str) -> Attestation {
        let attested = [&[0; 16][..], &[0, 32], &[7; 32], &self.public()].concat();
        let data = self.data(self.flags | 0x40, &attested);
        let head = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58";
        let attestation = [&head[..], &[u8::try_from(data.len()).unwrap()], &data].concat();
        Attestation { client: Text64(client.into()), attestation: Text64(attestation) }
    }

    fn shown(&self, client: &str) -> Assertion {
        let data = self.data(self.flags, &[]);
        let signed = [&data[..], &Sha256::digest(client)].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap().as_ref().to_vec();
        let (client, credential) = (Text64(client.into()), Text64(vec![7; 32]));
        Assertion { credential, client, data: Text64(data), signature: Text64(signature) }
    }
}

const CHALLENGE: [u8; 32] = [9; 32];

fn client(ceremony: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(CHALLENGE);
    format!(r#"{{"type":"{ceremony}","challenge":"{challenge}","origin":"https://example.org"}}"#)
}

fn get() -> String {
    client("webauthn.get")
}

fn verify(key: &Key, client: &str) -> Result<u32, Mismatch> {
    verify_with(&key.shown(client), key, &CHALLENGE).map(|verified| verified.sign_count)
}

fn verify_with(shown: &Assertion, key: &Key, challenge: &[u8]) -> Result<Verified, Mismatch> {
    party().verify(shown, Known { public_key: &key.public(), backup_eligible: None }, challenge)
}

#[test]
fn a_key_answers_one_challenge_of_one_site() {
    let mut key = Key::new();
    assert_eq!(verify(&key, &get()), Ok(1));
    assert_eq!(verify(&key, &format!("\u{feff}{}", get())), Ok(1), "a byte order mark says nothing");
    let refused = |from: &str, to: &str| verify(&key, &get().replace(from, to));
    for (from, to, why) in [
        ("webauthn.get", "webauthn.create", Mismatch::Ceremony),
        ("CQkJ", "CQkK", Mismatch::Challenge),
        ("https://example.org", "http://example.org", Mismatch::Origin),
        ("https://example.org", "https://example.org:444", Mismatch::Origin),
        ("https://example.org", "https://example.org.elsewhere.example", Mismatch::Origin),
        ("}", r#","crossOrigin":true}"#, Mismatch::Framed),
        ("}", r#","topOrigin":"https://example.org"}"#, Mismatch::Framed),
        ("}", r#","origin":"https://example.org"}"#, Mismatch::ClientData),
        ("}", "", Mismatch::ClientData),
    ] {
        assert_eq!(refused(from, to), Err(why), "{from} -> {to}");
    }
    assert_eq!(refused("}", r#","crossOrigin":false,"later":[1]}"#), Ok(1), "what later browsers say");
    key.id = "elsewhere.example".into();
    assert_eq!(verify(&key, &get()), Err(Mismatch::RelyingParty));
    key.id = "example.org".into();
    for (flags, expected) in [
        (0x00, Err(Mismatch::Presence)),
        (0x04, Err(Mismatch::Presence)),
        (0x11, Err(Mismatch::BackupState)),
        (0x19, Ok(1)),
        (0x05, Ok(1)),
        (0x81, Err(Mismatch::AuthenticatorData)),
        (0x41, Err(Mismatch::AuthenticatorData)),
    ] {
        key.flags = flags;
        assert_eq!(verify(&key, &get()), expected, "flags {flags:02x}");
    }
    key.flags = 0x01;
    let other = Key::new();
    let shown = key.shown(&get());
    assert_eq!(verify_with(&shown, &other, &CHALLENGE), Err(Mismatch::Signature));
    assert_eq!(verify_with(&shown, &key, &[8; 32]), Err(Mismatch::Challenge));
}

#[test]
fn whether_a_key_may_be_copied_never_changes() {
    let mut key = Key::new();
    for (flags, says) in [(0x01, false), (0x09, true), (0x19, true)] {
        key.flags = flags;
        let made = party().register(&key.made(&client("webauthn.create")), &CHALLENGE).unwrap();
        assert_eq!(made.backup_eligible, says, "flags {flags:02x}");
        for kept in [None, Some(false), Some(true)] {
            let known = Known { public_key: &key.public(), backup_eligible: kept };
            let expected = if kept == Some(!says) {
                Err(Mismatch::BackupEligibility)
            } else {
                Ok(Verified { sign_count: 1, backup_eligible: says })
            };
            assert_eq!(
                party().verify(&key.shown(&get()), known, &CHALLENGE),
                expected,
                "{flags:02x} {kept:?}"
            );
        }
    }
}

#[test]
fn a_registration_is_of_this_site_and_present() {
    let mut key = Key::new();
    let made = |key: &Key, kind: &str| party().register(&key.made(&client(kind)), &CHALLENGE);
    let credential = made(&key, "webauthn.create").unwrap();
    assert_eq!((credential.id, credential.sign_count), (vec![7; 32], 1));
    assert_eq!(credential.public_key, key.public());
    assert_eq!(made(&key, "webauthn.get"), Err(Mismatch::Ceremony));
    key.flags = 0;
    assert_eq!(made(&key, "webauthn.create"), Err(Mismatch::Presence));
    (key.flags, key.id) = (1, "elsewhere.example".into());
    assert_eq!(made(&key, "webauthn.create"), Err(Mismatch::RelyingParty));
    key.id = "example.org".into();
    let mut none = key.made(&client("webauthn.create"));
    none.attestation.0[30 + 32] &= !0x40;
    let refused = party().register(&none, &CHALLENGE);
    assert_eq!(refused, Err(Mismatch::AuthenticatorData), "a credential that the flags know nothing of");
    let bare = [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58\x25"[..], &key.data(1, &[])].concat();
    let bare = Attestation { attestation: Text64(bare), ..key.made(&client("webauthn.create")) };
    assert_eq!(party().register(&bare, &CHALLENGE), Err(Mismatch::NoCredential));
}

#[test]
fn keys_that_are_none_are_refused() {
    let good = Key::new().public();
    assert!(cose::Key::read(&good).is_some());
    for (at, value, what) in [
        (2, 1, "another kind"),
        (4, 0x27, "another algorithm"),
        (6, 2, "another curve"),
        (10, good[10] ^ 1, "not on the curve"),
        (9, 31, "a short coordinate"),
        (0, 0xa4, "fewer entries than said"),
        (0, 0xa6, "more entries than there are"),
        (3, 1, "a label twice"),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(cose::Key::read(&bad).is_none(), "{what}");
    }
    assert!(cose::Key::read(&[&good[..], &[0]].concat()).is_none(), "something after it");
    for cut in 0..good.len() {
        assert!(cose::Key::read(&good[..cut]).is_none(), "cut at {cut}");
    }
}

/// Every bit and every cut of what comes from outside: refused, or no different; never a panic.
#[test]
fn nothing_turned_or_cut_is_taken() {
    let key = Key::new();
    let shown = key.shown(&get());
    let verified = |shown: &Assertion| verify_with(shown, &key, &CHALLENGE).is_ok();
    let parts: [fn(&mut Assertion) -> &mut Vec<u8>; 3] =
        [|one| &mut one.client.0, |one| &mut one.data.0, |one| &mut one.signature.0];
    for part in parts {
        let length = part(&mut shown.clone()).len();
        for bit in 0..length * 8 {
            let mut turned = shown.clone();
            part(&mut turned)[bit / 8] ^= 1 << (bit % 8);
            assert!(!verified(&turned), "bit {bit}");
        }
        for cut in 0..length {
            let mut short = shown.clone();
            part(&mut short).truncate(cut);
            assert!(!verified(&short), "cut at {cut}");
        }
    }
    let made = key.made(&client("webauthn.create"));
    for cut in 0..made.attestation.0.len() {
        let mut short = made.clone();
        short.attestation.0.truncate(cut);
        assert!(party().register(&short, &CHALLENGE).is_err(), "cut at {cut}");
    }
    // Registration is not signed: a turned bit may make another credential, or none, and no more than that.
    for bit in 0..made.attestation.0.len() * 8 {
        let mut turned = made.clone();
        turned.attestation.0[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = party().register(&turned, &CHALLENGE) {
            assert!(cose::Key::read(&other.public_key).is_some(), "bit {bit}");
            assert!(other.id.len() >= 16, "bit {bit}");
        }
    }
}

#[test]
fn noise_is_no_credential() {
    let mut noise = [0; 512];
    for round in 0..2_000usize {
        getrandom::fill(&mut noise).unwrap();
        let cut = &noise[..round % noise.len()];
        let data = [&Sha256::digest("example.org")[..], cut].concat();
        let attestation =
            Attestation { client: Text64(client("webauthn.create").into()), attestation: Text64(cut.into()) };
        assert!(party().register(&attestation, &CHALLENGE).is_err());
        let shown = Assertion {
            credential: Text64(cut.into()),
            client: Text64(get().into()),
            data: Text64(data),
            signature: Text64(cut.into()),
        };
        assert!(verify_with(&shown, &Key::new(), &CHALLENGE).is_err());
        cbor::Reader::new(cut).skip();
    }
}

#[test]
fn what_travels_is_base64url_without_padding() {
    let read = serde_json::from_str::<Attestation>;
    assert_eq!(read(r#"{"client":"_-8","attestation":""}"#).unwrap().client.0, [0xff, 0xef]);
    for bad in [
        r#"{"client":"_-8=","attestation":""}"#,
        r#"{"client":"/+8","attestation":""}"#,
        r#"{"client":"_-8"}"#,
        r#"{"client":"","attestation":"","more":1}"#,
        "",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert_eq!(serde_json::to_string(&Text64(vec![0xff, 0xef])).unwrap(), r#""_-8""#);
    assert_ne!(new_challenge(), new_challenge());
}
