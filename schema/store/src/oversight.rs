//! What the pages about people and the audit trail ask of the store. Reads only; what changes anything is elsewhere.

use std::future::Future;

use schema_wire::UserId;

use crate::accounts::Answer;
use crate::rows::account::AuditRow;
use crate::rows::oversight::{AuditFilter, FailedSignIns, PersonDetail, PersonRow};

/// People on one page of a search.
pub const FOUND_MAX: u32 = 50;
/// Notes shown of one account.
pub const NOTES_MAX: u32 = 50;
/// Letters from which on a text is looked for anywhere in a name or address; before, at the beginning.
const ANYWHERE_FROM: usize = 3;
/// Digits that may be the beginning of an id.
const ID_DIGITS: core::ops::RangeInclusive<usize> = 8..=32;

/// What overseeing needs of a store.
pub trait Oversight: Clone + Send + Sync + 'static {
    /// Accounts whose mail address or name holds the text (of fewer than three letters: begins with it), or whose id
    /// begins with it; all for an empty text. Newest first, before `before`, at most `FOUND_MAX`.
    fn find_people(
        &self,
        text: String,
        before: Option<UserId>,
    ) -> impl Future<Output = Answer<Vec<PersonRow>>> + Send;
    /// Accounts with a role in the console, oldest first.
    fn staff(&self, limit: u32) -> impl Future<Output = Answer<Vec<PersonRow>>> + Send;
    /// Everything a page about one account shows. `NotFound` for unknown accounts; deleted ones are found.
    fn person(&self, user: UserId) -> impl Future<Output = Answer<PersonDetail>> + Send;
    /// Audit entries that fit, newest first, before `before`.
    fn find_audit(
        &self,
        filter: AuditFilter,
        before: Option<u64>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<AuditRow>>> + Send;
    /// Addresses with more than `at_least` failed sign-ins since then, most first.
    fn failed_sign_ins(
        &self,
        since: u64,
        at_least: u32,
    ) -> impl Future<Output = Answer<Vec<FailedSignIns>>> + Send;
}

/// What somebody looks for.
pub(crate) struct Search {
    pub text: String,
    /// Long enough to be looked for anywhere.
    pub is_long: bool,
    /// First and last id that begins with the text; the last before the first when none does.
    pub ids: (UserId, UserId),
}

impl Search {
    /// `None`: for nothing in particular.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let none = (UserId([0xff; 16]), UserId([0; 16]));
        let (is_long, ids) = (text.chars().count() >= ANYWHERE_FROM, ids(&text).unwrap_or(none));
        (!text.is_empty()).then_some(Self { text, is_long, ids })
    }

    /// Beyond every text that begins with it.
    pub fn end(&self) -> String {
        format!("{}\u{10ffff}", self.text)
    }
}

fn ids(text: &str) -> Option<(UserId, UserId)> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if !ID_DIGITS.contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let end = |fill: &str| {
        let whole = format!("{digits}{}", fill.repeat(32 - digits.len()));
        u128::from_str_radix(&whole, 16).ok().map(|number| UserId(number.to_be_bytes()))
    };
    end("0").zip(end("f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_begin_an_id() {
        let (low, high) = ids("01890000-7").unwrap();
        assert_eq!((low.0[..5].to_vec(), low.0[15]), (vec![0x01, 0x89, 0, 0, 0x70], 0));
        assert_eq!((high.0[4], high.0[15]), (0x7f, 0xff));
        let whole = UserId([0xab; 16]);
        assert_eq!(ids(&whole.to_string()), Some((whole, whole)));
        for text in ["0189000", "0189000g", "ab@example.org", &"0".repeat(33)] {
            assert_eq!(ids(text), None, "{text}");
        }
        assert!(Search::of("  ").is_none() && !Search::of("Éa").unwrap().is_long);
    }
}
