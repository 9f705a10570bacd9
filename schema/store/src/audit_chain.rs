//! The hash chain of the audit trail: each entry's hash covers its content and the hash before it.
//! A chain can't show that its newest entries were cut off: keep heads elsewhere and compare.

use std::net::IpAddr;

use schema_wire::UserId;
use sha2::{Digest, Sha256};

use crate::rows::account::AuditHead;

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
