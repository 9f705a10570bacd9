//! The matrix of tokens that must be refused, each for its own reason, and key rotation from files.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://api.secure-messenger.local";
const AUDIENCE: &str = "relay";
const SECRET: &str = "0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453627";
const LEGACY_UNTIL: u64 = NOW + 1_000;

struct Signer {
    key: RsaKeyPair,
    pem: String,
}

impl Signer {
    fn generate() -> Self {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD
                .encode(der.as_ref())
                .as_bytes()
                .chunks(64)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect::<Vec<_>>()
                .join("\n")
        );
        Self { key, pem }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = signing_input(header, claims);
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        self.key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn signer() -> &'static Signer {
    static SIGNER: OnceLock<Signer> = OnceLock::new();
    SIGNER.get_or_init(Signer::generate)
}

fn signing_input(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

fn hmac(secret: &[u8], header: &Value, claims: &Value) -> String {
    use aws_lc_rs::hmac;
    let signed = signing_input(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 900, "iat": NOW, "jti": "t-1",
        "sub": "01920000-1234-7bab-abab-abababababab",
        "device": "01920000-1234-7bab-abab-cdcdcdcdcdcd",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn rs256() -> Value {
    json!({"alg": "RS256", "kid": "current"})
}

fn hs256() -> Value {
    json!({"alg": "HS256", "kid": "legacy"})
}

/// A folder of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("relay-access-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn issuer(pem_path: PathBuf) -> IssuerConfig {
    IssuerConfig {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        public_key_file: Some(pem_path),
        public_key_kid: Some("current".into()),
        legacy: vec![LegacyKey {
            kid: "legacy".into(),
            secret: Secret::new(SECRET).unwrap(),
            until_unix_s: LEGACY_UNTIL,
        }],
        ..IssuerConfig::default()
    }
}

fn open(issuers: Vec<IssuerConfig>) -> Result<(KeyFiles, Arc<Verifier>), KeyError> {
    KeyFiles::open(AccessConfig { issuers, ..AccessConfig::default() })
}

fn verifier(name: &str) -> Arc<Verifier> {
    let folder = Folder::new(name);
    open(vec![issuer(folder.write("key.pem", &signer().pem))]).unwrap().1
}

#[test]
fn tokens_of_both_algorithms_are_accepted() {
    let verifier = verifier("accepted");
    let expected = Claims {
        user: schema_wire::UserId::parse("01920000-1234-7bab-abab-abababababab").unwrap(),
        device: schema_wire::DeviceId::parse("01920000-1234-7bab-abab-cdcdcdcdcdcd").unwrap(),
        issued_unix_s: NOW,
        expires_unix_s: NOW + 900,
        token_id: Some("t-1".into()),
    };
    assert_eq!(verifier.verify(&signer().sign(&rs256(), &claims()), NOW), Ok(expected.clone()));
    assert_eq!(verifier.verify(&hmac(SECRET.as_bytes(), &hs256(), &claims()), NOW), Ok(expected));
    let several = with("aud", json!(["other", AUDIENCE]));
    assert!(verifier.verify(&signer().sign(&rs256(), &several), NOW).is_ok());
}

#[test]
fn forged_headers_are_refused() {
    let verifier = verifier("headers");
    let pem = signer().pem.as_bytes();
    let cases = [
        (hmac(pem, &json!({"alg": "HS256", "kid": "current"}), &claims()), AccessError::AlgorithmMismatch),
        (signer().sign(&json!({"alg": "RS256", "kid": "legacy"}), &claims()), AccessError::AlgorithmMismatch),
        (
            signer().sign(&json!({"alg": "RS512", "kid": "current"}), &claims()),
            AccessError::AlgorithmMismatch,
        ),
        (
            signer().sign(&json!({"alg": "rs256", "kid": "current"}), &claims()),
            AccessError::AlgorithmMismatch,
        ),
        (format!("{}.", signing_input(&json!({"alg": "none"}), &claims())), AccessError::AlgorithmNone),
        (
            format!("{}.", signing_input(&json!({"alg": "NoNe", "kid": "current"}), &claims())),
            AccessError::AlgorithmNone,
        ),
        (signer().sign(&json!({"alg": "RS256"}), &claims()), AccessError::MissingKeyId),
        (signer().sign(&json!({"alg": "RS256", "kid": "other"}), &claims()), AccessError::UnknownKey),
        (
            signer().sign(&json!({"alg": "RS256", "kid": "current", "crit": ["x"]}), &claims()),
            AccessError::CriticalHeader,
        ),
        (signer().sign(&json!({"kid": "current"}), &claims()), AccessError::Malformed),
        (signer().sign(&json!({"alg": "RS256", "kid": 7}), &claims()), AccessError::Malformed),
    ];
    for (token, error) in cases {
        assert_eq!(verifier.verify(&token, NOW), Err(error), "{token}");
    }
}

#[test]
fn wrong_signatures_are_refused() {
    let verifier = verifier("signatures");
    let good = signer().sign(&rs256(), &claims());
    let other = Signer::generate().sign(&rs256(), &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let claims_changed = signing_input(&rs256(), &with("sub", json!("01920000-1234-7bab-abab-000000000001")));
    let wrong_secret = hmac(b"0d6f7c1be2a94835b6c0f1d2e3a49586", &hs256(), &claims());
    for token in [
        other,
        wrong_secret,
        format!("{signed}."),
        format!("{signed}.AAAA"),
        format!("{signed}.{signature}="),
        format!("{signed}.{}", &signature[..signature.len() - 4]),
        format!("{claims_changed}.{signature}"),
    ] {
        assert_eq!(verifier.verify(&token, NOW), Err(AccessError::BadSignature), "{token}");
    }
}

#[test]
fn claims_are_required_and_typed() {
    use AccessError::{MalformedClaim, MissingClaim, WrongAudience, WrongIssuer};
    let verifier = verifier("claims");
    let mut cases: Vec<(Value, AccessError)> =
        ["iss", "aud", "sub", "device", "exp", "iat"].map(|name| (without(name), MissingClaim(name))).into();
    cases.extend([
        (with("iss", json!("https://evil.example")), WrongIssuer),
        (with("iss", json!([ISSUER])), MalformedClaim("iss")),
        (with("aud", json!("other")), WrongAudience),
        (with("aud", json!([])), WrongAudience),
        (with("aud", json!(7)), MalformedClaim("aud")),
        (with("sub", json!("alice")), MalformedClaim("sub")),
        (with("sub", json!(7)), MalformedClaim("sub")),
        (with("sub", json!("00000000-0000-0000-0000-000000000000")), MalformedClaim("sub")),
        (with("device", json!("0192000012347bababababababababab")), MalformedClaim("device")),
        (with("exp", json!("tomorrow")), MalformedClaim("exp")),
        (with("exp", json!(-1)), MalformedClaim("exp")),
        (with("nbf", json!(1.5)), MalformedClaim("nbf")),
        (with("jti", json!("x".repeat(129))), MalformedClaim("jti")),
    ]);
    for (claims, error) in cases {
        assert_eq!(verifier.verify(&signer().sign(&rs256(), &claims), NOW), Err(error), "{claims}");
    }
}

#[test]
fn times_hold_with_leeway_and_no_longer() {
    let verifier = verifier("times");
    let token = signer().sign(&rs256(), &claims());
    let end = NOW + 900 + LEEWAY_S_DEFAULT;
    assert!(verifier.verify(&token, end - 1).is_ok());
    assert_eq!(verifier.verify(&token, end), Err(AccessError::Expired));
    assert_eq!(verifier.verify(&token, u64::MAX), Err(AccessError::Expired));
    assert!(verifier.verify(&token, NOW - LEEWAY_S_DEFAULT).is_ok());
    assert_eq!(verifier.verify(&token, NOW - LEEWAY_S_DEFAULT - 1), Err(AccessError::NotYetValid));
    let later = signer().sign(&rs256(), &with("nbf", json!(NOW + 60)));
    assert_eq!(verifier.verify(&later, NOW), Err(AccessError::NotYetValid));
    assert!(verifier.verify(&later, NOW + 60).is_ok());
    let forever = signer().sign(&rs256(), &with("exp", json!(u64::MAX)));
    assert!(verifier.verify(&forever, NOW).is_ok());
}

#[test]
fn legacy_keys_end_at_their_date_without_leeway() {
    let verifier = verifier("legacy");
    let token = hmac(SECRET.as_bytes(), &hs256(), &with("exp", json!(LEGACY_UNTIL + 900)));
    assert!(verifier.verify(&token, LEGACY_UNTIL - 1).is_ok());
    assert_eq!(verifier.verify(&token, LEGACY_UNTIL), Err(AccessError::LegacyKeyEnded));
}

#[test]
fn garbage_is_refused_before_it_costs_anything() {
    let verifier = verifier("garbage");
    let token = signer().sign(&rs256(), &claims());
    assert_eq!(verifier.verify(&"x".repeat(TOKEN_BYTES_MAX + 1), NOW), Err(AccessError::TooLarge));
    for garbage in ["", ".", "..", "...", "a.b", "a.b.c", "e30.e30.e30", "é.é.é", "bnVsbA.bnVsbA.bnVsbA"] {
        assert_eq!(verifier.verify(garbage, NOW), Err(AccessError::Malformed), "{garbage}");
    }
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let mutated = String::from_utf8(bytes).unwrap();
        assert!(verifier.verify(&mutated, NOW).is_err(), "byte {at}");
    }
}

#[test]
fn an_issuer_can_not_speak_for_another() {
    let folder = Folder::new("issuers");
    let second = Signer::generate();
    let other = IssuerConfig {
        issuer: "https://partner.example".into(),
        audience: "partner".into(),
        public_key_file: Some(folder.write("partner.pem", &second.pem)),
        public_key_kid: Some("partner".into()),
        ..IssuerConfig::default()
    };
    let (_, verifier) = open(vec![issuer(folder.write("first.pem", &signer().pem)), other]).unwrap();
    let header = json!({"alg": "RS256", "kid": "partner"});
    let mut theirs = with("iss", json!("https://partner.example"));
    assert_eq!(verifier.verify(&second.sign(&header, &theirs), NOW), Err(AccessError::WrongAudience));
    theirs["aud"] = json!("partner");
    assert!(verifier.verify(&second.sign(&header, &theirs), NOW).is_ok());
    assert_eq!(verifier.verify(&second.sign(&header, &claims()), NOW), Err(AccessError::WrongIssuer));
}

#[test]
fn keys_rotate_when_their_file_changes_and_stay_when_it_breaks() {
    let folder = Folder::new("rotate");
    let path = folder.write("key.pem", &signer().pem);
    let (mut files, before) = open(vec![issuer(path.clone())]).unwrap();
    assert!(matches!(files.poll(), Ok(None)));
    let next = Signer::generate();
    std::fs::write(&path, &next.pem).unwrap();
    let after = files.poll().unwrap().expect("the file changed");
    let token = next.sign(&rs256(), &claims());
    assert_eq!(before.verify(&token, NOW), Err(AccessError::BadSignature));
    assert!(after.verify(&token, NOW).is_ok());
    std::fs::write(&path, "half a file").unwrap();
    assert!(matches!(files.poll(), Err(KeyError::File { .. })));
    assert!(matches!(files.poll(), Ok(None)), "reported once");
    std::fs::write(&path, format!("{}{}", signer().pem, next.pem)).unwrap();
    let both = files.poll().unwrap().expect("two keys, by thumbprint");
    assert_eq!(both.keys().len(), 3);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(files.poll(), Err(KeyError::Read { .. })));
}

#[test]
fn starting_without_keys_is_refused() {
    assert!(matches!(open(vec![]), Err(KeyError::NoKeys)));
    assert!(matches!(open(vec![issuer("/nonexistent/key.pem".into())]), Err(KeyError::Read { .. })));
}
