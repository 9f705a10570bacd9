//! Every route there is, with no token, a wrong one, and a user's: nothing is open by accident.

use console::api::rules;
use console::front::rule::Access;

use crate::support::Api;

/// What anybody may call. A new public route has to be added here on purpose.
const PUBLIC: [(&str, &str); 18] = [
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("POST", "/api/v1/auth/verify-mail"),
    ("POST", "/api/v1/auth/password-reset"),
    ("POST", "/api/v1/auth/password-reset/confirm"),
    ("GET", "/verify-mail"),
    ("POST", "/verify-mail"),
    ("GET", "/reset-password"),
    ("POST", "/reset-password"),
    ("GET", "/appeal"),
    ("POST", "/appeal"),
    ("GET", "/api/docs"),
    ("GET", "/api/docs/openapi.json"),
    ("GET", "/admin/openapi.json"),
];

#[test]
fn every_route_asks_for_what_its_rule_says() {
    let api = Api::start();
    let alice = api.user("alice");
    let at = alice.access.len() - 20;
    let other = if &alice.access[at..=at] == "A" { "B" } else { "A" };
    let tampered = format!("{}{other}{}", &alice.access[..at], &alice.access[at + 1..]);
    for rule in rules::<crate::kept::Store>() {
        let path = rule
            .path
            .replace("{user}", &alice.user)
            .replace("{device}", "00000000-0000-7000-8000-000000000000")
            .replace("{conversation}", "00000000-0000-7000-8000-000000000000")
            .replace("{name}", "theme")
            .replace("{decision}", "00000000-0000-7000-8000-000000000000")
            .replace("{report}", "00000000-0000-7000-8000-000000000000")
            .replace("{invite}", "00000000-0000-7000-8000-000000000000");
        let call = |token: Option<&str>| {
            let body = matches!(rule.method.as_str(), "POST" | "PUT" | "PATCH").then(|| "{}".to_owned());
            let answer = api.send(rule.method.as_str(), &path, token, body, &[]);
            (answer.status, answer.text)
        };
        let is_public = PUBLIC.contains(&(rule.method.as_str(), rule.path));
        assert_eq!(rule.access == Access::Public, is_public, "{} {}", rule.method, rule.path);
        if is_public {
            let (status, text) = call(None);
            assert!(!text.contains(r#""code":"TOKEN_"#), "{} {}: {status} {text}", rule.method, rule.path);
            continue;
        }
        let (status, text) = call(None);
        assert!(status == 401 && text.contains("TOKEN_MISSING"), "{} {}: {text}", rule.method, rule.path);
        for wrong in ["garbage", "", "a.b.c", &tampered] {
            let (status, text) = call(Some(wrong));
            assert!(
                status == 401 && text.contains("TOKEN_INVALID"),
                "{} {} {wrong}: {text}",
                rule.method,
                rule.path
            );
        }
        if matches!(rule.access, Access::Service(_)) {
            // A user's token is none of a service.
            let (status, text) = call(Some(&alice.access));
            assert!(status == 401 && text.contains("TOKEN_INVALID"), "{} {}: {text}", rule.method, rule.path);
            continue;
        }
        if rule.access == Access::Admin {
            let (status, text) = call(Some(&alice.access));
            assert!(status == 403 && text.contains("ROLE_MISSING"), "{} {}: {text}", rule.method, rule.path);
            continue;
        }
        // The user's own token opens every route; logging out comes with its own test.
        if rule.path != "/api/v1/auth/logout" {
            let (status, text) = call(Some(&alice.access));
            assert!(status != 401 && status != 500, "{} {}: {status} {text}", rule.method, rule.path);
        }
    }
}

#[test]
fn what_is_no_route_is_refused_in_the_same_shape() {
    let api = Api::start();
    api.get("/metrics", None).refused(404, "NO_ROUTE");
    api.get("/hdr", None).refused(404, "NO_ROUTE");
    api.get("/api/v1/unknown", None).refused(404, "NO_ROUTE");
    api.get("/api/v1/auth/login", None).refused(405, "WRONG_METHOD");
    api.get("/admin/users", None).refused(404, "NO_ROUTE");
}
