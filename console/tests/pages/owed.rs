//! Letters that are owed: an outage of the server that takes them loses none, and what nobody takes holds up no other.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use schema_store::ConsoleAccess;
use schema_store::rows::account::Origin;
use schema_store::rows::console::NewSecurityKey;
use schema_store::rows::role::AccountRole;
use schema_wire::UserId;

use crate::support::Desk;

/// Longer than the pause after a refusal.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// A server that takes letters, one connection after the other, and hands on what it heard. The first recipients are
/// answered as told.
pub fn mail_server(refusals: &'static [&'static str]) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, letters) = channel();
    let mut refusals = refusals.iter();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut answers = stream.try_clone().unwrap();
            let (mut letter, mut in_letter) = (String::new(), false);
            let _ = answers.write_all(b"220 here\r\n");
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                letter += &format!("{line}\n");
                let answer = match line.as_str() {
                    "." => "250 taken",
                    _ if in_letter => continue,
                    "DATA" => "354 go on",
                    _ if line.starts_with("RCPT") => refusals.next().copied().unwrap_or("250 fine"),
                    _ => "250 fine",
                };
                in_letter = line == "DATA";
                if answers.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
                    break;
                }
                if line == "." && heard.send(std::mem::take(&mut letter)).is_err() {
                    return;
                }
            }
        }
    });
    (port, letters)
}

fn desk(port: u16) -> Desk {
    let port = port.to_string();
    Desk::with(&[
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", &port),
        ("SMTP_TLS", "none"),
        ("SMTP_FROM", "desk@here.example"),
    ])
}

/// Owes this account a letter.
fn owe(desk: &Desk, user: UserId, name: &str) {
    let new = NewSecurityKey {
        name: name.into(),
        credential: name.as_bytes().repeat(8),
        public_key: vec![9; 77],
        sign_count: 0,
        backup_eligible: false,
    };
    desk.run(desk.store.add_security_key(user, new, Origin::system())).unwrap();
    desk.forward(Duration::from_millis(1));
}

fn until_nothing_is_owed(desk: &Desk) {
    while !desk.run(desk.store.due_factor_letters(9)).unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_letter_is_owed_until_the_server_takes_it() {
    let (port, letters) = mail_server(&["451 not now", "452 nor this one", "250 fine", "451 once more"]);
    let desk = desk(port);
    let ada = desk.person("ada", AccountRole::Admin);
    owe(&desk, ada, "blue");
    owe(&desk, ada, "green");
    let first = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(first.contains(": blue"), "{first}");
    assert!(!desk.run(desk.store.due_factor_letters(9)).unwrap().is_empty(), "green is still owed");
    let second = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(second.contains(": green"), "{second}");
    until_nothing_is_owed(&desk);
    assert_eq!(
        letters.recv_timeout(Duration::from_millis(1200)),
        Err(RecvTimeoutError::Timeout),
        "each once"
    );
}

#[test]
fn what_is_refused_for_good_holds_up_no_other_letter() {
    let (port, letters) = mail_server(&["550 no such mailbox"]);
    let desk = desk(port);
    let (ada, mia) = (desk.person("ada", AccountRole::Admin), desk.person("mia", AccountRole::Moderator));
    owe(&desk, ada, "blue");
    owe(&desk, mia, "green");
    let letter = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(letter.contains("mia@staff.example"), "{letter}");
    until_nothing_is_owed(&desk);
    // Who may not send is told so as well (530): that is no word about the letter.
    let (port, letters) = mail_server(&["530 authentication required"]);
    let desk = self::desk(port);
    let eve = desk.person("eve", AccountRole::Admin);
    owe(&desk, eve, "red");
    let letter = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(letter.contains("eve@staff.example"), "{letter}");
}
