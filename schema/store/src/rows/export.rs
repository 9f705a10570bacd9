//! Data export: everything kept about a user, as named sections of named fields, in pages.

use bytes::Bytes;

/// Where the next page begins. Opaque; the default is the beginning.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExportPlace {
    pub(crate) section: usize,
    pub(crate) after: i64,
    pub(crate) after_id: [u8; 16],
    pub(crate) after_offset: i64,
}

/// One record.
#[derive(Clone, PartialEq, Debug)]
pub struct ExportRecord {
    /// `profile`, `devices`, `conversations`, `messages`, `blocks`, `settings`, `audit` …
    pub section: &'static str,
    pub fields: Vec<(String, ExportValue)>,
}

/// A value; ids are text, times unix milliseconds.
#[derive(Clone, PartialEq, Debug)]
pub enum ExportValue {
    Null,
    Number(i64),
    Text(String),
    Bytes(Bytes),
}

/// Some records and where to go on; `next` is `None` at the end.
#[derive(Clone, PartialEq, Debug)]
pub struct ExportPage {
    pub records: Vec<ExportRecord>,
    pub next: Option<ExportPlace>,
}
