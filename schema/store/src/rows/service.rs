//! Programs that use the administration interface.

use schema_wire::UserId;

use super::role::AccountRole;
use crate::token::NewToken;

/// Names a service token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceTokenId(pub [u8; 16]);

impl From<[u8; 16]> for ServiceTokenId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// A service token to be made.
#[derive(Clone, PartialEq, Debug)]
pub struct NewServiceToken {
    pub token: NewToken,
    pub name: String,
    pub role: AccountRole,
}

/// A service token in the list. The token itself is not kept.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceToken {
    pub id: ServiceTokenId,
    pub name: String,
    pub role: AccountRole,
    /// A name; empty when its account is gone.
    pub created_by: String,
    pub created_at: u64,
    pub expires_at: u64,
    pub last_used_at: Option<u64>,
    pub revoked_at: Option<u64>,
}

/// What a service token allows.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceGrant {
    /// In whose name.
    pub user: UserId,
    pub name: String,
    pub role: AccountRole,
}
