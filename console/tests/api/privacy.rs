//! A whole journey, and then a search of everything that was logged for anything about a person.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::me::{direct, publish};
use crate::support::{Api, PASSWORD, email, token_in};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn logs_and_metrics_of_a_full_journey_name_nobody() {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_writer(captured.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let api = Api::with(&[("REGISTRATION", "open"), ("TRUSTED_PROXIES", "127.0.0.1")]);
    let body = json!({"email": email("alice"), "name": "Alice Liddell", "password": PASSWORD});
    let headers = [("x-forwarded-for", "203.0.113.77"), ("user-agent", "LookingGlass/1.0")];
    assert_eq!(api.send("POST", "/api/v1/auth/register", None, Some(body.to_string()), &headers).status, 202);
    let verification = token_in(&api.letter(1, "alice"));
    api.get(&format!("/verify-mail?token={verification}"), None);
    api.post("/api/v1/auth/verify-mail", None, &json!({"token": verification})).ok();
    let wrong = json!({"email": email("alice"), "password": "wrong password", "device": "x"});
    assert_eq!(api.send("POST", "/api/v1/auth/login", None, Some(wrong.to_string()), &headers).status, 401);
    let (alice, bob) = (api.log_in("alice"), api.user("bob"));
    let conversation = direct(&api, &alice, &bob);
    publish(&api, &alice, &conversation, "some ciphertext");
    api.get(&format!("/api/v1/conversations/{conversation}/messages"), Some(&bob)).ok();
    api.get(&format!("/api/v1/users/{}/keys", alice.user), Some(&bob)).ok();
    api.post("/api/v1/users/find", Some(&bob), &json!({"email": email("alice")})).ok();
    api.post("/api/v1/auth/password-reset", None, &json!({"email": email("alice")})).ok();
    let reset = token_in(&api.letter(2, "alice"));
    api.post("/api/v1/me/data-export", Some(&alice), &json!({})).ok();
    api.post("/api/v1/auth/refresh", None, &json!({"refresh_token": alice.refresh})).ok();
    api.delete("/api/v1/me", &alice, Some(&json!({"password": PASSWORD}))).ok();

    let log = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("answered") && log.contains("/api/v1/users/{user}/keys"),
        "the journey was logged:\n{log}"
    );
    let metrics = api.metrics.render();
    assert!(
        metrics.contains(r#"http_requests_total{method="POST",route="/api/v1/auth/login",status="200"} 2"#),
        "{metrics}"
    );
    let secrets = [
        "home.example",
        "Liddell",
        "203.0.113",
        "127.0.0.1",
        "LookingGlass",
        PASSWORD,
        "wrong password",
        &alice.user,
        &bob.user,
        &alice.device,
        &conversation,
        &verification,
        &reset,
        &alice.access,
        &alice.refresh,
    ];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret:?} is in the log:\n{log}");
        assert!(!metrics.contains(secret), "{secret:?} is in the metrics");
    }
}
