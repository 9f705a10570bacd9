//! Access tokens: of everything that can be made of a good token, only the good token passes, and only in its time.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use relay_server::access::{
    AccessConfig, AccessError, Claims, IssuerConfig, KeyFiles, LegacyKey, Secret, Verifier,
};
use serde_json::Value;

use crate::random::digest;
use crate::script::Script;
use crate::trace;

pub const WORDS: &[&[u8]] = &[
    b"eyJhbGciOiJIUzI1NiIsImtpZCI6ImxlZ2FjeSJ9",
    b"\"alg\":\"none\"",
    b"\"alg\":\"HS256\"",
    b"\"alg\":\"RS256\"",
    b"\"kid\":\"current\"",
    b"\"kid\":\"legacy\"",
    b"\"crit\":[]",
    b"\"exp\":1800000900",
    b"\"exp\":1e300",
    b"\"exp\":-1",
    b"\"exp\":18446744073709551615",
    b"\"iat\":1800000000",
    b"\"nbf\":1800000006",
    b"\"aud\":[\"relay\"]",
    b".",
    b"..",
    b"\"aud\":\"relay\"",
    b"\"iss\":\"https://api.example\"",
    b"\"sub\":\"01920000-1234-7bab-abab-abababababab\"",
    b"\"device\":\"01920000-1234-7bab-abab-cdcdcdcdcdcd\"",
    b"\"jti\":\"t\"",
    b"{\"",
    b"\"}",
    b",",
    b"null",
    b"=",
    b"\xff",
];

const NOW: u64 = 1_800_000_000;
const EXPIRES: u64 = NOW + 900;
const ISSUER: &str = "https://api.example";
const AUDIENCE: &str = "relay";
const SECRET: &str = "0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453627";
const LEEWAY: u64 = relay_server::access::LEEWAY_S_DEFAULT;
/// Times at which tokens are shown: inside, at both ends, far outside.
const TIMES: [u64; 8] =
    [NOW, NOW - LEEWAY, NOW - LEEWAY - 1, EXPIRES + LEEWAY - 1, EXPIRES + LEEWAY, 0, u64::MAX, NOW + 100];

struct Setup {
    verifier: Arc<Verifier>,
    /// Knows the same issuer, but other keys under the same names.
    stranger: Arc<Verifier>,
    /// One per algorithm.
    good: [String; 2],
}

/// Inputs: a byte that chooses time and form; then a token, edits of a good token, or header and claims to sign.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let choice = script.byte();
    let now = TIMES[usize::from(choice & 7)];
    let setup = setup();
    let token = match choice >> 3 & 3 {
        0 => String::from_utf8_lossy(script.0).into_owned(),
        1 => return signed(script.0, now, setup),
        form => edited(&setup.good[usize::from(form) - 2], &mut script),
    };
    let verdict = setup.verifier.verify(&token, now);
    note(&verdict);
    let is_good = setup.good.contains(&token);
    let in_time = (NOW - LEEWAY..EXPIRES + LEEWAY).contains(&now);
    assert_eq!(
        verdict.is_ok(),
        is_good && in_time,
        "only the good token in its time: {verdict:?} for {token}"
    );
    assert!(setup.stranger.verify(&token, now).is_err(), "only the right key verifies");
}

/// Applies edits of three bytes each: what, where, with which byte.
fn edited(good: &str, script: &mut Script<'_>) -> String {
    let mut bytes = good.as_bytes().to_vec();
    while !script.is_over() && !bytes.is_empty() {
        let what = script.byte();
        let at = script.below(bytes.len().max(257));
        let at = at % bytes.len();
        match what % 5 {
            0 => bytes[at] = script.byte(),
            1 => bytes.insert(at, script.byte()),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << (script.byte() & 7),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Header and claims as the input likes them, parted by a line end, under a signature that is right.
fn signed(input: &[u8], now: u64, setup: &Setup) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (header, claims) = (&input[..at], input.get(at + 1..).unwrap_or_default());
    let verdict = setup.verifier.verify(&hmac_token(header, claims), now);
    note(&verdict);
    let Ok(accepted) = verdict else { return };
    let parse = |bytes| serde_json::from_slice::<Value>(bytes).expect("an accepted token holds JSON");
    let (header, claims) = (parse(header), parse(claims));
    assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("HS256"), Some("legacy")));
    assert_eq!(claims["iss"], ISSUER);
    let audience = &claims["aud"];
    let is_listed = audience.as_array().is_some_and(|names| names.iter().any(|name| name == AUDIENCE));
    assert!(audience == AUDIENCE || is_listed, "the audience is ours");
    let expires = claims["exp"].as_u64().expect("an accepted token expires");
    assert!(expires == accepted.expires_unix_s && now < expires.saturating_add(LEEWAY), "it has not expired");
    assert!(claims["nbf"].as_u64().is_none_or(|from| from <= now.saturating_add(LEEWAY)), "it has begun");
    assert_eq!(claims["sub"].as_str().map(str::to_lowercase), Some(accepted.user.to_string()));
    assert_eq!(claims["device"].as_str().map(str::to_lowercase), Some(accepted.device.to_string()));
    assert!(accepted.user.0 != [0; 16] && accepted.device.0 != [0; 16], "nobody is nobody");
}

fn note(verdict: &Result<Claims, AccessError>) {
    match verdict {
        Ok(claims) => trace::note("accepted", u64::from(claims.token_id.is_some())),
        Err(error) => trace::note("refused", digest(format!("{error:?}").as_bytes())),
    }
}

fn setup() -> &'static Setup {
    static SETUP: OnceLock<Setup> = OnceLock::new();
    SETUP.get_or_init(|| {
        let keys = [(); 2].map(|()| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key can be made"));
        let claims = format!(
            r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{EXPIRES},"iat":{NOW},"jti":"t-1","#
        ) + r#""sub":"01920000-1234-7bab-abab-abababababab","device":"01920000-1234-7bab-abab-cdcdcdcdcdcd"}"#;
        let legacy = hmac_token(br#"{"alg":"HS256","kid":"legacy"}"#, claims.as_bytes());
        Setup {
            verifier: verifier(&keys[0], SECRET, "right"),
            stranger: verifier(&keys[1], &SECRET.replace('0', "7"), "stranger"),
            good: [rsa_token(&keys[0], claims.as_bytes()), legacy],
        }
    })
}

fn rsa_token(key: &RsaKeyPair, claims: &[u8]) -> String {
    let signed = signing_input(br#"{"alg":"RS256","kid":"current"}"#, claims);
    let mut signature = vec![0; key.public_modulus_len()];
    let random = aws_lc_rs::rand::SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("the buffer fits");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hmac_token(header: &[u8], claims: &[u8]) -> String {
    let signed = signing_input(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn signing_input(header: &[u8], claims: &[u8]) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn verifier(key: &RsaKeyPair, secret: &str, name: &str) -> Arc<Verifier> {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().expect("a public key has a DER form");
    let body = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| core::str::from_utf8(line).expect("base64 is ASCII")).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"));
    let path = std::env::temp_dir().join(format!("fuzz-jwt-{}-{name}.pem", std::process::id()));
    std::fs::write(&path, pem).expect("the temporary folder is writable");
    let issuer = IssuerConfig {
        issuer: ISSUER.into(),
        audience: AUDIENCE.into(),
        public_key_file: Some(path.clone()),
        public_key_kid: Some("current".into()),
        legacy: vec![LegacyKey {
            kid: "legacy".into(),
            secret: Secret::new(secret).expect("the secret is long enough"),
            until_unix_s: u64::MAX,
        }],
        ..IssuerConfig::default()
    };
    let opened = KeyFiles::open(AccessConfig { issuers: vec![issuer], ..AccessConfig::default() });
    std::fs::remove_file(&path).ok();
    opened.expect("the keys are good").1
}
