//! Which primary of a Cluster has which key. Read from the cluster, and again when it says that a key has moved.

use redis::Value;
use redis::aio::ConnectionLike;

use super::address::RedisFault;

/// Slots of every Cluster.
const SLOTS: u16 = 16_384;

/// Where a primary listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Primary {
    pub host: String,
    pub port: u16,
}

/// The primaries and their slots; one without slots of a Cluster has all keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slots {
    primaries: Vec<Primary>,
    /// First and last slot, and whose.
    ranges: Vec<(u16, u16, usize)>,
}

impl Slots {
    /// One server for everything.
    pub fn alone(primary: Primary) -> Self {
        Self { primaries: vec![primary], ranges: vec![(0, SLOTS - 1, 0)] }
    }

    /// Asks the server at the other end, which is `asked`.
    ///
    /// # Errors
    /// It does not answer, or not in a known form.
    pub async fn read(connection: &mut impl ConnectionLike, asked: &Primary) -> Result<Self, RedisFault> {
        let answer: Result<Value, _> = redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await;
        match answer {
            Ok(answer) => parse(&answer, asked).ok_or(RedisFault::Answer),
            Err(error) if error.to_string().contains("cluster support disabled") => {
                Ok(Self::alone(asked.clone()))
            }
            Err(error) => Err(RedisFault::of(&error)),
        }
    }

    /// All primaries.
    pub fn primaries(&self) -> &[Primary] {
        &self.primaries
    }

    /// The primary of a slot; `None` when nobody has it just now.
    pub fn primary_of(&self, slot: u16) -> Option<&Primary> {
        let (_, _, at) = self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot))?;
        self.primaries.get(*at)
    }

    /// Whether every slot has a primary.
    pub fn are_complete(&self) -> bool {
        let covered: u32 = self.ranges.iter().map(|(first, last, _)| u32::from(last - first) + 1).sum();
        covered >= u32::from(SLOTS)
    }
}

/// The slot of a key: CRC16 of it, or of what stands in its first braces.
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let close = key[open + 1..].iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &key[open + 1..open + 1 + close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, as the Cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc: u16, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            },
        )
    })
}

fn parse(answer: &Value, asked: &Primary) -> Option<Slots> {
    let Value::Array(rows) = answer else { return None };
    let mut slots = Slots { primaries: Vec::new(), ranges: Vec::new() };
    for row in rows {
        let Value::Array(row) = row else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = &row[..] else { return None };
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        if first > last || last >= SLOTS {
            return None;
        }
        let [host, Value::Int(port), ..] = &node[..] else { return None };
        let host = match host {
            Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok()?,
            Value::SimpleString(text) => text.clone(),
            _ => String::new(),
        };
        // A node that knows no name of itself is the one that was asked.
        let host = if host.is_empty() || host == "?" { asked.host.clone() } else { host };
        let primary = Primary { host, port: u16::try_from(*port).ok()? };
        let known = slots.primaries.iter().position(|known| *known == primary);
        let at = known.unwrap_or_else(|| {
            slots.primaries.push(primary);
            slots.primaries.len() - 1
        });
        slots.ranges.push((first, last, at));
    }
    Some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_slots_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS, "empty braces are no tag");
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{bar"));
    }

    #[test]
    fn an_answer_of_another_form_is_refused() {
        let asked = Primary { host: "seed".into(), port: 1 };
        let node = |host: &[u8], port| Value::Array(vec![Value::BulkString(host.into()), Value::Int(port)]);
        let row = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let good = Value::Array(vec![row(0, 8_191, node(b"10.0.0.1", 7)), row(8_192, 16_383, node(b"", 8))]);
        let slots = parse(&good, &asked).expect("two primaries");
        assert!(slots.are_complete());
        assert_eq!(slots.primary_of(16_383), Some(&Primary { host: "seed".into(), port: 8 }));
        let part = parse(&Value::Array(vec![row(0, 8_191, node(b"a", 7))]), &asked).expect("one primary");
        assert!(!part.are_complete() && part.primary_of(9_000).is_none());
        for bad in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![row(5, 4, node(b"a", 7))]),
            Value::Array(vec![row(0, 16_384, node(b"a", 7))]),
            Value::Array(vec![row(0, 1, node(b"a", 70_000))]),
        ] {
            assert!(parse(&bad, &asked).is_none(), "{bad:?}");
        }
    }
}
