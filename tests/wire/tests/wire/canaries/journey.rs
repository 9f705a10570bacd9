//! What people and their programs do at the account API and at the administration interface, with canaries in every place
//! that takes a text; good requests and bad ones.

use std::cell::RefCell;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wire_tests::http::{Answer, exchange};
use wire_tests::{World, eventually};

use super::browser::percent;
use super::flock::Flock;
use super::flock::Kind::{Mail, Message, Name, Phone, Secret};

/// A journey, what flies on it, and what comes back.
pub struct Journey<'w> {
    pub world: &'w World,
    pub flock: Flock,
    /// Heads of all answers.
    pub heads: RefCell<String>,
    /// What the product made for one person only.
    pub secrets: RefCell<Vec<String>>,
}

/// Somebody with a canary for an address, a name and a password, logged in.
pub struct Person {
    pub number: usize,
    pub id: String,
    pub access: String,
    pub refresh: String,
}

impl<'w> Journey<'w> {
    /// One that begins.
    pub fn new(world: &'w World) -> Self {
        Self { world, flock: Flock::hatch(), heads: RefCell::default(), secrets: RefCell::default() }
    }

    /// Sends anything anywhere.
    pub async fn send(
        &self,
        at: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let answer = exchange(at, method, path, headers, body).await;
        self.heads.borrow_mut().push_str(&format!("{}\n", answer.head));
        assert!(answer.status < 500, "{method} {path}: {answer:?}");
        answer
    }

    /// Asks the account API.
    pub async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers =
            vec![("Content-Type", "application/json"), ("User-Agent", self.flock.fly(Phone, 0))];
        headers.extend(bearer.iter().map(|bearer| ("Authorization", bearer.as_str())));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(self.world.server.api(), method, path, &headers, &body).await
    }

    async fn done(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let answer = self.ask(method, path, token, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
        answer
    }

    fn keep(&self, secret: &str) -> String {
        self.secrets.borrow_mut().push(secret.to_owned());
        secret.to_owned()
    }

    /// Registers, confirms the address and logs in, with mistakes on the way.
    pub async fn join(&self, number: usize) -> Person {
        let (mail, name) = (self.flock.fly(Mail, number), self.flock.fly(Name, number));
        let password = self.flock.fly(Secret, number);
        let new = json!({"email": mail, "name": name, "password": password});
        self.done("POST", "/api/v1/auth/register", None, &new).await;
        let token = self.keep(&self.link(mail, "verify-mail?token=").await);
        self.send(self.world.server.api(), "GET", &format!("/verify-mail?token={token}"), &[], "").await;
        self.done("POST", "/api/v1/auth/verify-mail", None, &json!({"token": token})).await;
        let log_in = |password: &str| json!({"email": mail, "password": password, "device": name});
        let wrong = log_in(self.flock.fly(Secret, (number + 1) % 10));
        assert_eq!(self.ask("POST", "/api/v1/auth/login", None, &wrong).await.status, 401);
        let session = self.done("POST", "/api/v1/auth/login", None, &log_in(password)).await.json();
        let text = |field: &str| session[field].as_str().expect("a session has it").to_owned();
        let signature = |jwt: &str| jwt.rsplit('.').next().expect("a JWT has three parts").to_owned();
        self.keep(&signature(&text("access_token")));
        let refresh = self.keep(&text("refresh_token"));
        Person { number, id: text("user"), access: text("access_token"), refresh }
    }

    /// The secret of a link in a letter to this address.
    pub async fn link(&self, mail: &str, before: &str) -> String {
        let folder = self.world.server.data().join("mail");
        eventually("a letter", async || {
            let letters = std::fs::read_dir(&folder).ok()?.filter_map(|entry| {
                let text = std::fs::read_to_string(entry.ok()?.path()).ok()?;
                Some(text.replace("=\r\n", "").replace("=3D", "="))
            });
            let letter = letters.filter(|text| text.contains(mail)).find(|text| text.contains(before))?;
            let secret = letter.split(before).nth(1)?;
            Some(secret.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect())
        })
        .await
    }

    /// What somebody does with an own account.
    pub async fn settle_in(&self, person: &Person) {
        let token = Some(person.access.as_str());
        let (phone, message) = (self.flock.fly(Phone, person.number), self.flock.fly(Message, person.number));
        self.done("PATCH", "/api/v1/me", token, &json!({"about": format!("{phone} {message}")})).await;
        self.done("PUT", "/api/v1/me/settings/phone", token, &json!({"value": phone})).await;
        self.done("GET", "/api/v1/me", token, &Value::Null).await;
        let keys = STANDARD.encode(self.flock.fly(Secret, person.number));
        self.done("PUT", "/api/v1/keys", token, &json!({"identity": keys, "packages": [keys]})).await;
        self.done("POST", "/api/v1/me/data-export", token, &json!({})).await;
        let mail = self.flock.fly(Mail, person.number);
        self.done("POST", "/api/v1/users/find", token, &json!({"email": mail})).await;
    }

    /// One reports the other, with a message disclosed.
    pub async fn report(&self, by: &Person, about: &Person) {
        let (message, phone) = (self.flock.fly(Message, 2), self.flock.fly(Phone, 2));
        let report = json!({
            "user": about.id, "reason": "HARASSMENT", "comment": format!("{message}, he called {phone}"),
            "disclosed": STANDARD.encode(message),
        });
        self.done("POST", "/api/v1/reports", Some(&by.access), &report).await;
    }

    /// Requests that are refused, each for another reason.
    pub async fn stumble(&self, person: &Person) {
        let token = Some(person.access.as_str());
        let fly = |kind, number| self.flock.fly(kind, number);
        let wrong = [
            (
                "POST",
                "/api/v1/auth/register",
                None,
                json!({"email": fly(Phone, 3), "name": fly(Name, 8), "password": fly(Secret, 8)}),
            ),
            (
                "POST",
                "/api/v1/auth/register",
                None,
                json!({"email": fly(Mail, 8), "name": format!("{}\u{7}", fly(Name, 8)), "password": fly(Secret, 8)}),
            ),
            ("POST", "/api/v1/auth/register", None, json!({(fly(Secret, 7)): fly(Mail, 7)})),
            (
                "POST",
                "/api/v1/auth/login",
                None,
                json!({"email": fly(Mail, 7), "password": fly(Secret, 7), "device": fly(Name, 7)}),
            ),
            (
                "POST",
                "/api/v1/auth/login",
                None,
                json!({"email": fly(Mail, 7), "password": fly(Secret, 7), "device": "d", "device_id": fly(Phone, 7)}),
            ),
            ("POST", "/api/v1/auth/refresh", None, json!({"refresh_token": fly(Secret, 6)})),
            ("POST", "/api/v1/auth/verify-mail", None, json!({"token": fly(Secret, 5)})),
            ("POST", "/api/v1/auth/password-reset", None, json!({"email": fly(Mail, 6)})),
            (
                "POST",
                "/api/v1/auth/password-reset/confirm",
                None,
                json!({"token": fly(Secret, 4), "password": fly(Secret, 3)}),
            ),
            ("POST", "/api/v1/users/find", token, json!({"email": fly(Mail, 5)})),
            (
                "PUT",
                "/api/v1/me/password",
                token,
                json!({"current_password": fly(Secret, 9), "new_password": fly(Secret, 2)}),
            ),
            ("PATCH", "/api/v1/me", token, json!({"about": fly(Message, 4).repeat(60)})),
            ("POST", "/api/v1/reports", token, json!({"user": fly(Name, 6), "reason": fly(Message, 5)})),
            (
                "POST",
                "/api/v1/conversations",
                token,
                json!({"kind": "group", "name": fly(Name, 5), "members": [fly(Phone, 4)]}),
            ),
            ("GET", "/api/v1/me", Some(fly(Secret, 1)), Value::Null),
            ("GET", "/api/v1/invites", token, Value::Null),
        ];
        for (method, path, token, body) in wrong {
            let answer = self.ask(method, path, token, &body).await;
            let is_accepted = path.ends_with("password-reset");
            assert!(is_accepted || (400..500).contains(&answer.status), "{method} {path}: {answer:?}");
        }
        self.stumble_in_addresses(token).await;
    }

    async fn stumble_in_addresses(&self, token: Option<&str>) {
        let fly = |kind, number| percent(self.flock.fly(kind, number));
        for path in [
            format!("/{}", fly(Mail, 9)),
            format!("/api/v1/users/{}/keys", fly(Phone, 5)),
            format!("/api/v1/conversations/{}", fly(Name, 4)),
            format!("/api/v1/conversations?before={}", fly(Message, 6)),
            format!("/api/v1/me/blocks?{}={}", fly(Name, 3), fly(Phone, 6)),
            format!("/reset-password?token={}", fly(Secret, 0)),
            format!("/appeal?token={}", fly(Secret, 1)),
            format!("/admin/users/search?q={}", fly(Mail, 4)),
        ] {
            self.ask("GET", &path, token, &Value::Null).await;
        }
        let form = format!("token={}&password={}", fly(Secret, 2), fly(Secret, 3));
        let kind =
            [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", self.flock.fly(Secret, 4))];
        for path in ["/reset-password", "/verify-mail", "/appeal"] {
            self.send(self.world.server.api(), "POST", path, &kind, &form).await;
        }
    }

    /// What a program does that administers.
    pub async fn administer(&self, service: &str, about: &Person) {
        let token = Some(service);
        let search = format!("/admin/users/search?q={}", percent(self.flock.fly(Mail, about.number)));
        assert!(self.done("GET", &search, token, &Value::Null).await.body.contains(&about.id));
        let email = json!({"email": self.flock.fly(Mail, about.number)});
        let link = self.done("POST", "/admin/users/reset-password", token, &email).await.json();
        let link = link["link"].as_str().expect("a link").split("token=").nth(1).expect("a token").to_owned();
        self.keep(&link);
        let warn = json!({"user_id": about.id, "reason": self.flock.fly(Message, 7)});
        self.done("POST", "/admin/users/warn", token, &warn).await;
        let absent = format!("/admin/reports/{}/resolve", percent(self.flock.fly(Phone, 8)));
        self.ask("POST", &absent, token, &json!({"action": self.flock.fly(Name, 9), "reason": ""})).await;
    }

    /// A new password by letter, fresh tokens, and the account's end.
    pub async fn leave(&self, person: Person) {
        let mail = json!({"email": self.flock.fly(Mail, person.number)});
        self.done("POST", "/api/v1/auth/refresh", None, &json!({"refresh_token": person.refresh})).await;
        self.done("POST", "/api/v1/auth/password-reset", None, &mail).await;
        let token = self.link(self.flock.fly(Mail, person.number), "reset-password?token=").await;
        self.keep(&token);
        let gone = json!({"password": self.flock.fly(Secret, person.number)});
        self.done("DELETE", "/api/v1/me", Some(&person.access), &gone).await;
    }
}
