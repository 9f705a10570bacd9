//! What all nodes have left of a user's message limit: asked of Redis, answered to the shard in any case.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use relay_proto::event::Taken;
use schema_store::redis::Keys;
use schema_wire::{ShardId, UserId};
use tokio::sync::Semaphore;

use super::shared::Shared;
use crate::mesh::cores::Mail;

/// Questions under way at once; beyond, nobody can say.
const UNDER_WAY: usize = 1_024;

/// The way to the count.
pub(super) struct Counts {
    keys: Rc<Keys>,
    places: Arc<Semaphore>,
}

impl Counts {
    pub(super) fn new(keys: Rc<Keys>) -> Self {
        Self { keys, places: Arc::new(Semaphore::new(UNDER_WAY)) }
    }

    /// Asks what waits.
    pub(super) fn ask(&self, shared: &Arc<Shared>) {
        while let Some((shard, user, count)) = shared.takes.pop() {
            let (shared, keys) = (shared.clone(), self.keys.clone());
            let place = self.places.clone().try_acquire_owned();
            tokio::task::spawn_local(async move {
                let taken = match place {
                    Ok(_place) => keys.take(&user.to_string(), shared.limit(), count).await.ok(),
                    Err(_) => None,
                };
                let taken = taken.map(|taken| match taken {
                    Ok(granted) => Taken::Granted(granted),
                    Err(wait_ms) => Taken::Dry(wait_ms * 1_000),
                });
                answer(&shared, shard, user, taken).await;
            });
        }
    }
}

/// A publish waits for it: never dropped.
async fn answer(shared: &Shared, shard: ShardId, user: UserId, taken: Option<Taken>) {
    let mut mail = Mail::Taken { user, taken };
    while let Err(back) = shared.inboxes[usize::from(shard.0)].put(mail) {
        mail = back;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
