//! Logging in, refreshing, logging out; tokens and the keys behind them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use console::access::token::Claims;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

use crate::support::{Api, BEGIN_MS, PASSWORD, Session, email, session, shared_key};

fn refresh(api: &Api, token: &str) -> crate::support::Answer {
    api.post("/api/v1/auth/refresh", None, &json!({"refresh_token": token}))
}

#[test]
fn log_in_gives_tokens_for_a_named_device() {
    let api = Api::start();
    let alice = api.account("alice");
    let body = json!({"email": " Alice@Home.EXAMPLE ", "password": PASSWORD, "device": "laptop"});
    let answer = api.post("/api/v1/auth/login", None, &body);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let body = answer.ok();
    assert_eq!(body["expires_in"], 900);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["user"], alice.to_string());
    let me = api.get("/api/v1/me", Some(&session(&body))).ok();
    assert_eq!((&me["email"], &me["device"]), (&json!(email("alice")), &body["device"]));
}

#[test]
fn a_known_device_stays_the_same_and_somebody_elses_does_not() {
    let api = Api::start();
    let first = api.user("alice");
    api.account("bob");
    let again = |name: &str, device: &str| {
        let body =
            json!({"email": email(name), "password": PASSWORD, "device": "laptop", "device_id": device});
        session(&api.post("/api/v1/auth/login", None, &body).ok())
    };
    assert_eq!(again("alice", &first.device).device, first.device);
    assert_ne!(again("bob", &first.device).device, first.device);
    let body = json!({"email": email("bob"), "password": PASSWORD, "device": "x", "device_id": "nonsense"});
    api.post("/api/v1/auth/login", None, &body).refused(422, "INVALID");
}

#[test]
fn the_published_keys_verify_what_was_signed() {
    let api = Api::start();
    let alice = api.user("alice");
    let jwks: Value = api.get("/.well-known/jwks.json", None).ok();
    let published = std::fs::read_to_string(api.data.join("keys/jwks.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&published).unwrap(), jwks, "the relay reads the same keys");
    assert!(jwks["keys"][0].get("d").is_none(), "no private part");
    let header = jsonwebtoken::decode_header(&alice.access).unwrap();
    assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::RS256, jwks["keys"][0]["kid"].as_str()));
    let part = |name: &str| jwks["keys"][0][name].as_str().unwrap();
    let key = DecodingKey::from_rsa_components(part("n"), part("e")).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_issuer(&["https://api.secure-messenger.local"]);
    validation.set_audience(&["https://secure-messenger.local"]);
    validation.validate_exp = false;
    let claims = jsonwebtoken::decode::<Claims>(&alice.access, &key, &validation).unwrap().claims;
    assert_eq!((claims.sub, claims.device), (alice.user, alice.device));
    assert_eq!(
        (claims.iat, claims.nbf, claims.exp),
        (BEGIN_MS / 1000, BEGIN_MS / 1000, BEGIN_MS / 1000 + 900)
    );
    assert!(!claims.jti.is_empty());
}

/// A token like Alice's, with another header, other claims, or another key.
fn forged(api: &Api, header: &Header, claims: &Claims, key: &EncodingKey) -> u16 {
    let token = jsonwebtoken::encode(header, claims, key).unwrap();
    api.send("GET", "/api/v1/me", Some(&token), None, &[]).status
}

fn claims_of(session: &Session) -> Claims {
    let payload = session.access.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn confused_and_foreign_tokens_are_refused() {
    let api = Api::start();
    let alice = api.user("alice");
    let claims = claims_of(&alice);
    let kid = jsonwebtoken::decode_header(&alice.access).unwrap().kid.unwrap();
    let own = EncodingKey::from_rsa_pem(&std::fs::read(shared_key()).unwrap()).unwrap();
    let with = |alg, kid: Option<&str>| {
        let mut header = Header::new(alg);
        header.kid = kid.map(str::to_owned);
        header
    };
    assert_eq!(forged(&api, &with(Algorithm::RS256, Some(&kid)), &claims, &own), 200, "the control works");
    // The public key, in every form an attacker finds it, as an HMAC secret.
    for secret in [api.jwks.clone(), kid.clone()] {
        let hmac = EncodingKey::from_secret(secret.as_bytes());
        assert_eq!(forged(&api, &with(Algorithm::HS256, Some(&kid)), &claims, &hmac), 401);
    }
    assert_eq!(forged(&api, &with(Algorithm::RS256, None), &claims, &own), 401, "no kid");
    assert_eq!(forged(&api, &with(Algorithm::RS256, Some("other")), &claims, &own), 401, "unknown kid");
    assert_eq!(forged(&api, &with(Algorithm::RS512, Some(&kid)), &claims, &own), 401, "another algorithm");
    let right = with(Algorithm::RS256, Some(&kid));
    let changed = [
        Claims { iss: "other".into(), ..claims.clone() },
        Claims { aud: "other".into(), ..claims.clone() },
        Claims { exp: BEGIN_MS / 1000, ..claims.clone() },
        Claims { nbf: BEGIN_MS / 1000 + 60, ..claims.clone() },
        Claims { sub: "nobody".into(), ..claims.clone() },
        Claims { device: "00000000-0000-7000-8000-000000000000".into(), ..claims.clone() },
    ];
    for claims in changed {
        assert_eq!(forged(&api, &right, &claims, &own), 401, "{claims:?}");
    }
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","kid":"{kid}"}}"#)),
        alice.access.split('.').nth(1).unwrap()
    );
    assert_eq!(api.send("GET", "/api/v1/me", Some(&none), None, &[]).status, 401);
}

#[test]
fn an_access_token_ends_and_is_renewed() {
    let api = Api::start();
    let alice = api.user("alice");
    api.advance(Duration::from_secs(899));
    api.get("/api/v1/me", Some(&alice)).ok();
    api.advance(Duration::from_secs(1));
    api.get("/api/v1/me", Some(&alice)).refused(401, "TOKEN_EXPIRED");
    let renewed = session(&refresh(&api, &alice.refresh).ok());
    assert_eq!(renewed.device, alice.device);
    assert_ne!(renewed.refresh, alice.refresh);
    api.get("/api/v1/me", Some(&renewed)).ok();
}

#[test]
fn a_refresh_token_lives_seven_days() {
    let api = Api::start();
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    api.advance(Duration::from_secs(7 * 86_400 - 1));
    refresh(&api, &alice.refresh).ok();
    api.advance(Duration::from_secs(2));
    refresh(&api, &bob.refresh).refused(401, "REFRESH_INVALID");
    refresh(&api, "unknown").refused(401, "REFRESH_INVALID");
}

#[test]
fn using_a_refresh_token_twice_ends_the_whole_family() {
    let api = Api::start();
    let alice = api.user("alice");
    let second = session(&refresh(&api, &alice.refresh).ok());
    refresh(&api, &alice.refresh).refused(401, "REFRESH_REUSED");
    assert_eq!(refresh(&api, &second.refresh).status, 401, "the thief's and the owner's both end");
}

#[test]
fn logging_out_ends_both_tokens() {
    let api = Api::start();
    let (alice, other) = (api.user("alice"), api.log_in("alice"));
    api.post("/api/v1/auth/logout", Some(&alice), &json!({})).ok();
    api.get("/api/v1/me", Some(&alice)).refused(401, "TOKEN_INVALID");
    assert_eq!(refresh(&api, &alice.refresh).status, 401);
    api.get("/api/v1/me", Some(&other)).ok();
}

#[test]
fn devices_are_listed_and_revoked() {
    let api = Api::start();
    let [alice, second, third] = [0, 1, 2].map(|n| {
        api.advance(Duration::from_secs(1));
        if n == 0 { api.user("alice") } else { api.log_in("alice") }
    });
    let devices = api.get("/api/v1/devices", Some(&second)).ok();
    assert_eq!(devices["devices"].as_array().unwrap().len(), 3);
    assert_eq!(devices["devices"][1]["current"], true);
    assert_eq!(devices["devices"][0]["name"], "alice's phone");
    api.delete(&format!("/api/v1/devices/{}", alice.device), &second, None).ok();
    api.get("/api/v1/me", Some(&alice)).refused(401, "TOKEN_INVALID");
    api.delete("/api/v1/devices", &second, None).ok();
    api.get("/api/v1/me", Some(&third)).refused(401, "TOKEN_INVALID");
    api.get("/api/v1/me", Some(&second)).ok();
    let bob = api.user("bob");
    api.delete(&format!("/api/v1/devices/{}", second.device), &bob, None).refused(404, "NOT_FOUND");
}

#[test]
fn hs256_can_be_gone_back_to_and_its_tokens_outlive_the_way_forward() {
    let secret = "0d6f7c1be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453627";
    let api = Api::with(&[("JWT_ALGORITHM", "HS256"), ("JWT_SECRET", secret)]);
    let alice = api.user("alice");
    let header = jsonwebtoken::decode_header(&alice.access).unwrap();
    assert_eq!(header.alg, Algorithm::HS256);
    api.get("/api/v1/me", Some(&alice)).ok();
    // The key of the way forward is published already, the secret never.
    let published = api.get("/.well-known/jwks.json", None).ok();
    let keys = published["keys"].as_array().unwrap();
    assert!(!keys.is_empty() && keys.iter().all(|key| key["kty"] == "RSA" && key.get("k").is_none()));
    assert!(!published.to_string().contains(secret));
    // The day it ends is over at its first second: BEGIN_MS lies on 2027-01-15.
    for (day, status) in [("2027-01-15", 401), ("2027-01-16", 200)] {
        let set = [("JWT_SECRET", secret), ("JWT_LEGACY_HS256_KID", "2025"), ("JWT_LEGACY_HS256_UNTIL", day)];
        let api = Api::with(&set);
        let carol = api.user("carol");
        let mut old = header.clone();
        old.kid = Some("2025".to_owned());
        let key = EncodingKey::from_secret(secret.as_bytes());
        assert_eq!(forged(&api, &old, &claims_of(&carol), &key), status, "{day}");
    }
    // While the secret is configured, RS256 signs and old HS256 tokens still pass.
    let api = Api::with(&[("JWT_SECRET", secret)]);
    let bob = api.user("bob");
    assert_eq!(jsonwebtoken::decode_header(&bob.access).unwrap().alg, Algorithm::RS256);
    let key = EncodingKey::from_secret(secret.as_bytes());
    assert_eq!(forged(&api, &header, &claims_of(&bob), &key), 200);
    let mut confused = header.clone();
    confused.kid = jsonwebtoken::decode_header(&bob.access).unwrap().kid;
    assert_eq!(forged(&api, &confused, &claims_of(&bob), &key), 401, "the RSA key's name with the secret");
}
