//! Accounts, invites, audit entries: what the console hands to the store and gets back.

use std::net::IpAddr;

use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::role::AccountRole;
use crate::token::{NewToken, TokenHash};

/// Who does something, and from where. Kept in the audit trail only.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// The account that acts; `None`: nobody signed in, or the system itself.
    pub actor: Option<UserId>,
    pub address: Option<IpAddr>,
    /// Cut to 256 bytes when stored.
    pub user_agent: Option<String>,
}

impl Origin {
    /// The system itself (operator CLI, jobs, `--demo`).
    pub fn system() -> Self {
        Self::default()
    }
}

/// When a new account becomes active.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// At once (an invite, or an open demo).
    Immediate,
    /// When somebody approves it.
    Approval,
    /// When the address is verified with this token.
    Mail(NewToken),
}

/// A new account.
#[derive(Clone, PartialEq, Debug)]
pub struct Registration {
    /// Trimmed and lower-cased by the store.
    pub email: String,
    pub name: String,
    /// PHC string; the store never looks inside.
    pub password_hash: String,
    /// Consumed in the same transaction; its role is given to the account. Wrong, used or expired: `TokenInvalid`.
    pub invite: Option<TokenHash>,
    pub activation: Activation,
}

/// What checking a password needs.
#[derive(Clone, PartialEq, Debug)]
pub struct LoginRecord {
    pub user: UserId,
    pub password_hash: String,
    pub status: UserStatus,
    pub role: AccountRole,
}

/// What is known about an account.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    pub user: UserId,
    pub email: String,
    pub name: String,
    pub about: String,
    pub status: UserStatus,
    pub role: AccountRole,
    pub created_at: u64,
    pub last_active_at: Option<u64>,
    pub email_verified: bool,
}

/// `None` keeps what is there.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProfileChange {
    pub name: Option<String>,
    pub about: Option<String>,
}

/// Names an invite.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InviteId(pub [u8; 16]);

/// An invite to be created.
#[derive(Clone, PartialEq, Debug)]
pub struct NewInvite {
    pub token: NewToken,
    /// Only this address may use it, if set.
    pub email: Option<String>,
    pub role: AccountRole,
}

/// An invite in the list. The token itself is not kept.
#[derive(Clone, PartialEq, Debug)]
pub struct Invite {
    pub id: InviteId,
    pub email: Option<String>,
    pub role: AccountRole,
    pub created_by: Option<UserId>,
    pub created_at: u64,
    pub expires_at: u64,
    pub used_by: Option<UserId>,
    pub used_at: Option<u64>,
    pub revoked_at: Option<u64>,
}

/// A change of an account's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusChange {
    /// Until then (unix ms), or until somebody reactivates the account.
    Suspend {
        until: Option<u64>,
    },
    Ban,
    Reactivate,
}

/// What an erasure removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Erasure {
    pub at: u64,
    pub messages: u64,
    pub conversations_left: u64,
    pub devices: u64,
}

/// Names of audit events (`audit_logs.event_type`). Others may be added anywhere: they are only names.
pub mod audit_event {
    pub const LOGIN: &str = "LOGIN";
    pub const LOGIN_FAILED: &str = "LOGIN_FAILED";
    pub const LOGOUT: &str = "LOGOUT";
    pub const SUSPICIOUS_ACTIVITY: &str = "SUSPICIOUS_ACTIVITY";
    pub const KEY_CHANGE: &str = "KEY_CHANGE";
    pub const REGISTERED: &str = "REGISTERED";
    pub const APPROVED: &str = "APPROVED";
    pub const REGISTRATION_REFUSED: &str = "REGISTRATION_REFUSED";
    pub const EMAIL_VERIFIED: &str = "EMAIL_VERIFIED";
    pub const INVITE_CREATED: &str = "INVITE_CREATED";
    pub const INVITE_REVOKED: &str = "INVITE_REVOKED";
    pub const PROFILE_CHANGED: &str = "PROFILE_CHANGED";
    pub const PASSWORD_CHANGED: &str = "PASSWORD_CHANGED";
    pub const PASSWORD_RESET_REQUESTED: &str = "PASSWORD_RESET_REQUESTED";
    pub const PASSWORD_RESET: &str = "PASSWORD_RESET";
    pub const SECOND_FACTOR_ADDED: &str = "SECOND_FACTOR_ADDED";
    pub const SECOND_FACTORS_FORGOTTEN: &str = "SECOND_FACTORS_FORGOTTEN";
    pub const SECURITY_KEY_ADDED: &str = "SECURITY_KEY_ADDED";
    pub const SECURITY_KEY_REMOVED: &str = "SECURITY_KEY_REMOVED";
    pub const SESSIONS_REVOKED: &str = "SESSIONS_REVOKED";
    pub const DATA_EXPORTED: &str = "DATA_EXPORTED";
    pub const ACCOUNT_ERASED: &str = "ACCOUNT_ERASED";
    pub const ERASURE_ASKED: &str = "ERASURE_ASKED";
    pub const ERASURE_WITHDRAWN: &str = "ERASURE_WITHDRAWN";
    pub const USER_SUSPENDED: &str = "USER_SUSPENDED";
    pub const USER_BANNED: &str = "USER_BANNED";
    pub const USER_REACTIVATED: &str = "USER_REACTIVATED";
    pub const STAFF_ASKED: &str = "STAFF_ASKED";
    pub const STAFF_WITHDRAWN: &str = "STAFF_WITHDRAWN";
    pub const STAFF_CREATED: &str = "STAFF_CREATED";
    pub const ROLE_CHANGED: &str = "ROLE_CHANGED";
    pub const ADDRESS_BAN_ASKED: &str = "ADDRESS_BAN_ASKED";
    pub const ADDRESS_BAN_WITHDRAWN: &str = "ADDRESS_BAN_WITHDRAWN";
    pub const ADDRESS_BANNED: &str = "ADDRESS_BANNED";
    pub const ADDRESS_UNBANNED: &str = "ADDRESS_UNBANNED";
    pub const AUDIT_READ: &str = "AUDIT_READ";
    pub const AUDIT_EXPORTED: &str = "AUDIT_EXPORTED";
    pub const AUDIT_VERIFIED: &str = "AUDIT_VERIFIED";
    pub const AUDIT_PRUNED: &str = "AUDIT_PRUNED";
    pub const STATISTICS_EXPORTED: &str = "STATISTICS_EXPORTED";
    pub const SETTING_CHANGED: &str = "SETTING_CHANGED";
    pub const NODE_DRAIN_ORDERED: &str = "NODE_DRAIN_ORDERED";
    pub const BACKUP_ASKED: &str = "BACKUP_ASKED";
    pub const CONNECTION_CLOSE_ORDERED: &str = "CONNECTION_CLOSE_ORDERED";
    pub const SERVICE_TOKEN_CREATED: &str = "SERVICE_TOKEN_CREATED";
    pub const SERVICE_TOKEN_REVOKED: &str = "SERVICE_TOKEN_REVOKED";
    pub const CONTENT_RULE_ADDED: &str = "CONTENT_RULE_ADDED";
    pub const CONTENT_RULE_REMOVED: &str = "CONTENT_RULE_REMOVED";
    pub const NOTE_ADDED: &str = "NOTE_ADDED";
    pub const REPORTED: &str = "REPORTED";
    pub const CASE_CLAIMED: &str = "CASE_CLAIMED";
    pub const CASE_RELEASED: &str = "CASE_RELEASED";
    pub const DECISION_MADE: &str = "DECISION_MADE";
    pub const DECISION_AGREED: &str = "DECISION_AGREED";
    pub const DECISION_REFUSED: &str = "DECISION_REFUSED";
    pub const DECISION_UNDONE: &str = "DECISION_UNDONE";
    pub const DECISION_APPLIED: &str = "DECISION_APPLIED";
    pub const DECISION_REVERSED: &str = "DECISION_REVERSED";
    pub const APPEALED: &str = "APPEALED";
    pub const APPEAL_UPHELD: &str = "APPEAL_UPHELD";
    pub const APPEAL_GRANTED: &str = "APPEAL_GRANTED";
    pub const USER_WARNED: &str = "USER_WARNED";
    pub const GENERATION_BEGUN: &str = "GENERATION_BEGUN";
}

/// Something to be remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// Upper-case name, such as those in `audit_event`.
    pub event: &'static str,
    /// The account it is about.
    pub subject: Option<UserId>,
    /// One line of text without secrets; at most 1 KiB is kept.
    pub detail: String,
}

/// A row of the audit trail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRow {
    /// Dense from 1.
    pub id: u64,
    pub event: String,
    pub subject: Option<UserId>,
    pub actor: Option<UserId>,
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub detail: String,
    pub created_at: u64,
    pub hash: [u8; 32],
}

/// An end of the audit chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditHead {
    /// 0: the chain is empty.
    pub id: u64,
    pub hash: [u8; 32],
}

/// `NUMBER:HASH`, as heads are written down outside the database.
impl std::fmt::Display for AuditHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.id)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Text that is no `NUMBER:HASH`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoHead;

impl std::fmt::Display for NoHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("write NUMBER:HASH, the number from 1 on and 64 hexadecimal digits")
    }
}

impl std::error::Error for NoHead {}

impl std::str::FromStr for AuditHead {
    type Err = NoHead;

    fn from_str(text: &str) -> Result<Self, NoHead> {
        let (id, digits) = text.split_once(':').ok_or(NoHead)?;
        let id = id.parse().ok().filter(|id| *id > 0).ok_or(NoHead)?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoHead);
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).map_err(|_| NoHead)?;
        }
        Ok(Self { id, hash })
    }
}
