//! Whoever sits at the console: forms and cookies, as a browser without scripts has them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use wire_tests::http::Answer;

use super::journey::Journey;

/// A browser.
pub struct Browser<'j, 'w> {
    journey: &'j Journey<'w>,
    at: SocketAddr,
    cookies: RefCell<BTreeMap<String, String>>,
    /// The token of the forms of the last page.
    csrf: RefCell<String>,
}

impl<'j, 'w> Browser<'j, 'w> {
    /// A fresh one at the console.
    pub fn new(journey: &'j Journey<'w>) -> Self {
        let at = journey.world.server.ready["console"].as_str().expect("the console is served");
        let at = at.trim_start_matches("http://").parse().expect("an address");
        Self { journey, at, cookies: RefCell::default(), csrf: RefCell::default() }
    }

    /// The same of somebody who is signed in.
    pub fn signed_in(journey: &'j Journey<'w>, session: String) -> Self {
        let browser = Self::new(journey);
        browser.cookies.borrow_mut().insert("session".into(), session);
        browser
    }

    /// Reads a page.
    pub async fn open(&self, path: &str) -> Answer {
        let cookies = self.cookies();
        let answer = self.journey.send(self.at, "GET", path, &[("Cookie", &cookies)], "").await;
        self.keep(&answer);
        answer
    }

    /// Sends a form of the last page.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = self.csrf.borrow().clone();
        let all = [("csrf", csrf.as_str())].into_iter().chain(fields.iter().copied());
        let body: Vec<String> = all.map(|(name, value)| format!("{name}={}", percent(value))).collect();
        let (cookies, origin) = (self.cookies(), format!("http://{}", self.at));
        let headers = [
            ("Cookie", cookies.as_str()),
            ("Origin", &origin),
            ("Sec-Fetch-Site", "same-origin"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let answer = self.journey.send(self.at, "POST", path, &headers, &body.join("&")).await;
        self.keep(&answer);
        answer
    }

    fn cookies(&self) -> String {
        let cookies = self.cookies.borrow();
        let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn keep(&self, answer: &Answer) {
        let set = answer.head.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
        for (name, rest) in set.filter_map(|line| line.split_once('=')) {
            let value = rest.split(';').next().unwrap_or_default();
            if name == "session" && !value.is_empty() {
                self.journey.secrets.borrow_mut().push(value.to_owned());
            }
            self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
        }
        if let Some((_, rest)) = answer.body.split_once("name=\"csrf\" value=\"") {
            *self.csrf.borrow_mut() = rest.split('"').next().unwrap_or_default().to_owned();
        }
    }
}

/// As it stands in addresses and forms.
pub fn percent(text: &str) -> String {
    let each = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(each).collect()
}
