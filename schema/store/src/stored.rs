//! Names and numbers under which every store keeps what has a type here.

use std::net::IpAddr;

use schema_wire::record::UserStatus;
use schema_wire::v1::{GoneReason, Role};

/// Stored numbers of the reasons why a message is gone.
pub const GONE_DELETED: i64 = 1;
pub const GONE_EXPIRED: i64 = 2;
pub const GONE_ERASED: i64 = 3;

/// Why a message is gone.
pub fn gone(number: i64) -> GoneReason {
    match number {
        GONE_EXPIRED => GoneReason::Expired,
        GONE_ERASED => GoneReason::Erased,
        _ => GoneReason::Deleted,
    }
}

/// Numbers beyond i64 don't occur in practice; they compare as "very large" instead of wrapping.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The member's role; `None`: no such number.
pub fn role(number: i64) -> Option<Role> {
    match number {
        1 => Some(Role::Member),
        2 => Some(Role::Admin),
        3 => Some(Role::Owner),
        _ => None,
    }
}

/// The role as stored.
pub fn role_number(role: Role) -> i64 {
    match role {
        Role::Admin => 2,
        Role::Owner => 3,
        _ => 1,
    }
}

/// The status of that name, as it was written down; `None`: no such name.
pub fn status(name: &str, until: Option<u64>) -> Option<UserStatus> {
    match name {
        "PENDING" => Some(UserStatus::Pending),
        "ACTIVE" => Some(UserStatus::Active),
        "SUSPENDED" => Some(UserStatus::Suspended { until }),
        "BANNED" => Some(UserStatus::Banned),
        "DELETED" => Some(UserStatus::Deleted),
        _ => None,
    }
}

/// The same at a moment: a suspension that ended counts as active.
pub fn status_at(name: &str, until: Option<u64>, now: u64) -> Option<UserStatus> {
    match status(name, until)? {
        UserStatus::Suspended { until: Some(until) } if until <= now => Some(UserStatus::Active),
        other => Some(other),
    }
}

/// One text per address: an IPv4 address mapped into IPv6 is the IPv4 address.
pub fn address_text(address: IpAddr) -> String {
    address.to_canonical().to_string()
}
