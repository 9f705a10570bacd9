//! Connection ids that name the node, the process and the shard, so that a packet finds its shard
//! after its sender moved, and a packet of a lost connection can be told from garbage.

use aws_lc_rs::hmac;
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use std::time::Duration;

/// Length of every connection id this relay issues, in bytes. Fixed: short headers carry no length
/// (RFC 9000 section 17.3).
pub const CONNECTION_ID_BYTES: usize = 12;

/// Where the shard byte sits in an issued id; the steering program reads it.
pub const SHARD_OFFSET: usize = 0;

const NONCE: std::ops::Range<usize> = 4..9;
const TAG: std::ops::Range<usize> = 9..12;

/// Who issued a connection id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The shard that owns the connection.
    pub shard: u8,
    /// Counts the starts of this node's process, modulo 256; an upgrade on the same port tells its
    /// own packets from its predecessor's by it.
    pub generation: u8,
    /// The node, for load balancers that steer by connection id.
    pub node: u16,
}

impl Issuer {
    /// Reads the issuer out of an id, without checking its tag. None when the length is not ours.
    pub fn of(id: &[u8]) -> Option<Issuer> {
        let id: &[u8; CONNECTION_ID_BYTES] = id.try_into().ok()?;
        Some(Issuer { shard: id[SHARD_OFFSET], generation: id[1], node: u16::from_be_bytes([id[2], id[3]]) })
    }

    fn write(self, id: &mut [u8; CONNECTION_ID_BYTES]) {
        id[SHARD_OFFSET] = self.shard;
        id[1] = self.generation;
        id[2..4].copy_from_slice(&self.node.to_be_bytes());
    }
}

/// Issues and recognises ids of the layout `shard 1 | generation 1 | node 2 | nonce 5 | tag 3`.
///
/// The nonce is a keyed function of a counter (unpredictable, never repeated by one process before
/// 2^40 ids); the tag authenticates the other nine bytes.
pub(super) struct Identity {
    issuer: Issuer,
    shards: u8,
    tag_key: hmac::Key,
    nonce_key: hmac::Key,
    issued: u64,
}

impl Identity {
    /// `tag_key` is the same in every process of the node; `nonce_seed` differs in every process and shard.
    pub(super) fn new(issuer: Issuer, shards: u8, tag_key: &[u8], nonce_seed: &[u8]) -> Identity {
        assert!(issuer.shard < shards, "a shard's number is below the number of shards");
        Identity {
            issuer,
            shards,
            tag_key: hmac::Key::new(hmac::HMAC_SHA256, tag_key),
            nonce_key: hmac::Key::new(hmac::HMAC_SHA256, nonce_seed),
            issued: 0,
        }
    }

    fn tag(&self, head: &[u8]) -> [u8; 3] {
        let full = hmac::sign(&self.tag_key, head);
        let bytes = full.as_ref();
        [bytes[0], bytes[1], bytes[2]]
    }
}

impl ConnectionIdGenerator for Identity {
    fn generate_cid(&mut self) -> ConnectionId {
        self.issued += 1;
        let nonce = hmac::sign(&self.nonce_key, &self.issued.to_be_bytes());
        let mut id = [0; CONNECTION_ID_BYTES];
        self.issuer.write(&mut id);
        id[NONCE].copy_from_slice(&nonce.as_ref()[..NONCE.len()]);
        let tag = self.tag(&id[..TAG.start]);
        id[TAG].copy_from_slice(&tag);
        ConnectionId::new(&id)
    }

    /// Accepts what this shard issued, in this process or an earlier one: only such a packet may be
    /// answered with a stateless reset. Ids of another shard or node are not ours to reset, their
    /// owner may still hold the connection (RFC 9000 section 21.11).
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let issuer = Issuer::of(id).ok_or(InvalidCid)?;
        let gone_shard = issuer.shard >= self.shards;
        let mine = issuer.node == self.issuer.node && (issuer.shard == self.issuer.shard || gone_shard);
        if mine && id[TAG] == self.tag(&id[..TAG.start]) { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn identity(shard: u8, generation: u8, node: u16) -> Identity {
        Identity::new(Issuer { shard, generation, node }, 4, b"tag key", &[shard, generation])
    }

    #[test]
    fn names_its_issuer_and_never_repeats() {
        let mut ids = identity(3, 9, 0x0102);
        let mut seen = HashSet::new();
        for _ in 0..2_000 {
            let id = ids.generate_cid();
            assert_eq!(Issuer::of(&id), Some(Issuer { shard: 3, generation: 9, node: 0x0102 }));
            assert!(ids.validate(&id).is_ok());
            assert!(seen.insert(id.to_vec()));
        }
    }

    #[test]
    fn recognises_an_earlier_process_but_no_other_shard_or_node() {
        let id = identity(3, 9, 7).generate_cid();
        assert!(identity(3, 10, 7).validate(&id).is_ok());
        assert!(identity(2, 9, 7).validate(&id).is_err());
        assert!(identity(3, 9, 8).validate(&id).is_err());
    }

    #[test]
    fn an_id_of_a_shard_that_no_longer_exists_may_be_reset_by_any() {
        let mut before = Identity::new(Issuer { shard: 9, generation: 1, node: 7 }, 12, b"tag key", b"x");
        let id = before.generate_cid();
        assert!(identity(0, 2, 7).validate(&id).is_ok());
        assert!(identity(3, 2, 7).validate(&id).is_ok());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let ids = identity(3, 9, 7);
        let id = identity(3, 9, 7).generate_cid();
        for bit in 0..CONNECTION_ID_BYTES * 8 {
            let mut changed = [0; CONNECTION_ID_BYTES];
            changed.copy_from_slice(&id);
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(ids.validate(&ConnectionId::new(&changed)).is_err(), "bit {bit}");
        }
        assert!(ids.validate(&ConnectionId::new(&id[..8])).is_err());
    }
}
