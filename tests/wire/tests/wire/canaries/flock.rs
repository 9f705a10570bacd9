//! Fifty things that only their owners may read: mail addresses, names, secrets, messages, phone numbers. Each has something
//! of chance in it, so that it stands nowhere else.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// What a canary is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Mail,
    Name,
    Secret,
    Message,
    Phone,
}

const KINDS: [Kind; 5] = [Kind::Mail, Kind::Name, Kind::Secret, Kind::Message, Kind::Phone];
/// Of each kind.
const EACH: usize = 10;

/// All of them, and which were sent.
pub struct Flock {
    all: Vec<(Kind, String)>,
    sent: RefCell<BTreeSet<usize>>,
}

impl Flock {
    /// New ones.
    pub fn hatch() -> Self {
        let all = KINDS.iter().flat_map(|kind| (0..EACH).map(|_| (*kind, canary(*kind)))).collect();
        Self { all, sent: RefCell::default() }
    }

    /// One of a kind, to be sent.
    pub fn fly(&self, kind: Kind, number: usize) -> &str {
        let at = kind as usize * EACH + number;
        self.sent.borrow_mut().insert(at);
        &self.all[at].1
    }

    /// Those that were not sent.
    pub fn left(&self) -> Vec<&(Kind, String)> {
        let sent = self.sent.borrow();
        self.all.iter().enumerate().filter(|(at, _)| !sent.contains(at)).map(|(_, one)| one).collect()
    }

    /// What of each can't be there by chance, whatever stands around it.
    pub fn marks(&self) -> Vec<String> {
        self.all.iter().map(|(_, text)| mark(text)).collect()
    }
}

/// The part of chance: the longest run of letters and digits.
fn mark(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.max_by_key(|word| word.len()).expect("a canary has letters").to_owned()
}

fn canary(kind: Kind) -> String {
    match kind {
        Kind::Mail => format!("{}@nest.example", letters(14)),
        Kind::Name => format!("Zoë {} O'Brien", letters(14)),
        Kind::Secret => letters(32),
        Kind::Message => format!("meet me at the {} café", letters(16)),
        Kind::Phone => format!("+{}", digits(14)),
    }
}

fn letters(count: usize) -> String {
    random(count, b"abcdefghijkmnpqrstuvwxyz23456789")
}

fn digits(count: usize) -> String {
    random(count, b"1234567890")
}

fn random(count: usize, from: &[u8]) -> String {
    let mut bytes = vec![0u8; count];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes.iter().map(|byte| char::from(from[usize::from(*byte) % from.len()])).collect()
}
