//! Between Rust values and PostgreSQL's. Each parameter knows its type, so that a statement needs no preparation.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use schema_wire::record::UserStatus;
use schema_wire::v1::Role;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};

use super::fault::Failed;
use crate::stored::{int, status_at};

/// A parameter of a statement.
pub trait Param: ToSql + Sync {
    /// The type it is sent as.
    fn kind(&self) -> Type;
}

impl<T: Typed + ToSql + Sync> Param for T {
    fn kind(&self) -> Type {
        T::TYPE
    }
}

/// A Rust type that goes with one of PostgreSQL's.
pub trait Typed {
    const TYPE: Type;
}

/// One that may stand in an array.
pub trait Element: Typed {
    const ARRAY: Type;
}

macro_rules! typed {
    ($($rust:ty: $one:ident, $many:ident;)*) => {$(
        impl Typed for $rust {
            const TYPE: Type = Type::$one;
        }
        impl Element for $rust {
            const ARRAY: Type = Type::$many;
        }
    )*};
}

typed! {
    bool: BOOL, BOOL_ARRAY;
    i16: INT2, INT2_ARRAY;
    i32: INT4, INT4_ARRAY;
    i64: INT8, INT8_ARRAY;
    &str: TEXT, TEXT_ARRAY;
    String: TEXT, TEXT_ARRAY;
    &[u8]: BYTEA, BYTEA_ARRAY;
    Vec<u8>: BYTEA, BYTEA_ARRAY;
    Id: UUID, UUID_ARRAY;
    At: TIMESTAMPTZ, TIMESTAMPTZ_ARRAY;
}

impl<T: Typed> Typed for Option<T> {
    const TYPE: Type = T::TYPE;
}

impl<T: Element> Element for Option<T> {
    const ARRAY: Type = T::ARRAY;
}

impl<T: Element> Typed for Vec<T> {
    const TYPE: Type = T::ARRAY;
}

/// 16 bytes of id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Id(pub [u8; 16]);

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    tokio_postgres::types::accepts!(UUID);
    tokio_postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for Id {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    tokio_postgres::types::accepts!(UUID);
}

/// Unix milliseconds, kept as a `timestamptz`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct At(pub u64);

/// PostgreSQL counts microseconds from 2000-01-01.
const EPOCH_MS: i64 = 946_684_800_000;

impl ToSql for At {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // The type ends in the year 294276: what lies beyond is as late as can be.
        const LATEST: i64 = 9_223_371_331_199_999_000;
        out.put_i64((int(self.0) - EPOCH_MS).saturating_mul(1000).min(LATEST));
        Ok(IsNull::No)
    }

    tokio_postgres::types::accepts!(TIMESTAMPTZ);
    tokio_postgres::types::to_sql_checked!();
}

impl<'a> FromSql<'a> for At {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(Self(u64::try_from(micros.div_euclid(1000).saturating_add(EPOCH_MS)).unwrap_or(0)))
    }

    tokio_postgres::types::accepts!(TIMESTAMPTZ);
}

/// A number the schema keeps non-negative.
pub fn uint(row: &Row, column: usize) -> Result<u64, Failed> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0))
}

/// The same, where it may be absent.
pub fn uint_opt(row: &Row, column: usize) -> Result<Option<u64>, Failed> {
    Ok(row.try_get::<_, Option<i64>>(column)?.map(|value| u64::try_from(value).unwrap_or(0)))
}

/// A count of rows or members.
pub fn small(row: &Row, column: usize) -> Result<u32, Failed> {
    Ok(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or(0))
}

/// 16 bytes of id.
pub fn id<T: From<[u8; 16]>>(row: &Row, column: usize) -> Result<T, Failed> {
    Ok(T::from(row.try_get::<_, Id>(column)?.0))
}

/// Unix milliseconds.
pub fn time(row: &Row, column: usize) -> Result<u64, Failed> {
    Ok(row.try_get::<_, At>(column)?.0)
}

/// The same, where it may be absent.
pub fn time_opt(row: &Row, column: usize) -> Result<Option<u64>, Failed> {
    Ok(row.try_get::<_, Option<At>>(column)?.map(|at| at.0))
}

/// The member's role.
pub fn role(row: &Row, column: usize) -> Result<Role, Failed> {
    let number = i64::from(row.try_get::<_, i16>(column)?);
    crate::stored::role(number).ok_or(Failed::Unreadable("the number of a role"))
}

/// Status and end of suspension, from two neighbouring columns. A suspension that ended counts as active.
pub fn status(row: &Row, column: usize, now: u64) -> Result<UserStatus, Failed> {
    let until = time_opt(row, column + 1)?;
    status_at(row.try_get(column)?, until, now).ok_or(Failed::Unreadable("the name of a status"))
}
