//! Between Rust values and SQLite's: ids are 16-byte blobs, numbers are i64, enums are names.

use rusqlite::Row;
use rusqlite::types::Type;
use schema_wire::record::UserStatus;
use schema_wire::v1::Role;

use crate::rows::role::AccountRole;
use crate::stored;
pub use crate::stored::{GONE_DELETED, GONE_ERASED, GONE_EXPIRED, address_text, gone, int, role_number};

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
    let number = row.get(column)?;
    stored::role(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
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
    stored::status_at(&name, until, now).ok_or_else(|| unknown(column))
}

/// A stored value this program has no word for.
pub fn unknown(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "unknown name".to_owned(), Type::Text)
}
