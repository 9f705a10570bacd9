//! The hash chain of the audit trail: each entry's hash covers its content and the hash before it.
//! A chain can't show that its newest entries were cut off: keep heads elsewhere and compare.

use std::net::IpAddr;

use schema_wire::UserId;
use sha2::{Digest, Sha256};

use crate::accept::cut;
use crate::rows::account::{AuditHead, AuditRow, Origin};

/// Longest detail kept, in bytes.
const DETAIL_BYTES_MAX: usize = 1024;
/// Longest user agent kept, in bytes.
const AGENT_BYTES_MAX: usize = 256;
/// Most entries checked in one call.
pub(crate) const VERIFY_MAX: u32 = 10_000;

/// What an entry's hash covers.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    pub id: u64,
    pub event: &'a str,
    pub subject: Option<UserId>,
    pub actor: Option<UserId>,
    pub address: Option<IpAddr>,
    pub user_agent: Option<&'a str>,
    pub detail: &'a str,
    /// Unix milliseconds.
    pub created_at: u64,
}

/// The beginning of every chain.
pub const EMPTY: AuditHead = AuditHead { id: 0, hash: [0; 32] };

/// Hash of an entry that follows `previous`. Every field is length-prefixed, so no two contents look alike.
pub fn seal(previous: &[u8; 32], entry: &Sealed<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"secure-messenger audit v1");
    hash.update(previous);
    hash.update(entry.id.to_be_bytes());
    hash.update(entry.created_at.to_be_bytes());
    field(&mut hash, Some(entry.event.as_bytes()));
    field(&mut hash, entry.subject.as_ref().map(|u| u.0.as_slice()));
    field(&mut hash, entry.actor.as_ref().map(|u| u.0.as_slice()));
    field(&mut hash, entry.address.map(|a| a.to_string()).as_ref().map(|a| a.as_bytes()));
    field(&mut hash, entry.user_agent.map(str::as_bytes));
    field(&mut hash, Some(entry.detail.as_bytes()));
    hash.finalize().into()
}

fn field(hash: &mut Sha256, value: Option<&[u8]>) {
    match value {
        None => hash.update(u64::MAX.to_be_bytes()),
        Some(bytes) => {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
}

/// The entry after `previous`: what is too long is cut, and all of it is sealed.
pub(crate) fn follow(
    previous: AuditHead,
    (event, subject, detail): (&str, Option<UserId>, &str),
    by: &Origin,
    now: u64,
) -> AuditRow {
    let mut entry = AuditRow {
        id: previous.id + 1,
        event: event.to_owned(),
        subject,
        actor: by.actor,
        address: by.address.map(|a| a.to_canonical()),
        user_agent: by.user_agent.as_deref().map(|agent| cut(agent, AGENT_BYTES_MAX).to_owned()),
        detail: cut(detail, DETAIL_BYTES_MAX).to_owned(),
        created_at: now,
        hash: [0; 32],
    };
    entry.hash = seal(&previous.hash, &sealed(&entry));
    entry
}

/// Entries forgotten in one transaction, so that others never wait long for the end of the chain.
pub(crate) const PRUNED_AT_ONCE: u64 = 10_000;

/// What the trail says of entries it lost: their numbers, and the hash that the oldest one kept follows.
pub(crate) fn pruned(oldest: u64, end: u64, hash: &[u8; 32]) -> String {
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("entries {oldest} to {}; the last one's hash is {hash}", end - 1)
}

/// Checks up to `limit` entries that were found after a known one, oldest first; `None` stands for one that can't even be
/// read. Without a known one the oldest is taken as it is when older ones were pruned by retention.
pub(crate) fn check(after: Option<AuditHead>, entries: &[Option<AuditRow>], limit: u32) -> Verified {
    let mut previous = after.unwrap_or(EMPTY);
    for (n, entry) in entries.iter().enumerate() {
        let broken = Verified::Broken { id: previous.id + 1 };
        let Some(entry) = entry else { return broken };
        let pruned_before = after.is_none() && n == 0 && entry.id > 1;
        let fits = entry.id == previous.id + 1 && seal(&previous.hash, &sealed(entry)) == entry.hash;
        if !pruned_before && !fits {
            return broken;
        }
        previous = AuditHead { id: entry.id, hash: entry.hash };
    }
    Verified::Intact { head: previous, more: entries.len() == limit as usize }
}

fn sealed(entry: &AuditRow) -> Sealed<'_> {
    Sealed {
        id: entry.id,
        event: &entry.event,
        subject: entry.subject,
        actor: entry.actor,
        address: entry.address,
        user_agent: entry.user_agent.as_deref(),
        detail: &entry.detail,
        created_at: entry.created_at,
    }
}

/// What checking a stretch of the chain found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verified {
    /// Everything up to here fits; go on from here while `more`.
    Intact { head: AuditHead, more: bool },
    /// This entry is missing, or does not follow from the one before it.
    Broken { id: u64 },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(detail: &str) -> Sealed<'_> {
        let (subject, actor, address, user_agent) = (None, None, None, None);
        Sealed { id: 1, event: "LOGIN", subject, actor, address, user_agent, detail, created_at: 5 }
    }

    #[test]
    fn every_field_counts() {
        let base = seal(&[0; 32], &entry("x"));
        assert_ne!(base, seal(&[1; 32], &entry("x")));
        assert_ne!(base, seal(&[0; 32], &entry("y")));
        assert_ne!(
            base,
            seal(&[0; 32], &Sealed { user_agent: Some(""), ..entry("x") }),
            "absent is not empty"
        );
        assert_ne!(
            seal(&[0; 32], &Sealed { event: "AB", ..entry("C") }),
            seal(&[0; 32], &Sealed { event: "A", ..entry("BC") }),
            "fields do not run into each other"
        );
    }
}
