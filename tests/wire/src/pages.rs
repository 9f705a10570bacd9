//! The console's pages as somebody with a role reads them: a session of their own, forms as a browser sends them.

use std::net::SocketAddr;

use schema_store::rows::account::Origin;
use schema_store::rows::console::{NewConsoleSession, Stage};
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, ConsoleAccess, NewToken};
use schema_wire::UserId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::http::{self, Answer};
use crate::people::now_ms;
use crate::{World, within};

/// Somebody who is signed in.
pub struct Pages {
    at: SocketAddr,
    cookie: String,
    pub user: UserId,
}

impl Pages {
    /// Signs somebody in with this role.
    pub async fn sign_in(world: &World, role: AccountRole) -> Self {
        let email = format!("{}@staff.example", role.name().to_lowercase());
        let made = world.store.create_admin(email, "somebody".into(), "none".into(), role).await;
        let user = made.expect("the address is free");
        let (cookie, token) = NewToken::generate(now_ms() + 3_600_000);
        let new = NewConsoleSession { token, user, stage: Stage::Full, replaces: None, lock_subject: None };
        world.store.open_console_session(new, Origin::system()).await.expect("an account with a role");
        let at = world.server.ready["console"].as_str().expect("the pages' address");
        let at = at.trim_start_matches("http://").parse().expect("an address");
        Self { at, cookie, user }
    }

    /// A page.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\n"), "").await
    }

    /// A form of the page at `from`.
    pub async fn post(&self, from: &str, path: &str, fields: &str) -> Answer {
        let page = self.get(from).await.body;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("the page has a form");
        let token = &rest[..rest.find('"').expect("an end")];
        let body = format!("csrf={token}&{fields}");
        let head = format!(
            "POST {path} HTTP/1.1\r\nOrigin: http://{}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n",
            self.at,
            body.len()
        );
        self.send(head, &body).await
    }

    async fn send(&self, head: String, body: &str) -> Answer {
        let mut stream = self.connect(head, "Connection: close\r\n", body).await;
        let mut bytes = Vec::new();
        within("a page", stream.read_to_end(&mut bytes)).await.expect("it answers");
        http::parse(&bytes)
    }

    async fn connect(&self, head: String, more: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.at).await.expect("it listens");
        let head = format!("{head}Host: {}\r\nCookie: session={}\r\n{more}\r\n{body}", self.at, self.cookie);
        stream.write_all(head.as_bytes()).await.expect("it reads");
        stream
    }

    /// A stream of events.
    pub async fn events(&self, path: &str) -> Events {
        let stream = self
            .connect(
                format!("GET {path} HTTP/1.1\r\n"),
                "Accept: text/event-stream\r\nConnection: close\r\n",
                "",
            )
            .await;
        Events(BufReader::new(stream))
    }
}

/// Server-sent events as they come.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// The name and the data of the next one; `None` at the end.
    pub async fn next(&mut self) -> Option<(String, String)> {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            let read = within("an event", self.0.read_line(&mut line)).await.expect("it is text");
            if read == 0 {
                return None;
            }
            if let Some(event) = line.strip_prefix("event:") {
                name = event.trim().to_owned();
            }
            if let Some(data) = line.strip_prefix("data:").filter(|_| !name.is_empty()) {
                return Some((name, data.trim().to_owned()));
            }
        }
    }
}
