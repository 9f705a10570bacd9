//! Columns of a row as values of ours, beyond those that the data plane reads as well.

use std::net::IpAddr;

use tokio_postgres::Row;

use crate::accounts::{AccountError, Answer};
use crate::postgres::fault::Failed;
use crate::postgres::value::{Id, id};
use crate::rows::role::AccountRole;

impl From<tokio_postgres::Error> for AccountError {
    fn from(error: tokio_postgres::Error) -> Self {
        Failed::Sql(error).into()
    }
}

/// 16 bytes of id that may be absent.
pub fn id_opt<T: From<[u8; 16]>>(row: &Row, column: usize) -> Answer<Option<T>> {
    Ok(row.try_get::<_, Option<Id>>(column)?.map(|id| id.0.into()))
}

/// Ids from the first column.
pub fn ids<T: From<[u8; 16]>>(rows: &[Row]) -> Answer<Vec<T>> {
    rows.iter().map(|row| Ok(id(row, 0)?)).collect()
}

/// 32 bytes of hash.
pub fn hash(row: &Row, column: usize) -> Answer<[u8; 32]> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| Failed::Unreadable("a hash").into())
}

/// The account's role.
pub fn account_role(row: &Row, column: usize) -> Answer<AccountRole> {
    AccountRole::parse(row.try_get(column)?).ok_or_else(|| Failed::Unreadable("an account's role").into())
}

/// An address written as text.
pub fn address(row: &Row, column: usize) -> Answer<Option<IpAddr>> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| text.parse().map_err(|_| Failed::Unreadable("an address").into())).transpose()
}
