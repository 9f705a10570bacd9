//! Nobody learns who has an account: the same status and the same body, byte for byte.

use serde_json::json;

use crate::support::{Answer, Api, PASSWORD, email};

fn same(known: &Answer, unknown: &Answer) {
    assert_eq!((known.status, &known.text), (unknown.status, &unknown.text));
    let names = |answer: &Answer| {
        let mut names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    };
    assert_eq!(names(known), names(unknown));
}

#[test]
fn log_in_looks_alike_for_wrong_password_and_unknown_account() {
    let api = Api::start();
    api.account("alice");
    let log_in = |name: &str| {
        let body = json!({"email": email(name), "password": "not the password", "device": "x"});
        api.post("/api/v1/auth/login", None, &body)
    };
    let (known, unknown) = (log_in("alice"), log_in("nobody"));
    same(&known, &unknown);
    known.refused(401, "LOGIN_FAILED");
    let body = json!({"email": "not an address", "password": PASSWORD, "device": "x"});
    api.post("/api/v1/auth/login", None, &body).refused(401, "LOGIN_FAILED");
}

#[test]
fn a_reset_request_looks_alike() {
    let api = Api::start();
    api.account("alice");
    let ask = |name: &str| api.post("/api/v1/auth/password-reset", None, &json!({"email": email(name)}));
    let (unknown, known) = (ask("nobody"), ask("alice"));
    same(&known, &unknown);
    assert_eq!(known.status, 202);
    api.letter(1, "alice");
}

#[test]
fn registering_looks_alike_with_verification_and_with_approval() {
    for mode in ["open", "approval"] {
        let api = Api::with(&[("REGISTRATION", mode)]);
        api.account("alice");
        let register = |name: &str| {
            let body = json!({"email": email(name), "name": name, "password": PASSWORD});
            api.post("/api/v1/auth/register", None, &body)
        };
        let (known, unknown) = (register("alice"), register("carol"));
        same(&known, &unknown);
        assert_eq!(known.status, 202, "{}", known.text);
        let body = json!({"email": email("alice"), "password": PASSWORD, "device": "x"});
        api.post("/api/v1/auth/login", None, &body).ok();
        let body = json!({"email": email("carol"), "password": PASSWORD, "device": "x"});
        api.post("/api/v1/auth/login", None, &body).refused(403, "ACCOUNT_PENDING");
    }
}
