//! Names of things: identifiers, offsets and positions. Newtypes, because they are easily swapped.

use alloc::string::String;
use core::fmt;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A UUIDv7 (RFC 9562 §5.7) from unix milliseconds and ten random bytes.
            pub fn v7(unix_ms: u64, random: [u8; 10]) -> Self {
                let mut b = [0u8; 16];
                b[..6].copy_from_slice(&unix_ms.to_be_bytes()[2..]);
                b[6..].copy_from_slice(&random);
                b[6] = (b[6] & 0x0f) | 0x70;
                b[8] = (b[8] & 0x3f) | 0x80;
                Self(b)
            }

            /// From the 16 bytes on the wire; anything else is `None`.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// From the hyphenated text form.
            pub fn parse(text: &str) -> Option<Self> {
                parse_uuid(text).map(Self)
            }

            /// The 16 bytes for the wire.
            pub fn to_bytes(self) -> bytes::Bytes {
                bytes::Bytes::copy_from_slice(&self.0)
            }

            /// A well-mixed number for choosing a home shard or a lane.
            pub fn spread(self) -> u64 {
                let (a, b) = self.0.split_at(8);
                let x = u64::from_le_bytes(a.try_into().expect("8 bytes")) ^ u64::from_le_bytes(b.try_into().expect("8 bytes")).rotate_left(29);
                let x = (x ^ (x >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                x ^ (x >> 29)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write_uuid(&self.0, f) }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write_uuid(&self.0, f) }
        }

        impl From<[u8; 16]> for $name {
            fn from(bytes: [u8; 16]) -> Self { Self(bytes) }
        }
    };
}

uuid_id! {
    /// An account.
    UserId
}
uuid_id! {
    /// One device of a user; sessions belong to devices.
    DeviceId
}
uuid_id! {
    /// An ordered log with members.
    ConversationId
}
uuid_id! {
    /// Chosen by the publisher so that a retry is recognised.
    PublishKey
}

/// Which life of the store an offset belongs to; rises with each restore or lossy failover.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Generation(pub u32);

/// Place in a dense log, counted from 1; 0 stands before the first entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Offset(pub u64);

impl Offset {
    /// The next offset. Nothing follows the largest one, which no log reaches but any client can name.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A place in a log and the generation it was learned in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Position {
    pub generation: Generation,
    pub offset: Offset,
}

/// One core of a relay process, with all it owns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ShardId(pub u16);

/// One relay process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct NodeId(pub u16);

/// One authenticated device on one connection. Unique within a process lifetime: shard, then a rising number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SessionId(pub u64);

impl SessionId {
    /// A session of another node: equal to none of this one.
    pub const ELSEWHERE: Self = Self(u64::MAX);

    /// The `serial`-th session of `shard`.
    pub fn new(shard: ShardId, serial: u64) -> Self {
        assert!(serial < 1 << 48, "a shard never opens 2^48 sessions");
        Self(u64::from(shard.0) << 48 | serial)
    }

    /// The shard that owns the session.
    pub fn shard(self) -> ShardId {
        ShardId((self.0 >> 48) as u16)
    }
}

fn write_uuid(b: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, x) in b.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            f.write_str("-")?;
        }
        write!(f, "{x:02x}")?;
    }
    Ok(())
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hex: String = text.chars().filter(|c| *c != '-').collect();
    if hex.len() != 32 || !hex.bytes().all(|c| c.is_ascii_hexdigit()) || !matches!(text.len(), 32 | 36) {
        return None;
    }
    let mut out = [0u8; 16];
    for (i, o) in out.iter_mut().enumerate() {
        *o = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn text_form_goes_both_ways() {
        let id = UserId::v7(0x0192_0000_1234, [0xab; 10]);
        assert_eq!(id.to_string().len(), 36);
        assert_eq!(&id.to_string()[14..15], "7", "version nibble");
        assert_eq!(UserId::parse(&id.to_string()), Some(id));
        assert_eq!(UserId::parse("not a uuid"), None);
        assert_eq!(UserId::parse("+1920000-1234-7bab-abab-abababababab"), None, "a sign is not a hex digit");
        assert_eq!(UserId::from_slice(&[0; 15]), None);
    }

    #[test]
    fn nothing_follows_the_largest_offset() {
        assert_eq!(Offset(1).next(), Offset(2));
        assert_eq!(Offset(u64::MAX).next(), Offset(u64::MAX));
    }

    #[test]
    fn a_session_names_its_shard() {
        assert_eq!(SessionId::new(ShardId(7), 42).shard(), ShardId(7));
    }
}
