//! The message limit as operators set it while the node runs: read now and then, and told to the shards when it is another
//! one. What the environment says goes first.

use std::time::{Duration, Instant};

use schema_store::Store;
use schema_store::rows::operations::{Bounded, MESSAGE_LIMIT, MESSAGE_WINDOW};

use crate::config::{MayChange, RateLimit, RelayConfig};

/// How long another limit may take to hold.
const READ_EVERY: Duration = Duration::from_secs(5);

/// What every shard knows.
pub struct MessageLimit {
    configured: RateLimit,
    may_change: MayChange,
    known: RateLimit,
    read_at: Option<Instant>,
}

impl MessageLimit {
    /// As it is configured, which is what shards begin with.
    pub fn of(config: &RelayConfig) -> Self {
        let configured = config.message_limit;
        Self { configured, may_change: config.message_limit_may_change, known: configured, read_at: None }
    }

    /// Reads what is set if it may have changed; some: it has.
    pub async fn look<S: Store>(&mut self, store: &S) -> Option<RateLimit> {
        let MayChange { max, window } = self.may_change;
        if !(max || window) || self.read_at.is_some_and(|at| at.elapsed() < READ_EVERY) {
            return None;
        }
        self.read_at = Some(Instant::now());
        match store.operator_settings().await {
            Ok(set) => self.set_to(&set),
            Err(fault) => {
                tracing::warn!(?fault, "settings unreadable; the last known message limit stands");
                None
            }
        }
    }

    fn set_to(&mut self, set: &[(String, String)]) -> Option<RateLimit> {
        let read = |may_change: bool, setting: Bounded, configured: u32| {
            let number = may_change.then(|| setting.of(set)).and_then(|number| u32::try_from(number).ok());
            number.unwrap_or(configured)
        };
        let limit = RateLimit {
            max: read(self.may_change.max, MESSAGE_LIMIT, self.configured.max),
            window_s: read(self.may_change.window, MESSAGE_WINDOW, self.configured.window_s),
        };
        let is_new = limit != self.known;
        self.known = limit;
        is_new.then_some(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(env: &[(&str, &str)]) -> MessageLimit {
        let find =
            |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        MessageLimit::of(&RelayConfig::from_env(find).expect("well formed"))
    }

    #[test]
    fn what_is_set_holds_unless_the_environment_says_something() {
        let set = |max: &str, window: &str| {
            [("limit-messages", max), ("limit-messages-window", window)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        let mut open = limit(&[]);
        assert_eq!(open.set_to(&[]), None, "nothing is set");
        assert_eq!(open.set_to(&set("7", "30")), Some(RateLimit { max: 7, window_s: 30 }));
        assert_eq!(open.set_to(&set("7", "30")), None, "the same again");
        assert_eq!(open.set_to(&set("0", "many")), Some(RateLimit { max: 100, window_s: 60 }), "absurd");
        for name in ["MESSAGE_LIMIT_MAX", "RATE_LIMIT_MAX"] {
            let mut half = limit(&[(name, "500")]);
            assert_eq!(half.set_to(&set("7", "30")), Some(RateLimit { max: 500, window_s: 30 }), "{name}");
        }
        let mut closed = limit(&[("RATE_LIMIT_MAX", "500"), ("MESSAGE_LIMIT_TTL", "10")]);
        assert_eq!(closed.set_to(&set("7", "30")), None);
    }
}
