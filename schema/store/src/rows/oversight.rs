//! People and audit entries as the pages show them.

use std::net::IpAddr;

use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::device::Device;
use super::role::AccountRole;

/// An account in a list.
#[derive(Clone, PartialEq, Debug)]
pub struct PersonRow {
    pub user: UserId,
    /// `None` once deleted.
    pub email: Option<String>,
    pub name: String,
    pub status: UserStatus,
    pub role: AccountRole,
    pub created_at: u64,
    pub last_active_at: Option<u64>,
}

/// An account with what belongs to it.
#[derive(Clone, PartialEq, Debug)]
pub struct PersonDetail {
    pub row: PersonRow,
    pub email_verified: bool,
    /// Not revoked.
    pub devices: Vec<Device>,
    /// Refresh token families that still work.
    pub sessions: u64,
    pub conversations: u64,
    /// Bytes of media.
    pub storage: u64,
    pub strikes: u64,
    /// Newest first.
    pub notes: Vec<Note>,
}

/// What somebody wrote down about an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// A name; empty when its account is gone.
    pub author: String,
    pub text: String,
    pub created_at: u64,
}

/// Which audit entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    pub event: Option<String>,
    pub subject: Option<UserId>,
}

/// Failed sign-ins from one address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailedSignIns {
    pub address: IpAddr,
    pub attempts: u64,
}
