//! Security keys over real HTTP, with an authenticator made here: what opens the console, and what does not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, ConsoleAccess};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use totp_rs::{Builder, Secret};

use crate::support::{Answer, Desk, PASSWORD, encoded};

/// An authenticator with one key, and the browser before it.
struct Key {
    pair: EcdsaKeyPair,
    origin: String,
    /// What its signature counter says next.
    count: u32,
    /// What it says besides somebody's touch.
    flags: u8,
}

fn packed(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Key {
    /// Where this console's keys are used.
    fn at(desk: &Desk) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { pair, origin: desk.origin.replace("127.0.0.1", "localhost"), count: 1, flags: 0 }
    }

    fn credential(&self) -> [u8; 32] {
        Sha256::digest(self.pair.public_key()).into()
    }

    fn client(&self, ceremony: &str, asked: &Value) -> String {
        json!({"type": ceremony, "challenge": asked["challenge"], "origin": self.origin}).to_string()
    }

    fn data(&self, asked: &Value, flags: u8, rest: &[u8]) -> Vec<u8> {
        let party = Sha256::digest(asked["party"].as_str().unwrap());
        [&party[..], &[flags], &self.count.to_be_bytes(), rest].concat()
    }

    fn made(&self, asked: &Value) -> String {
        let point = self.pair.public_key().as_ref();
        let public = [
            &[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..],
            &point[1..33],
            &[0x22, 0x58, 32],
            &point[33..],
        ]
        .concat();
        let data = self.data(
            asked,
            0x41 | self.flags,
            &[&[0; 16][..], &[0, 32], &self.credential(), &public].concat(),
        );
        let head = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58";
        let attestation = [&head[..], &[data.len() as u8], &data].concat();
        let client = self.client("webauthn.create", asked);
        json!({"client": packed(client), "attestation": packed(attestation)}).to_string()
    }

    fn shown(&self, asked: &Value) -> String {
        let (client, data) = (self.client("webauthn.get", asked), self.data(asked, 0x01 | self.flags, &[]));
        let signed = [&data[..], &Sha256::digest(&client)].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        let credential = packed(self.credential());
        json!({"credential": credential, "client": packed(client), "data": packed(data), "signature": packed(signature)})
            .to_string()
    }
}

fn challenge(desk: &Desk, path: &str, cookie: &str, purpose: &str) -> Value {
    let answer = desk.post(path, Some(cookie), &format!("purpose={purpose}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    serde_json::from_str(&answer.text).unwrap()
}

/// Password given: the cookie of somebody half-way, who is sent to `to`.
fn halfway(desk: &Desk, name: &str, to: &str) -> String {
    let answer = desk.sign_in(name, PASSWORD);
    assert_eq!((answer.status, answer.location.as_deref()), (303, Some(to)), "{}", answer.text);
    answer.session.unwrap()
}

fn show(desk: &Desk, half: &str, shown: &str) -> Answer {
    desk.post("/sign-in/code", Some(half), &format!("key={}", encoded(shown)))
}

/// An administrator whose only second factor is this key: signed in.
fn enrolled(desk: &Desk, name: &str, key: &Key) -> String {
    desk.person(name, AccountRole::Admin);
    enrolled_again(desk, name, key)
}

fn enrolled_again(desk: &Desk, name: &str, key: &Key) -> String {
    let half = halfway(desk, name, "/sign-in/enrol");
    let asked = challenge(desk, "/sign-in/enrol/challenge", &half, "ADD");
    let made = encoded(&key.made(&asked));
    let answer = desk.post("/sign-in/enrol/key", Some(&half), &format!("name=blue&made={made}"));
    assert_eq!((answer.status, answer.location.as_deref()), (303, Some("/")), "{}", answer.text);
    assert_eq!(desk.get("/sign-in/enrol", Some(&half)).status, 303, "the half session is over");
    answer.session.unwrap()
}

fn events(desk: &Desk) -> Vec<String> {
    desk.run(desk.store.audit_page(None, 50)).unwrap().into_iter().map(|row| row.event).collect()
}

#[test]
fn a_key_opens_the_console_and_its_copy_does_not() {
    let desk = Desk::start();
    let mut key = Key::at(&desk);
    let full = enrolled(&desk, "ada", &key);
    assert_eq!(desk.get("/tokens", Some(&full)).status, 200);
    let sign_in = |key: &Key| {
        let half = halfway(&desk, "ada", "/sign-in/code");
        assert_eq!(desk.get("/tokens", Some(&half)).status, 303, "half-way opens nothing");
        let asked = challenge(&desk, "/sign-in/challenge", &half, "PROVE");
        assert_eq!(asked["known"], json!([packed(key.credential())]));
        show(&desk, &half, &key.shown(&asked))
    };
    key.count = 7;
    let answer = sign_in(&key);
    assert_eq!((answer.status, answer.location.as_deref()), (303, Some("/")), "{}", answer.text);
    assert_eq!(desk.get("/tokens", answer.session.as_deref()).status, 200);
    for count in [7, 6, 0] {
        key.count = count;
        assert_eq!(sign_in(&key).status, 422, "a counter of {count} after one of 7 is a copy's");
    }
    assert_eq!(events(&desk).iter().filter(|event| *event == "SUSPICIOUS_ACTIVITY").count(), 3);
    key.count = 8;
    assert_eq!(sign_in(&key).status, 303, "the key itself goes on");
}

#[test]
fn an_answer_is_worth_something_once_soon_and_in_its_session() {
    let desk = Desk::start();
    let mut key = Key::at(&desk);
    enrolled(&desk, "ada", &key);
    let ask = |half: &str| challenge(&desk, "/sign-in/challenge", half, "PROVE");
    key.count = 2;
    let (one, other) = (halfway(&desk, "ada", "/sign-in/code"), halfway(&desk, "ada", "/sign-in/code"));
    let shown = key.shown(&ask(&one));
    assert_eq!(show(&desk, &other, &shown).status, 422, "not asked in this session");
    assert_eq!(show(&desk, &one, &format!("{shown}x")).status, 422, "not JSON; the challenge is used up");
    assert_eq!(show(&desk, &one, &shown).status, 422, "used up");
    let late = key.shown(&ask(&one));
    desk.forward(Duration::from_secs(120));
    assert_eq!(show(&desk, &one, &late).status, 422, "too late");
    // The fifth failure in a row locks: whoever is right has to wait as well.
    let answer = show(&desk, &one, &key.shown(&json!({"challenge": "", "party": "localhost"})));
    assert_eq!(answer.status, 422);
    let right = key.shown(&ask(&one));
    assert!(show(&desk, &one, &right).text.contains("30 s"), "locked");
    desk.forward(Duration::from_secs(31));
    let elsewhere = Key { origin: "http://localhost:1".into(), count: 3, ..key };
    assert_eq!(show(&desk, &one, &elsewhere.shown(&ask(&one))).status, 422, "made on another site");
    desk.forward(Duration::from_secs(61));
    let key = Key { origin: Key::at(&desk).origin, ..elsewhere };
    let asked = ask(&one);
    assert_eq!(show(&desk, &one, &Key::at(&desk).shown(&asked)).status, 422, "nobody's key");
    desk.forward(Duration::from_secs(121));
    assert_eq!(show(&desk, &one, &key.shown(&ask(&one))).status, 303, "and at last the right one");
}

#[test]
fn keys_are_added_and_removed_by_who_shows_one() {
    let desk = Desk::start();
    let (mut key, spare) = (Key::at(&desk), Key::at(&desk));
    let full = enrolled(&desk, "ada", &key);
    // Keys are listed by when they were added.
    desk.forward(Duration::from_secs(1));
    let prove = |key: &Key| encoded(&key.shown(&challenge(&desk, "/account/challenge", &full, "PROVE")));
    let make = |key: &Key| encoded(&key.made(&challenge(&desk, "/account/challenge", &full, "ADD")));
    let add = |password: &str, key: &str, made: &str| {
        let fields = format!("name=spare&password={}&key={key}&made={made}", encoded(password));
        desk.post("/account/keys", Some(&full), &fields)
    };
    assert_eq!(add("wrong", "", &make(&spare)).status, 422, "the password first");
    assert_eq!(add(PASSWORD, "", &make(&spare)).status, 422, "and a key that is there");
    key.count = 2;
    let twice = add(PASSWORD, &prove(&key), &make(&key));
    assert!(twice.status == 422 && twice.text.contains("already"), "{}", twice.text);
    key.count = 3;
    assert_eq!(add(PASSWORD, &prove(&key), "nothing").status, 422);
    key.count = 4;
    let answer = add(PASSWORD, &prove(&key), &make(&spare));
    assert_eq!((answer.status, answer.location.as_deref()), (303, Some("/account")), "{}", answer.text);
    let user = desk.run(desk.store.find_user(crate::support::email("ada"))).unwrap().user;
    let keys = || desk.run(desk.store.security_keys(user)).unwrap();
    assert_eq!(keys().len(), 2);
    assert!(desk.get("/account", Some(&full)).text.contains("spare"));
    let remove = |at: usize, password: &str, shown: &str| {
        let path = format!("/account/keys/{}/remove", schema_wire::UserId(keys()[at].id.0));
        desk.post(&path, Some(&full), &format!("password={}&key={shown}", encoded(password)))
    };
    assert_eq!(remove(1, "wrong", "").status, 422);
    assert_eq!(remove(1, PASSWORD, "").status, 422);
    key.count = 5;
    assert_eq!(remove(1, PASSWORD, &prove(&key)).status, 303);
    key.count = 6;
    let last = remove(0, PASSWORD, &prove(&key));
    assert!(last.status == 422 && last.text.contains("only second factor"), "{}", last.text);
    assert_eq!(keys().len(), 1);
    let told = events(&desk);
    assert!(told.contains(&"SECURITY_KEY_ADDED".into()) && told.contains(&"SECURITY_KEY_REMOVED".into()));
}

/// A secret that a page shows.
fn secret_of(page: &str) -> String {
    page.split(r#"<code class="secret">"#).nth(1).unwrap().split('<').next().unwrap().replace(' ', "")
}

/// Its code of this moment.
fn code_of(desk: &Desk, page: &str) -> String {
    let secret = Secret::try_from_base32(secret_of(page)).unwrap();
    let codes = Builder::new().with_digits(6).with_step_duration(30).with_secret(secret).build().unwrap();
    codes.generate(desk.clock.load(Ordering::Relaxed) / 1000).to_string()
}

#[test]
fn a_secret_that_was_seen_but_never_confirmed_opens_nothing() {
    let desk = Desk::start();
    let mut key = Key::at(&desk);
    desk.person("ada", AccountRole::Admin);
    // Who has the password was here before.
    let early = halfway(&desk, "ada", "/sign-in/enrol");
    let seen = desk.get("/sign-in/enrol", Some(&early)).text;
    let full = enrolled_again(&desk, "ada", &key);
    let confirm = |path: &str, cookie: &str, page: &str| {
        desk.post(path, Some(cookie), &format!("code={}", code_of(&desk, page))).status
    };
    let late = desk.post("/sign-in/enrol", Some(&early), &format!("code={}", code_of(&desk, &seen)));
    assert_eq!((late.status, late.location.as_deref()), (303, Some("/sign-in")), "there is a key by now");
    assert_eq!(late.said.as_deref(), Some("factor-overtaken"));
    let half = || halfway(&desk, "ada", "/sign-in/code");
    assert_eq!(confirm("/sign-in/code", &half(), &seen), 422);
    let begun = desk.get("/account/second-factor", Some(&full)).text;
    assert_ne!(secret_of(&begun), secret_of(&seen), "another one is shown");
    assert_eq!(confirm("/sign-in/code", &half(), &begun), 422, "begun is not confirmed");
    let own = |key: &str| {
        let fields = format!("code={}&password={}&key={key}", code_of(&desk, &begun), encoded(PASSWORD));
        desk.post("/account/second-factor", Some(&full), &fields).status
    };
    assert_eq!(own(""), 422, "a code of it does not stand for the key");
    key.count = 2;
    let asked = challenge(&desk, "/account/challenge", &full, "PROVE");
    assert_eq!(own(&encoded(&key.shown(&asked))), 303);
    desk.forward(Duration::from_secs(60));
    assert_eq!(confirm("/sign-in/code", &half(), &begun), 303, "confirmed, it is a second factor");
}

#[test]
fn two_who_set_up_the_same_account_see_two_secrets_and_the_first_counts() {
    let desk = Desk::start();
    desk.person("ada", AccountRole::Admin);
    let half = |to: &str| halfway(&desk, "ada", to);
    let (one, other) = (half("/sign-in/enrol"), half("/sign-in/enrol"));
    let page = |cookie: &str| desk.get("/sign-in/enrol", Some(cookie)).text;
    let (hers, his) = (page(&one), page(&other));
    assert_ne!(secret_of(&hers), secret_of(&his));
    assert_eq!(secret_of(&page(&one)), secret_of(&hers), "loaded again it is the same");
    let confirm = |cookie: &str, page: &str| {
        desk.post("/sign-in/enrol", Some(cookie), &format!("code={}", code_of(&desk, page)))
    };
    assert_eq!(confirm(&one, &his).status, 422, "a secret belongs to its sign-in");
    let done = confirm(&one, &hers);
    assert_eq!((done.status, done.location.as_deref()), (303, Some("/")), "{}", done.text);
    for late in [confirm(&other, &his), desk.get("/sign-in/enrol", Some(&other))] {
        assert_eq!((late.status, late.location.as_deref()), (303, Some("/sign-in")), "{}", late.text);
        assert_eq!(late.said.as_deref(), Some("factor-overtaken"));
    }
    let key = encoded(&Key::at(&desk).made(&json!({"challenge": "", "party": "localhost"})));
    let late = desk.post("/sign-in/enrol/key", Some(&other), &format!("name=his&made={key}"));
    assert_eq!(late.said.as_deref(), Some("factor-overtaken"));
    desk.forward(Duration::from_secs(60));
    let sign_in = |page: &str| {
        let half = half("/sign-in/code");
        desk.post("/sign-in/code", Some(&half), &format!("code={}", code_of(&desk, page))).status
    };
    assert_eq!((sign_in(&his), sign_in(&hers)), (422, 303));
    let full = done.session.unwrap();
    let there = desk.get("/account/second-factor", Some(&full));
    assert_eq!((there.status, there.said.as_deref()), (303, Some("factor-there")));
    assert_eq!(events(&desk).iter().filter(|event| *event == "SECOND_FACTOR_ADDED").count(), 1);
}

#[test]
fn a_key_that_says_something_else_of_backups_is_refused() {
    let desk = Desk::start();
    let mut key = Key::at(&desk);
    enrolled(&desk, "ada", &key);
    let sign_in = |key: &Key| {
        let half = halfway(&desk, "ada", "/sign-in/code");
        show(&desk, &half, &key.shown(&challenge(&desk, "/sign-in/challenge", &half, "PROVE"))).status
    };
    (key.count, key.flags) = (2, 0x08);
    assert_eq!(sign_in(&key), 422, "made as one that stays where it is");
    key.flags = 0;
    assert_eq!(sign_in(&key), 303);
}

/// Waits for so many letters, each as the person reads it.
fn letters(folder: &std::path::Path, count: usize) -> Vec<String> {
    for _ in 0..200 {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path()).collect();
        files.sort();
        if files.len() >= count {
            let read = |file: &std::path::PathBuf| std::fs::read_to_string(file).unwrap();
            return files.iter().map(read).map(|text| text.replace("=\r\n", "")).collect();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("fewer than {count} letters");
}

#[test]
fn a_letter_tells_of_each_factor_that_comes_or_goes() {
    let folder = std::env::temp_dir().join(format!("console-letters-{}", std::process::id()));
    let desk = Desk::with(&[("MAIL_FOLDER", &folder.display().to_string())]);
    let mut key = Key::at(&desk);
    let full = enrolled(&desk, "ada", &key);
    // Letters go by when they are owed.
    desk.forward(Duration::from_secs(1));
    key.count = 2;
    let shown = encoded(&key.shown(&challenge(&desk, "/account/challenge", &full, "PROVE")));
    let page = desk.get("/account/second-factor", Some(&full)).text;
    let fields = format!("code={}&password={}&key={shown}", code_of(&desk, &page), encoded(PASSWORD));
    let answer = desk.post("/account/second-factor", Some(&full), &fields);
    assert_eq!(answer.status, 303, "{}", answer.text);
    let told = letters(&folder, 2);
    assert!(told[0].contains("A security key was added: blue"), "{}", told[0]);
    assert!(told[0].contains("To: ada@staff.example") && told[0].contains("2027-01-15 08:00 UTC"));
    assert!(told[0].contains("s=C3=A9curit=C3=A9 a =C3=A9t=C3=A9 ajout=C3=A9e : blue"), "{}", told[0]);
    assert!(told[1].contains("Codes of an authenticator were set up"), "{}", told[1]);
    let user = desk.run(desk.store.find_user(crate::support::email("ada"))).unwrap().user;
    desk.run(desk.store.forget_second_factors(user, schema_store::rows::account::Origin::system())).unwrap();
    let told = letters(&folder, 3);
    assert!(told[2].contains("whoever runs the machine"), "{}", told[2]);
    let secrets = [secret_of(&page), packed(key.credential())];
    for text in &told {
        assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{text}");
    }
    while !desk.run(desk.store.due_factor_letters(9)).unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(letters(&folder, 3).len(), 3, "each once");
    drop(desk);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn where_no_browser_uses_a_key_the_page_says_what_to_set() {
    let plain = Desk::with(&[("CONSOLE_URL", "http://console.example.org")]);
    let cookie = plain.fresh_session(AccountRole::Admin);
    let page = plain.get("/account/keys", Some(&cookie));
    assert!(page.text.contains("CONSOLE_URL") && page.text.contains("https://"), "{}", page.text);
    assert_eq!(plain.post("/account/challenge", Some(&cookie), "purpose=ADD").status, 404);
}
