//! Sessions of the console and second factors.

use core::fmt;
use std::net::IpAddr;

use schema_wire::UserId;

use super::role::AccountRole;
use crate::token::{NewToken, TokenHash};

/// How far somebody got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The password was right; the code is still to come.
    SecondFactor,
    /// The password was right; a second factor is required and not there yet.
    Enrol,
    /// Signed in.
    Full,
}

impl Stage {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SecondFactor => "SECOND_FACTOR",
            Self::Enrol => "ENROL",
            Self::Full => "FULL",
        }
    }

    /// The stage of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::SecondFactor, Self::Enrol, Self::Full].into_iter().find(|stage| stage.name() == name)
    }
}

/// A session to be opened.
#[derive(Clone, PartialEq, Debug)]
pub struct NewConsoleSession {
    /// Its expiry is the session's end, used or not.
    pub token: NewToken,
    pub user: UserId,
    pub stage: Stage,
    /// The session that ends with this one's beginning.
    pub replaces: Option<TokenHash>,
    /// Whose failures are forgotten once the session is a full one.
    pub lock_subject: Option<[u8; 32]>,
}

/// A session.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsoleSession {
    pub id: TokenHash,
    pub user: UserId,
    pub name: String,
    pub role: AccountRole,
    pub stage: Stage,
    pub created_at: u64,
    pub seen_at: u64,
    pub expires_at: u64,
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
}

/// A second factor by time-based codes.
#[derive(Clone, PartialEq, Eq)]
pub struct SecondFactor {
    pub secret: Vec<u8>,
    /// Newest time step whose code was used.
    pub last_step: u64,
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecondFactor {{ last_step: {} }}", self.last_step)
    }
}

/// Names a security key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SecurityKeyId(pub [u8; 16]);

impl From<[u8; 16]> for SecurityKeyId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A security key to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSecurityKey {
    pub name: String,
    /// As the authenticator names it.
    pub credential: Vec<u8>,
    /// A COSE key.
    pub public_key: Vec<u8>,
    /// What the signature counter said.
    pub sign_count: u32,
    /// Whether it may be copied to another device.
    pub backup_eligible: bool,
}

/// A security key as a second factor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityKey {
    pub id: SecurityKeyId,
    pub name: String,
    pub credential: Vec<u8>,
    pub public_key: Vec<u8>,
    pub sign_count: u32,
    /// `None`: it was not asked yet.
    pub backup_eligible: Option<bool>,
    pub created_at: u64,
    pub last_used_at: Option<u64>,
}

/// What a security key says of itself when it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyUse {
    pub sign_count: u32,
    pub backup_eligible: bool,
}

/// What became of an account's second factors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FactorChange {
    CodesAdded,
    KeyAdded,
    KeyRemoved,
    /// All of them, by whoever runs the machine.
    Forgotten,
}

impl FactorChange {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CodesAdded => "CODES_ADDED",
            Self::KeyAdded => "KEY_ADDED",
            Self::KeyRemoved => "KEY_REMOVED",
            Self::Forgotten => "FORGOTTEN",
        }
    }

    /// The change of that name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::CodesAdded, Self::KeyAdded, Self::KeyRemoved, Self::Forgotten];
        all.into_iter().find(|change| change.name() == name)
    }
}

/// Names a letter about second factors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FactorLetterId(pub [u8; 16]);

impl From<[u8; 16]> for FactorLetterId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A letter about second factors that is still to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FactorLetter {
    pub id: FactorLetterId,
    pub email: String,
    pub change: FactorChange,
    /// Of the key; empty for what is none.
    pub name: String,
    pub at: u64,
}

/// What a challenge is for. A session has one for each at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChallengePurpose {
    /// To make a credential.
    Add,
    /// To show that one is there.
    Prove,
}

impl ChallengePurpose {
    /// As stored, and as asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Prove => "PROVE",
        }
    }

    /// The purpose of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Add, Self::Prove].into_iter().find(|purpose| purpose.name() == name)
    }
}

/// Another role for an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoleChange {
    pub user: UserId,
    /// What it has, as whoever changes it saw it.
    pub from: AccountRole,
    /// `User`: none any more.
    pub to: AccountRole,
}

impl RoleChange {
    /// Whether a second administrator has to agree: to another administrator, and to a role for whoever had none.
    pub const fn takes_two(self) -> bool {
        matches!(self.to, AccountRole::Admin) || matches!(self.from, AccountRole::User)
    }

    /// What the trail says of it: before and after.
    pub(crate) fn told(self) -> String {
        format!("{} -> {}", self.from.name(), self.to.name())
    }
}

/// Names a request for a role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StaffRequestId(pub [u8; 16]);

impl From<[u8; 16]> for StaffRequestId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// An account with a role in the console, to be asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewStaff {
    pub email: String,
    pub name: String,
    pub role: AccountRole,
}

/// One that waits for a second administrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaffRequest {
    pub id: StaffRequestId,
    pub email: String,
    pub name: String,
    pub role: AccountRole,
    /// Who is to get the role, and which one that account has; `None`: an account is to be made.
    pub account: Option<(UserId, AccountRole)>,
    pub asked_by: UserId,
    /// A name; empty when its account is gone.
    pub asker: String,
    pub asked_at: u64,
}

/// What an agreement led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreed {
    /// An account was made, whose password is still to be chosen.
    Made(UserId),
    /// An account has a role that had none; its password is to be chosen anew.
    Raised(UserId),
    /// An account has another role.
    Changed(UserId),
}
