//! Request limits, by address and by account, on a clock the test moves.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Api, PASSWORD, Session, email};

fn from(api: &Api, who: Option<&Session>, method: &str, path: &str, address: &str) -> Answer {
    let body = (method == "POST")
        .then(|| json!({"email": email("alice"), "password": PASSWORD, "device": "x"}).to_string());
    api.send(method, path, who.map(|s| s.access.as_str()), body, &[("x-forwarded-for", address)])
}

const LOGIN: &str = "/api/v1/auth/login";

#[test]
fn ten_guesses_per_minute_then_a_wait() {
    let api = Api::with(&[("RATE_LIMIT_AUTH_MAX", "10")]);
    let guess = || api.post(LOGIN, None, &json!({"email": email("x"), "password": "y", "device": "z"}));
    for _ in 0..10 {
        guess().refused(401, "LOGIN_FAILED");
    }
    let refused = guess();
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(refused.json()["error"]["retry_after"], wait);
    assert!((1..=60).contains(&wait), "{wait}");
    refused.refused(429, "RATE_LIMITED");
    api.get("/.well-known/jwks.json", None).ok();
    api.advance(Duration::from_secs(120));
    guess().refused(401, "LOGIN_FAILED");
}

#[test]
fn a_hundred_requests_per_minute_and_user() {
    let api = Api::with(&[("RATE_LIMIT_MAX", "100"), ("TRUSTED_PROXIES", "127.0.0.0/8")]);
    let (alice, bob) = (api.user("alice"), api.user("bob"));
    for n in 0..100 {
        from(&api, Some(&alice), "GET", "/api/v1/me", &format!("198.51.100.{n}")).ok();
    }
    from(&api, Some(&alice), "GET", "/api/v1/me", "198.51.100.200").refused(429, "RATE_LIMITED");
    from(&api, Some(&bob), "GET", "/api/v1/me", "198.51.100.200").ok();
}

#[test]
fn one_account_is_not_guessed_at_from_many_addresses() {
    let api = Api::with(&[("RATE_LIMIT_AUTH_MAX", "10"), ("TRUSTED_PROXIES", "127.0.0.0/8")]);
    api.account("alice");
    for n in 0..10 {
        from(&api, None, "POST", LOGIN, &format!("198.51.100.{n}")).ok();
    }
    from(&api, None, "POST", LOGIN, "198.51.100.99").refused(429, "RATE_LIMITED");
}

#[test]
fn forwarded_addresses_count_only_from_trusted_proxies() {
    let api = Api::with(&[("RATE_LIMIT_MAX", "5")]);
    for n in 0..5 {
        from(&api, None, "GET", "/.well-known/jwks.json", &format!("198.51.100.{n}")).ok();
    }
    from(&api, None, "GET", "/.well-known/jwks.json", "198.51.100.9").refused(429, "RATE_LIMITED");
    let api = Api::with(&[("RATE_LIMIT_MAX", "5"), ("TRUSTED_PROXIES", "127.0.0.1")]);
    for n in 0..20 {
        // What the client wrote into the header itself stands left of what the proxy added.
        from(&api, None, "GET", "/.well-known/jwks.json", &format!("1.2.3.4, 198.51.100.{n}")).ok();
    }
}

#[test]
fn health_checks_are_not_counted() {
    let api = Api::with(&[("RATE_LIMIT_MAX", "1")]);
    for _ in 0..5 {
        api.get("/health", None).ok();
        api.get("/ready", None).ok();
    }
}

#[test]
fn two_processes_share_their_limits_and_no_guess_is_let_through_while_nobody_counts() {
    let mut redis = servers::Redis::start();
    let url = redis.url();
    let start = || Api::with(&[("REDIS_URL", &url), ("RATE_LIMIT_AUTH_MAX", "6"), ("RATE_LIMIT_MAX", "50")]);
    let (one, other) = (start(), start());
    let guess =
        |api: &Api| api.post(LOGIN, None, &json!({"email": email("x"), "password": "y", "device": "z"}));
    for _ in 0..3 {
        guess(&one).refused(401, "LOGIN_FAILED");
        guess(&other).refused(401, "LOGIN_FAILED");
    }
    // At the turn of a window the one before counts with a little less than its whole.
    let is_limited = |api: &Api| (0..3).any(|_| guess(api).status == 429);
    assert!(is_limited(&one) && is_limited(&other));
    redis.kill();
    guess(&one).refused(503, "BUSY");
    one.get("/.well-known/jwks.json", None).ok();
    redis.start_again();
    let began = std::time::Instant::now();
    while guess(&other).status == 503 {
        assert!(began.elapsed() < Duration::from_secs(20), "it counts again by itself");
        std::thread::sleep(Duration::from_millis(50));
    }
}
