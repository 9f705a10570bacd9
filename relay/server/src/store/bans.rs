//! What is banned, kept at hand for every shard: read again when the change log tells of a ban, and now and then, since
//! nothing tells of bans that are lifted or run out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use schema_store::Store;
use schema_wire::AddressSet;
use schema_wire::record::Change;

/// How long a ban that was lifted, or ran out, may go on.
const READ_EVERY: Duration = Duration::from_secs(5);

/// What every shard knows.
#[derive(Default)]
pub struct Bans {
    known: Arc<AddressSet>,
    read_at: Option<Instant>,
}

impl Bans {
    /// Reads what is banned if it may have changed; some: it has.
    pub async fn look<S: Store>(&mut self, store: &S, changes: &[Change]) -> Option<Arc<AddressSet>> {
        let tells = |change: &Change| matches!(change, Change::AddressBanned { .. } | Change::Missed);
        let is_told = changes.iter().any(tells);
        if !is_told && self.read_at.is_some_and(|at| at.elapsed() < READ_EVERY) {
            return None;
        }
        let banned = match store.banned().await {
            Ok(banned) => banned,
            Err(fault) => {
                tracing::warn!(
                    ?fault,
                    "bans unreadable; the last known ones stand, and whoever attaches is looked at"
                );
                return None;
            }
        };
        self.read_at = Some(Instant::now());
        let set: AddressSet = banned.into_iter().collect();
        if set == *self.known {
            return None;
        }
        self.known = Arc::new(set);
        Some(self.known.clone())
    }
}
