//! What is on its way from this home shard to the store, and how long the store has taken nothing.

use alloc::collections::BTreeMap;

use schema_wire::record::Append;
use schema_wire::{ConversationId, PublishKey, UserId};

use crate::state::map::Map;

/// What a refusal asks a client to wait at least while the store is away, and at most before it is spread, in
/// milliseconds. Spread it is below the double, well within the 5 s in which all is to be as before.
const RETRY_MIN_MS: u32 = 200;
const RETRY_MAX_MS: u32 = 1_500;

/// Appends under way on this home shard.
#[derive(Default)]
pub(crate) struct Appends {
    pub(crate) total: usize,
    pub(crate) of: Map<ConversationId, usize>,
    pub(crate) keys: BTreeMap<(UserId, PublishKey), usize>,
    /// Since when the store has been asked and has taken nothing, in monotonic microseconds.
    waiting_since_us: Option<u64>,
}

impl Appends {
    /// One more is on its way to the store.
    pub(crate) fn begin(&mut self, append: &Append, now_us: u64) {
        self.waiting_since_us.get_or_insert(now_us);
        self.total += 1;
        *self.of.entry(append.conversation).or_default() += 1;
        *self.keys.entry((append.sender, append.publish_key)).or_default() += 1;
    }

    /// Its outcome is known: the store `took` it, or refused it in order, or failed.
    pub(crate) fn end(&mut self, append: &Append, took: bool, now_us: u64) {
        self.total -= 1;
        if took {
            self.waiting_since_us = (self.total > 0).then_some(now_us);
        }
        let key = (append.sender, append.publish_key);
        if let Some(count) = self.of.get_mut(&append.conversation) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&append.conversation);
            }
        }
        if let Some(count) = self.keys.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.keys.remove(&key);
            }
        }
    }

    /// How long a client that is turned away should wait: a quarter of the time the store has been away, so that many
    /// clients ask ever more seldom, in milliseconds.
    pub(crate) fn retry_ms(&self, now_us: u64) -> u32 {
        let away_us = self.waiting_since_us.map_or(0, |since| now_us.saturating_sub(since));
        let quarter = u32::try_from(away_us / 4_000).unwrap_or(u32::MAX);
        quarter.clamp(RETRY_MIN_MS, RETRY_MAX_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema_wire::DeviceId;

    const S: u64 = 1_000_000;

    fn append(key: u8) -> Append {
        Append {
            conversation: ConversationId([1; 16]),
            publish_key: PublishKey([key; 16]),
            sender: UserId([2; 16]),
            device: DeviceId([3; 16]),
            kind: 0,
            relates_to: None,
            expires_in: None,
            expected_epoch: None,
            notify: 0,
            body: bytes::Bytes::new(),
            commitment: None,
        }
    }

    #[test]
    fn the_longer_the_store_is_away_the_later_it_is_asked_again() {
        let mut appends = Appends::default();
        appends.begin(&append(1), S);
        assert_eq!(appends.retry_ms(S + 1), RETRY_MIN_MS);
        appends.begin(&append(2), 2 * S);
        assert_eq!(appends.retry_ms(5 * S), 1_000);
        appends.end(&append(1), false, 5 * S);
        assert_eq!(appends.retry_ms(60 * S), RETRY_MAX_MS, "a failure is not a return");
        appends.end(&append(2), true, 60 * S);
        assert_eq!(appends.retry_ms(90 * S), RETRY_MIN_MS, "nothing waits");
        assert!(appends.total == 0 && appends.of.is_empty() && appends.keys.is_empty());
    }
}
