//! The keys of access tokens against the whole product: the way from a shared secret to RSA and back, rotation,
//! and tokens that must never be believed. Relay and API are asked about every token.
#![allow(clippy::unwrap_used)]

mod server;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use relay_client::account::{Account, Api};

use relay_client::{Client, ConnectError, TokenNeed, TokenSource, Transport};
use serde_json::{Value, json};
use server::Server;

const SECRET: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
const KID: &str = "2025";

/// How long the relay may take to see that a key file changed.
const RELOADED_WITHIN: Duration = Duration::from_secs(30);

fn legacy(until: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("JWT_LEGACY_HS256_SECRET", SECRET),
        ("JWT_LEGACY_HS256_KID", KID),
        ("JWT_LEGACY_HS256_UNTIL", until),
    ]
}

fn rollback() -> Vec<(&'static str, &'static str)> {
    [legacy("2099-01-01"), vec![("JWT_ALGORITHM", "HS256")]].concat()
}

/// Logs one of the two people in.
async fn login(server: &Server) -> String {
    let api = Api::new(&server.text("api"), Some(server.text("ca").as_ref())).unwrap();
    let (email, password) = server.person(0);
    let account = Account::login(api, email, password, "a test".to_owned()).await.unwrap();
    account.token(TokenNeed::Current).await.unwrap()
}

/// Whether the relay takes the token; any answer but yes must be a documented no.
async fn relay_takes(server: &Server, token: &str) -> bool {
    let builder = Client::builder().relay(server.relay()).transport(Transport::WebSocket);
    match builder.ca(server.text("ca")).token(token).connect().await {
        Ok((client, _events)) => {
            client.close().await;
            true
        }
        Err(ConnectError::Refused(_) | ConnectError::Disconnected(_) | ConnectError::Token(_)) => false,
        Err(other) => panic!("neither yes nor no: {other}"),
    }
}

/// Whether the API takes the token.
fn api_takes(server: &Server, token: &str) -> bool {
    let api = server.text("api");
    let host = api.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let request = format!(
        "GET /api/v1/me HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    match answer.split(' ').nth(1) {
        Some("200") => true,
        Some("401") => false,
        other => panic!("neither yes nor no: {other:?}"),
    }
}

#[track_caller]
fn same(relay: bool, api: bool) -> bool {
    assert_eq!(relay, api, "relay and API disagree");
    relay
}

/// Whether both take it; they must agree.
async fn both_take(server: &Server, token: &str) -> bool {
    same(relay_takes(server, token).await, api_takes(server, token))
}

fn part(token: &str, number: usize) -> Value {
    let text = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

fn mint(algorithm: Algorithm, kid: &str, claims: &Value, key: &EncodingKey) -> String {
    let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}

fn changed(claims: &Value, name: &str, value: &str) -> Value {
    let mut claims = claims.clone();
    claims[name] = json!(value);
    claims
}

fn openssl(arguments: &[&str]) {
    let done = Command::new("openssl").args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn public_half(private: &Path, public: &Path) {
    openssl(&["rsa", "-in", private.to_str().unwrap(), "-pubout", "-out", public.to_str().unwrap()]);
}

#[tokio::test]
async fn the_shared_secret_leaves_step_by_step_and_can_come_back() {
    let mut server = Server::start_with(&rollback());
    let old = login(&server).await;
    assert_eq!(part(&old, 0)["alg"], "HS256");
    assert_eq!(part(&old, 0)["kid"], KID);
    assert!(both_take(&server, &old).await, "signed with the secret, before");

    server.restart_with(&legacy("2099-01-01"));
    let new = login(&server).await;
    assert_eq!(part(&new, 0)["alg"], "RS256");
    assert!(both_take(&server, &new).await, "signed with RSA");
    assert!(both_take(&server, &old).await, "both in parallel");

    server.restart_with(&rollback());
    let again = login(&server).await;
    assert_eq!(part(&again, 0)["alg"], "HS256");
    assert!(both_take(&server, &again).await && both_take(&server, &new).await, "the way back keeps both");

    server.restart_with(&legacy("2020-01-01"));
    assert!(!both_take(&server, &old).await, "after its last day");
    assert!(both_take(&server, &new).await);

    server.restart_with(&[]);
    assert!(!both_take(&server, &old).await, "without the secret");
    assert!(both_take(&server, &new).await);

    server.restart_with(&[("JWT_SECRET", SECRET)]);
    assert!(!both_take(&server, &old).await, "a secret without kid and last day verifies nothing");
}

#[tokio::test]
async fn a_token_that_pretends_is_believed_by_nobody() {
    let server = Server::start_with(&legacy("2099-01-01"));
    let good = login(&server).await;
    let (claims, rsa_kid) = (part(&good, 1), part(&good, 0)["kid"].as_str().unwrap().to_owned());
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    let control = mint(Algorithm::HS256, KID, &claims, &secret);
    assert!(both_take(&server, &control).await, "the control is well made");

    let pem = server.data().join("public.pem");
    public_half(Path::new(&server.text("signing_key")), &pem);
    let pem = std::fs::read(pem).unwrap();
    let jwks = std::fs::read(server.data().join("keys/jwks.json")).unwrap();
    let modulus = serde_json::from_slice::<Value>(&jwks).unwrap()["keys"][0]["n"].clone();
    let modulus = URL_SAFE_NO_PAD.decode(modulus.as_str().unwrap()).unwrap();
    let (header, rest) = good.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","kid":"{rsa_kid}"}}"#));
    let body = rest.split_once('.').unwrap().0;
    let bad = [
        (
            "public key in PEM as HMAC secret",
            mint(Algorithm::HS256, &rsa_kid, &claims, &EncodingKey::from_secret(&pem)),
        ),
        (
            "the same under the secret's kid",
            mint(Algorithm::HS256, KID, &claims, &EncodingKey::from_secret(&pem)),
        ),
        (
            "modulus as HMAC secret",
            mint(Algorithm::HS256, &rsa_kid, &claims, &EncodingKey::from_secret(&modulus)),
        ),
        ("HMAC under the RSA kid", mint(Algorithm::HS256, &rsa_kid, &claims, &secret)),
        ("another HMAC algorithm", mint(Algorithm::HS512, KID, &claims, &secret)),
        ("unknown kid", mint(Algorithm::HS256, "2024", &claims, &secret)),
        ("no algorithm", format!("{none}.{body}.")),
        ("no signature", format!("{header}.{body}.")),
        (
            "wrong issuer",
            mint(Algorithm::HS256, KID, &changed(&claims, "iss", "https://evil.example"), &secret),
        ),
        (
            "wrong audience",
            mint(Algorithm::HS256, KID, &changed(&claims, "aud", "https://evil.example"), &secret),
        ),
    ];
    for (what, token) in bad {
        assert!(!relay_takes(&server, &token).await, "relay: {what}");
        assert!(!api_takes(&server, &token), "API: {what}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_set_once_for_both() {
    let names = [("JWT_ISSUER", "https://api.team.example"), ("JWT_AUDIENCE", "https://team.example")];
    let mut server = Server::start();
    let before = login(&server).await;
    server.restart_with(&names);
    let token = login(&server).await;
    assert_eq!(
        (part(&token, 1)["iss"].as_str(), part(&token, 1)["aud"].as_str()),
        (Some(names[0].1), Some(names[1].1))
    );
    assert!(both_take(&server, &token).await);
    assert!(!both_take(&server, &before).await, "of the former issuer");
}

#[tokio::test]
async fn a_rotated_key_still_verifies_and_new_ones_need_no_restart() {
    let mut server = Server::start();
    let keys = server.data().join("keys");
    let private = keys.join("signing.pem");
    assert_eq!(std::fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    let before = login(&server).await;
    std::fs::create_dir(keys.join("retired")).unwrap();
    public_half(&private, &keys.join("retired/before.pem"));
    std::fs::remove_file(&private).unwrap();
    server.restart_with(&[]);
    let after = login(&server).await;
    assert_ne!(part(&before, 0)["kid"], part(&after, 0)["kid"]);
    assert!(both_take(&server, &after).await && both_take(&server, &before).await);
    assert_eq!(std::fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);

    let claims = part(&after, 1);
    let further = mint_with_new_key(&keys.join("further.pem"), &claims);
    assert!(!relay_takes(&server, &further.token).await);
    let jwks = keys.join("jwks.json");
    let mut published: Value = serde_json::from_slice(&std::fs::read(&jwks).unwrap()).unwrap();
    published["keys"].as_array_mut().unwrap().push(further.jwk);
    let whole = keys.join("jwks.new");
    std::fs::write(&whole, published.to_string()).unwrap();
    std::fs::rename(&whole, &jwks).unwrap();
    let began = Instant::now();
    while !relay_takes(&server, &further.token).await {
        assert!(began.elapsed() < RELOADED_WITHIN, "the relay does not read its keys again");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(relay_takes(&server, &before).await && relay_takes(&server, &after).await);
}

/// A token of a key that nobody knows yet, and that key as JWKS shows it.
struct Further {
    token: String,
    jwk: Value,
}

fn mint_with_new_key(private: &Path, claims: &Value) -> Further {
    openssl(&["genrsa", "-out", private.to_str().unwrap(), "2048"]);
    let key = EncodingKey::from_rsa_pem(&std::fs::read(private).unwrap()).unwrap();
    let modulus =
        Command::new("openssl").args(["rsa", "-noout", "-modulus", "-in"]).arg(private).output().unwrap();
    let modulus = String::from_utf8(modulus.stdout).unwrap();
    let modulus = modulus.trim().strip_prefix("Modulus=").unwrap();
    let byte = |at: usize| u8::from_str_radix(&modulus[at..at + 2], 16).unwrap();
    let modulus: Vec<u8> = (0..modulus.len()).step_by(2).map(byte).collect();
    let jwk = json!({
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "further", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(modulus),
    });
    Further { token: mint(Algorithm::RS256, "further", claims, &key), jwk }
}
