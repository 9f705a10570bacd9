//! What is looked for in texts, and what is worth a moderator's look at present.

use schema_wire::UserId;

/// Names a rule about contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ContentRuleId(pub [u8; 16]);

impl From<[u8; 16]> for ContentRuleId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// What a rule looks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContentKind {
    /// The domain of a service that shortens addresses.
    Shortener,
    /// Words that somebody fishes with.
    Phishing,
    /// Parts of a text in this order, with `*` between them.
    Spam,
}

impl ContentKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shortener, Self::Phishing, Self::Spam];

    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shortener => "SHORTENER",
            Self::Phishing => "PHISHING",
            Self::Spam => "SPAM",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A rule that is in use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentRule {
    pub id: ContentRuleId,
    pub kind: ContentKind,
    pub text: String,
    /// A name; empty when it came with the product, or its account is gone.
    pub made_by: String,
    pub created_at: u64,
}

/// What is worth a look besides the cases.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signals {
    /// Reports within the last hour.
    pub reports: u64,
    /// New accounts that are flagged as busy, newest flag first.
    pub busy: Vec<Flagged>,
    /// Accounts that may be banned people's, newest flag first.
    pub evading: Vec<Flagged>,
    /// Accounts that sent the same to many, newest flag first.
    pub same: Vec<Flagged>,
}

/// An account with an open flag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flagged {
    pub user: UserId,
    pub name: String,
    pub detail: String,
    pub at: u64,
}

/// A new account that has something in common with a banned one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evader {
    pub user: UserId,
    /// The banned one.
    pub banned: UserId,
    /// Whether they share a device's key; otherwise an address.
    pub by_device: bool,
}
