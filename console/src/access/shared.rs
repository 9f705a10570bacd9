//! Request limits that all processes share through Redis. Without an answer, what guesses at secrets is refused, and everything
//! else is counted by each process alone.

use std::fmt;
use std::sync::Arc;

use schema_store::redis::{Keys, RedisAddress, RedisCondition, RedisFault, SharedLimit};
use sha2::{Digest, Sha256};

use super::limit::{Budget, RateLimits, Subject};

/// Where limits are shared; says nothing of the password.
#[derive(Clone)]
pub struct SharedThrough(RedisAddress);

impl SharedThrough {
    /// From a URL of Redis.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(url: &str) -> Result<Self, RedisFault> {
        RedisAddress::parse(url).map(Self)
    }

    /// How Redis does.
    ///
    /// # Errors
    /// It is away or refuses.
    pub async fn look(&self) -> Result<RedisCondition, RedisFault> {
        self.0.look().await
    }

    /// Looks once whether Redis lets us in.
    ///
    /// # Errors
    /// It refuses; one that is away is waited for.
    pub async fn check(&self) -> Result<(), RedisFault> {
        match self.0.check().await {
            Err(fault) if fault.may_pass() => {
                tracing::warn!(%fault, "until it answers, nobody can log in");
                Ok(())
            }
            verdict => verdict,
        }
    }
}

impl fmt::Debug for SharedThrough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis:…")
    }
}

/// Counts requests where all processes see them.
#[derive(Clone)]
pub struct SharedLimits {
    keys: Arc<Keys>,
}

impl SharedLimits {
    /// Connects when the first request is counted.
    pub fn new(through: &SharedThrough) -> Self {
        Self { keys: Arc::new(Keys::new(through.0.clone())) }
    }

    /// Counts one request; the seconds to wait if it is over the limit.
    ///
    /// # Errors
    /// Nobody can say.
    pub async fn admit(
        &self,
        limits: &RateLimits,
        budget: Budget,
        subject: &Subject,
    ) -> Result<Result<(), u64>, RedisFault> {
        let limit = SharedLimit { max: limits.max(budget), window_ms: limits.window_s.max(1) * 1_000 };
        let counted = self.keys.count(&name(budget, subject), limit).await?;
        Ok(counted.map_err(|wait_ms| wait_ms.div_ceil(1_000).max(1)))
    }
}

/// Names nobody: Redis is looked into more easily than the store.
fn name(budget: Budget, subject: &Subject) -> String {
    let mut hash = Sha256::new();
    match subject {
        Subject::Address(address) => hash.update(format!("address {address}")),
        Subject::User(user) => hash.update(format!("user {user}")),
        Subject::Account(account) => {
            hash.update(b"account ");
            hash.update(account);
        }
    }
    let digest = hash.finalize();
    let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    match budget {
        Budget::Auth => format!("auth:{hex}"),
        Budget::General => format!("general:{hex}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_budget_and_subject_and_show_neither() {
        let address = Subject::Address([192, 0, 2, 7].into());
        let names = [
            name(Budget::Auth, &address),
            name(Budget::General, &address),
            name(Budget::Auth, &Subject::Account([7; 32])),
        ];
        assert!(names.iter().all(|name| !name.contains("192")));
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
        let through = SharedThrough::parse("redis://:hunter2@cache").expect("a URL");
        assert!(!format!("{through:?}").contains("hunter2"));
    }
}
