//! Letters that are owed: an outage of the server that takes them loses none, and what nobody takes holds up no other.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use schema_store::rows::account::Origin;
use schema_store::rows::console::NewSecurityKey;
use schema_store::rows::role::AccountRole;
use schema_store::{Accounts, ConsoleAccess};
use schema_wire::UserId;

use crate::support::Desk;

/// Longer than the pause after a refusal.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// What a server that takes letters does besides.
#[derive(Default)]
pub struct Server {
    /// Instead of a greeting, to those who come first.
    pub greetings: Vec<&'static str>,
    /// To the recipients that are named first.
    pub refusals: Vec<&'static str>,
    /// A letter is taken once this says so, as long as there is somebody to say it.
    pub gate: Option<Receiver<()>>,
}

/// A server that takes letters, one connection after the other, and hands on what it heard. The first recipients are
/// answered as told.
pub fn mail_server(refusals: &'static [&'static str]) -> (u16, Receiver<String>) {
    Server { refusals: refusals.to_vec(), ..Server::default() }.start()
}

impl Server {
    fn start(self) -> (u16, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, letters) = channel();
        let (mut greetings, mut refusals) = (self.greetings.into_iter(), self.refusals.into_iter());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut answers = stream.try_clone().unwrap();
                let (mut letter, mut in_letter) = (String::new(), false);
                let greeting = greetings.next().unwrap_or("220 here");
                let _ = answers.write_all(format!("{greeting}\r\n").as_bytes());
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    letter += &format!("{line}\n");
                    let answer = match line.as_str() {
                        "." => "250 taken",
                        _ if in_letter => continue,
                        "DATA" => "354 go on",
                        _ if line.starts_with("RCPT") => refusals.next().unwrap_or("250 fine"),
                        _ => "250 fine",
                    };
                    in_letter = line == "DATA";
                    let is_whole = line == ".";
                    if is_whole && heard.send(std::mem::take(&mut letter)).is_err() {
                        return;
                    }
                    if is_whole && let Some(gate) = &self.gate {
                        let _ = gate.recv();
                    }
                    if answers.write_all(format!("{answer}\r\n").as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
        (port, letters)
    }
}

pub fn desk(port: u16) -> Desk {
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
    let (port, letters) = mail_server(&["550 5.1.1 no such mailbox"]);
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

#[test]
fn a_server_that_refuses_everybody_loses_no_letter() {
    let greetings = vec!["554 no service here"];
    let refusals = vec!["550 5.4.5 quota exceeded", "554 5.7.1 relay access denied"];
    let (port, letters) = Server { greetings, refusals, gate: None }.start();
    let desk = desk(port);
    let ada = desk.person("ada", AccountRole::Admin);
    for name in ["blue", "green", "red"] {
        owe(&desk, ada, name);
    }
    let mut taken: Vec<_> = (0..3).map(|_| letters.recv_timeout(TAKEN_WITHIN).unwrap()).collect();
    taken.sort_by_key(|letter| ["blue", "green", "red"].map(|name| !letter.contains(&format!(": {name}"))));
    assert!(taken[0].contains(": blue") && taken[2].contains(": red"), "{taken:?}");
    until_nothing_is_owed(&desk);
}

#[test]
fn what_is_refused_while_others_are_taken_is_given_up_in_the_end() {
    let refused = "550 no such mailbox";
    let refusals = vec![refused, "250 fine", refused, "250 fine", refused, "250 fine", refused];
    let (port, letters) = Server { refusals, ..Server::default() }.start();
    let desk = desk(port);
    let (ada, mia) = (desk.person("ada", AccountRole::Admin), desk.person("mia", AccountRole::Moderator));
    owe(&desk, ada, "blue");
    std::thread::sleep(Duration::from_secs(1));
    for pause in [0, 5, 10] {
        // Until it is refused again.
        std::thread::sleep(Duration::from_secs(pause));
        owe(&desk, mia, &format!("green{pause}"));
        let letter = letters.recv_timeout(TAKEN_WITHIN).unwrap();
        assert!(letter.contains("mia@staff.example"), "{letter}");
        assert_eq!(desk.run(desk.store.due_factor_letters(9)).unwrap()[0].name, "blue", "still owed");
    }
    desk.forward(Duration::from_secs(3600));
    until_nothing_is_owed(&desk);
    assert_eq!(letters.recv_timeout(Duration::from_millis(600)), Err(RecvTimeoutError::Timeout));
}

#[test]
fn whoever_is_erased_meanwhile_gets_no_letter() {
    let (open, gate) = channel();
    let (port, letters) = Server { gate: Some(gate), ..Server::default() }.start();
    let desk = desk(port);
    let (ada, mia) = (desk.person("ada", AccountRole::Admin), desk.person("mia", AccountRole::Moderator));
    let eve = desk.person("eve", AccountRole::Admin);
    owe(&desk, ada, "blue");
    let first = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(first.contains("ada@staff.example"), "{first}");
    owe(&desk, ada, "black");
    owe(&desk, mia, "green");
    owe(&desk, eve, "red");
    open.send(()).unwrap();
    // All are on the list by now, behind the one that the server takes its time with.
    let second = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(second.contains(": black"), "{second}");
    desk.run(desk.store.erase_account(mia, "asked".into(), Origin::system())).unwrap();
    drop(open);
    let third = letters.recv_timeout(TAKEN_WITHIN).unwrap();
    assert!(third.contains("eve@staff.example"), "{third}");
    until_nothing_is_owed(&desk);
}

#[test]
fn a_letter_that_is_on_its_way_is_noted_when_the_console_stops() {
    let (open, gate) = channel();
    let (port, letters) = Server { gate: Some(gate), ..Server::default() }.start();
    let mut desk = desk(port);
    let ada = desk.person("ada", AccountRole::Admin);
    owe(&desk, ada, "blue");
    letters.recv_timeout(TAKEN_WITHIN).unwrap();
    let opening = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        drop(open);
    });
    desk.stop();
    opening.join().unwrap();
    assert!(desk.run(desk.store.due_factor_letters(9)).unwrap().is_empty(), "it is not sent once more");
}
