//! What is read often and cached for all nodes: how each kind is written down, and what must be asked of the store all the
//! same before a cached entry is used. What changed is learned from the change log, as live sessions learn it.

mod bytes;
pub mod description;
pub mod profile;
pub mod recent;

use schema_wire::record::Change;

use super::changes::changes;
use super::server::Server;
use super::transaction::{Access, Tx};
use crate::accounts::Answer;
use crate::redis::Item;
use crate::store::ChangePosition;

/// Pages of the log that are read at once where they hold little for live sessions.
const PAGES_MAX: usize = 32;

impl Server {
    /// These may have changed.
    pub fn forget(&self, items: Vec<Item>) {
        if let Some(cache) = &self.options().cache {
            cache.forget(items);
        }
    }

    /// Changes after a position, and where to go on. What they make of no use is forgotten.
    pub async fn changes(&self, after: ChangePosition, limit: u32) -> Answer<(Vec<Change>, ChangePosition)> {
        let (mut found, mut next) = (Vec::new(), after);
        for _ in 0..PAGES_MAX {
            let left = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            let look = async |tx: &Tx, _| Ok(changes(tx, &next, left).await?);
            let read = self.transact(Access::Snapshot, look).await?;
            if let Some(cache) = &self.options().cache {
                cache.begin(read.generation);
                cache.forget(read.stale);
            }
            let none_left = read.changes.len() as u64 >= u64::from(left);
            found.extend(read.changes);
            next = read.next;
            if none_left || !read.more {
                break;
            }
        }
        Ok((found, next))
    }
}
