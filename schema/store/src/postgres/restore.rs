//! The first steps of a restored database. Nobody else can reach the server before they are done; each may be repeated.

use schema_wire::Generation;

use super::PostgresStore;
use super::account::erase::erase_whoever;
use super::transaction::{Access, Tx};
use super::value::{At, Id};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::Origin;
use crate::rows::backup::{Erased, Restored};

impl PostgresStore {
    /// Begins a new generation, drops one-time key packages, and erases again whom `erased` names.
    pub async fn after_restore(&self, reason: String, erased: Vec<Erased>) -> Answer<Restored> {
        // First, so that what erasing writes belongs to the new generation.
        let generation: Generation = self.begin_generation(reason).await?;
        let packages_dropped = self
            .transact(Access::Long, async |tx, _| Ok(tx.execute("DELETE FROM key_packages", &[]).await?));
        let packages_dropped = packages_dropped.await?;
        let mut erased_again = 0;
        for erasure in erased {
            let again =
                self.transact(Access::Long, async move |tx, now| erase_again(tx, &erasure, now).await);
            erased_again += u64::from(again.await?);
        }
        Ok(Restored { generation, packages_dropped, erased_again })
    }
}

/// True when the account was there. The ledger learns it in any case, since a later restore may bring it back.
async fn erase_again(tx: &Tx, erasure: &Erased, now: u64) -> Answer<bool> {
    let user = Id(erasure.user.0);
    let known = tx.query_opt("SELECT 1 FROM erasure_ledger WHERE user_id = $1 LIMIT 1", &[&user]).await?;
    if known.is_some() {
        return Ok(false);
    }
    match erase_whoever(tx, erasure.user, &erasure.reason, &Origin::system(), now).await {
        Ok(_) => Ok(true),
        Err(AccountError::NotFound) => {
            tx.execute(
                "INSERT INTO erasure_ledger (user_id, reason, messages, erased_at) VALUES ($1, $2, 0, $3)",
                &[&user, &erasure.reason, &At(erasure.erased_at)],
            )
            .await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
