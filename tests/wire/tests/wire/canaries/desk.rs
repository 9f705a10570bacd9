//! Canaries at the console: a moderator's sign-in, a case from claim to appeal, searches, and the forms of an administrator.

use schema_store::rows::account::Origin;
use schema_store::rows::console::{NewConsoleSession, Stage};
use schema_store::rows::role::AccountRole;
use schema_store::rows::service::NewServiceToken;
use schema_store::{Accounts, ConsoleAccess, NewToken, Services};
use serde_json::{Value, json};
use wire_tests::people::now_ms;
use wire_tests::server::run_to_end;
use wire_tests::{Settings, eventually};

use super::browser::{Browser, percent};
use super::flock::Kind::{Mail, Message, Name, Phone, Secret};
use super::journey::{Journey, Person};

/// Every page that an administrator may read, but those of single accounts.
const PAGES: [&str; 15] = [
    "/moderation",
    "/moderation/addresses",
    "/users",
    "/registration",
    "/staff",
    "/statistics",
    "/audit",
    "/audit.csv",
    "/audit/verify",
    "/overview",
    "/metrics",
    "/nodes",
    "/backups",
    "/settings",
    "/settings/content",
];

impl<'w> Journey<'w> {
    /// Somebody signs in to moderate, with mistakes on the way.
    pub async fn sit_down(&self) -> Browser<'_, 'w> {
        let (mail, secret) = (self.flock.fly(Mail, 9), self.flock.fly(Secret, 9));
        let data = self.world.server.data();
        let create = Settings::default().arg("create-admin").arg("--data").arg(data.display());
        let create = create.arg("--role").arg("MODERATOR").arg("--name").arg(self.flock.fly(Name, 9));
        let made = run_to_end(&create.arg("--email").arg(mail), &format!("{secret}\n"));
        assert!(made.status.success(), "{made:?}");
        let browser = Browser::new(self);
        browser.open("/sign-in").await;
        for (mail, secret) in [(mail, self.flock.fly(Secret, 8)), (self.flock.fly(Mail, 8), secret)] {
            let refused = browser.submit("/sign-in", &[("email", mail), ("password", secret)]).await;
            assert_eq!(refused.status, 422, "{refused:?}");
        }
        let entered = browser.submit("/sign-in", &[("email", mail), ("password", secret)]).await;
        assert_eq!(entered.status, 303, "{entered:?}");
        browser
    }

    /// A case is looked at, claimed and decided, with mistakes on the way.
    pub async fn decide(&self, browser: &Browser<'_, 'w>, about: &Person) {
        for path in ["/moderation", "/users"] {
            let search = format!("{path}?q={}", percent(self.flock.fly(Mail, about.number)));
            assert!(browser.open(&search).await.body.contains(&about.id), "{search}");
        }
        let case = format!("/moderation/{}", about.id);
        assert!(browser.open(&case).await.body.contains(self.flock.fly(Message, 2)));
        assert_eq!(browser.submit(&format!("{case}/claim"), &[]).await.status, 303);
        let (reason, notice) = (self.flock.fly(Message, 5), self.flock.fly(Message, 6));
        let form = |days| {
            [
                ("measure", "SUSPEND"),
                ("days", days),
                ("reason", reason),
                ("notify", "yes"),
                ("notice", notice),
            ]
        };
        let refused = browser.submit(&format!("{case}/decide"), &form("400")).await;
        assert_eq!(refused.status, 422);
        assert!(refused.body.contains(reason), "what was typed is kept");
        assert_eq!(browser.submit(&format!("{case}/decide"), &form("7")).await.status, 303);
        let note = format!("/users/{}/notes", about.id);
        assert_eq!(browser.submit(&note, &[("note", self.flock.fly(Phone, 7))]).await.status, 303);
        browser.submit(&format!("/users/{}/reset-mail", about.id), &[]).await;
        browser.open(&format!("/{}", self.flock.fly(Secret, 5))).await;
    }

    /// Whoever was suspended answers by the link of the letter.
    pub async fn appeal(&self, about: &Person) {
        let token = self.link(self.flock.fly(Mail, about.number), "appeal?token=").await;
        self.secrets.borrow_mut().push(token.clone());
        let api = self.world.server.api();
        let page = self.send(api, "GET", &format!("/appeal?token={token}"), &[], "").await;
        assert!(page.body.contains(self.flock.fly(Message, 6)), "{page:?}");
        let form = format!("token={token}&text={}", percent(self.flock.fly(Message, 8)));
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        assert_eq!(self.send(api, "POST", "/appeal", &kind, &form).await.status, 200);
    }

    /// An administrator, signed in, and a token for programs in their name.
    pub async fn administrator(&self) -> (Browser<'_, 'w>, String) {
        let store = &self.world.store;
        let (mail, name) = (self.flock.fly(Mail, 7).to_owned(), self.flock.fly(Name, 7).to_owned());
        let admin =
            store.create_admin(mail, name, "none".into(), AccountRole::Admin).await.expect("a free address");
        let (session, token) = NewToken::generate(now_ms() + 3_600_000);
        let new =
            NewConsoleSession { token, user: admin, stage: Stage::Full, replaces: None, lock_subject: None };
        store.open_console_session(new, Origin::system()).await.expect("an administrator");
        let (service, token) = NewToken::generate(now_ms() + 3_600_000);
        let new = NewServiceToken { token, name: self.flock.fly(Name, 8).into(), role: AccountRole::Admin };
        let by = Origin { actor: Some(admin), ..Origin::system() };
        store.create_service_token(new, by).await.expect("an administrator");
        self.secrets.borrow_mut().extend([session.clone(), service.clone()]);
        (Browser::signed_in(self, session), service)
    }

    /// What an administrator reads and sends.
    pub async fn rule(&self, browser: &Browser<'_, 'w>, about: &Person) {
        let fly = |kind, number| self.flock.fly(kind, number);
        for path in PAGES {
            let answer = browser.open(path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
        let erasure = format!("/users/{}/erasure", about.id);
        browser.open(&erasure).await;
        let forms: [(&str, &[(&str, &str)]); 10] = [
            ("/registration/invite", &[("email", fly(Mail, 6))]),
            ("/registration/invite", &[("email", fly(Phone, 6))]),
            ("/staff", &[("email", fly(Mail, 5)), ("name", fly(Name, 5)), ("role", "AUDITOR")]),
            ("/staff", &[("email", fly(Phone, 5)), ("name", fly(Name, 4)), ("role", "AUDITOR")]),
            ("/tokens", &[("name", fly(Phone, 4)), ("role", "AUDITOR")]),
            ("/settings/content", &[("kind", "PHISHING"), ("text", fly(Message, 4))]),
            ("/settings/smtp-host", &[("value", fly(Secret, 5))]),
            ("/moderation/addresses", &[("network", fly(Phone, 3)), ("reason", fly(Message, 3))]),
            (&erasure, &[("reason", fly(Message, 7))]),
            ("/sign-in/code", &[("code", fly(Phone, 8))]),
        ];
        for (path, fields) in forms {
            browser.submit(path, fields).await;
        }
        browser
            .open(&format!("/audit?event={}&user={}", percent(fly(Name, 3)), percent(fly(Phone, 0))))
            .await;
        browser.open(&format!("/moderation?q={}", percent(fly(Name, 2)))).await;
    }

    /// Waits until what was decided took effect, and the account is out.
    pub async fn until_out(&self, person: &Person) {
        eventually("a suspension", async || {
            let me = self.ask("GET", "/api/v1/me", Some(&person.access), &Value::Null).await;
            (me.status == 403).then_some(())
        })
        .await;
        let log_in = json!({
            "email": self.flock.fly(Mail, person.number), "password": self.flock.fly(Secret, person.number),
            "device": self.flock.fly(Name, 1),
        });
        assert_eq!(self.ask("POST", "/api/v1/auth/login", None, &log_in).await.status, 403);
    }
}
