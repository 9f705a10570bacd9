//! Measures what one access token costs a shard: RS256 and HS256, and the cheapest refusal. The budget of an
//! RS256 verification is one millisecond.

use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use relay_server::access::{AccessConfig, IssuerConfig, KeyFiles, LegacyKey, Secret, Verifier};

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453627";

fn signing_input(alg: &str, kid: &str) -> String {
    let header = format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#);
    let claims = format!(
        r#"{{"iss":"i","aud":"a","sub":"01920000-1234-7bab-abab-abababababab","device":"01920000-1234-7bab-abab-cdcdcdcdcdcd","exp":{},"iat":{NOW}}}"#,
        NOW + 900
    );
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn rs256(key: &RsaKeyPair, kid: &str) -> String {
    let signed = signing_input("RS256", kid);
    let mut signature = vec![0; key.public_modulus_len()];
    let random = aws_lc_rs::rand::SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).expect("the key signs");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hs256() -> String {
    use aws_lc_rs::hmac;
    let signed = signing_input("HS256", "legacy");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn issuer(key: &RsaKeyPair, kid: &str, folder: &std::path::Path) -> IssuerConfig {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().expect("the key has a public half");
    let path = folder.join(format!("{kid}.pem"));
    let body = STANDARD.encode(der.as_ref());
    std::fs::write(&path, format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"))
        .expect("the folder is writable");
    IssuerConfig {
        issuer: "i".into(),
        audience: "a".into(),
        public_key_file: Some(path),
        public_key_kid: Some(kid.into()),
        ..IssuerConfig::default()
    }
}

fn verifier(keys: &[(&str, &RsaKeyPair)]) -> Arc<Verifier> {
    let folder = std::env::temp_dir().join(format!("relay-bench-verify-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
    let mut issuers: Vec<_> = keys.iter().map(|(kid, key)| issuer(key, kid, &folder)).collect();
    let secret = Secret::new(SECRET).expect("the secret is random");
    issuers[0].legacy = vec![LegacyKey { kid: "legacy".into(), secret, until_unix_s: NOW + 1 }];
    let opened = KeyFiles::open(AccessConfig { issuers, ..AccessConfig::default() });
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
    opened.expect("the keys are valid").1
}

fn verify(criterion: &mut Criterion) {
    let small = RsaKeyPair::generate(KeySize::Rsa2048).expect("random numbers are available");
    let large = RsaKeyPair::generate(KeySize::Rsa4096).expect("random numbers are available");
    let verifier = verifier(&[("small", &small), ("large", &large)]);
    let mut group = criterion.benchmark_group("verify");
    for (name, token) in
        [("rs256_2048", rs256(&small, "small")), ("rs256_4096", rs256(&large, "large")), ("hs256", hs256())]
    {
        assert!(verifier.verify(&token, NOW).is_ok(), "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| verifier.verify(black_box(&token), NOW)));
    }
    let unknown = rs256(&small, "unknown");
    group.bench_function("unknown_key", |bencher| bencher.iter(|| verifier.verify(black_box(&unknown), NOW)));
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
