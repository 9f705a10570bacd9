//! What is banned, at hand for the account API: whoever comes from there is refused at accept, and whoever a proxy speaks
//! for before anything else is looked at. The pages stay open: a ban is lifted there.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use schema_wire::AddressSet;

use crate::app::{App, Backing};

/// How often it is read.
const EVERY: Duration = Duration::from_secs(2);

/// What was read last.
#[derive(Default)]
pub struct Bans(RwLock<Arc<AddressSet>>);

impl Bans {
    /// Whether nobody from there is to be answered.
    pub fn hold(&self, address: IpAddr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    fn replace(&self, set: AddressSet) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
    }
}

/// Reads until it is dropped. The last known bans stand while the store does not answer.
pub async fn read_bans<S: Backing>(app: App<S>) {
    loop {
        match app.store.banned().await {
            Ok(banned) => app.bans.replace(banned.into_iter().collect()),
            Err(fault) => tracing::warn!(?fault, "bans unreadable; the last known ones stand"),
        }
        tokio::time::sleep(EVERY).await;
    }
}
