//! Between Rust values and SQLite's: ids are 16-byte blobs, numbers are i64, enums are names.

use std::net::IpAddr;

use rusqlite::Row;
use rusqlite::types::Type;
use schema_wire::record::UserStatus;
use schema_wire::v1::{GoneReason, Role};

use crate::rows::role::AccountRole;

/// Numbers beyond i64 don't occur in practice; they compare as "very large" instead of wrapping.
pub fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A number the schema keeps non-negative.
pub fn uint(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// The same, where it may be absent.
pub fn uint_opt(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    value
        .map(|v| u64::try_from(v).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, v)))
        .transpose()
}

/// A 32-bit number.
pub fn small(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    row.get(column)
}

/// A count of rows or members.
pub fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<usize> {
    small(row, column).map(|n| n as usize)
}

/// 16 bytes of id.
pub fn id<T: From<[u8; 16]>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get::<_, [u8; 16]>(column).map(T::from)
}

/// The same, where it may be absent.
pub fn id_opt<T: From<[u8; 16]>>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(T::from))
}

/// The member's role.
pub fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    match row.get::<_, i64>(column)? {
        1 => Ok(Role::Member),
        2 => Ok(Role::Admin),
        3 => Ok(Role::Owner),
        other => Err(rusqlite::Error::IntegralValueOutOfRange(column, other)),
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

/// The account's role.
pub fn account_role(row: &Row<'_>, column: usize) -> rusqlite::Result<AccountRole> {
    let name: String = row.get(column)?;
    AccountRole::parse(&name).ok_or_else(|| unknown(column))
}

/// Status and end of suspension, from two neighbouring columns. A suspension that ended counts as active.
pub fn status(row: &Row<'_>, column: usize, now: u64) -> rusqlite::Result<UserStatus> {
    let name: String = row.get(column)?;
    let until = uint_opt(row, column + 1)?;
    match name.as_str() {
        "PENDING" => Ok(UserStatus::Pending),
        "ACTIVE" => Ok(UserStatus::Active),
        "SUSPENDED" if until.is_some_and(|until| until <= now) => Ok(UserStatus::Active),
        "SUSPENDED" => Ok(UserStatus::Suspended { until }),
        "BANNED" => Ok(UserStatus::Banned),
        "DELETED" => Ok(UserStatus::Deleted),
        _ => Err(unknown(column)),
    }
}

/// Why a message is gone.
pub fn gone(number: i64) -> GoneReason {
    match number {
        2 => GoneReason::Expired,
        3 => GoneReason::Erased,
        _ => GoneReason::Deleted,
    }
}

/// Stored numbers of the reasons.
pub const GONE_DELETED: i64 = 1;
pub const GONE_EXPIRED: i64 = 2;
pub const GONE_ERASED: i64 = 3;

/// One text per address: an IPv4 address mapped into IPv6 is the IPv4 address.
pub fn address_text(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

/// A stored value this program has no word for.
pub fn unknown(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "unknown name".to_owned(), Type::Text)
}
