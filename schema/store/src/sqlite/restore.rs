//! The first steps of a restored database, all in one transaction: nobody may use it before they are done.

use rusqlite::{Transaction, params};

use super::SqliteStore;
use super::account::erase::erase_whoever;
use super::generation::begin;
use super::value::int;
use crate::accounts::{AccountError, Answer};
use crate::rows::account::Origin;
use crate::rows::backup::{Erased, Restored};

impl SqliteStore {
    /// Begins a new generation, drops one-time key packages, and erases again whom `erased` names.
    pub async fn after_restore(&self, reason: String, erased: Vec<Erased>) -> Answer<Restored> {
        self.write(move |tx, now| {
            // First, so that what erasing writes belongs to the new generation.
            let generation = begin(tx, &reason, now)?;
            let packages_dropped = tx.execute("DELETE FROM key_packages", [])? as u64;
            let mut erased_again = 0;
            for erasure in &erased {
                erased_again += u64::from(erase_again(tx, erasure, now)?);
            }
            Ok(Restored { generation, packages_dropped, erased_again })
        })
        .await
    }
}

/// True when the account was there. The ledger learns it in any case, since a later restore may bring it back.
fn erase_again(tx: &Transaction<'_>, erasure: &Erased, now: u64) -> Answer<bool> {
    let is_known: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM erasure_ledger WHERE user_id = ?1)")?
        .query_row([erasure.user.0], |row| row.get(0))?;
    if is_known {
        return Ok(false);
    }
    match erase_whoever(tx, erasure.user, &erasure.reason, &Origin::system(), now) {
        Ok(_) => Ok(true),
        Err(AccountError::NotFound) => {
            tx.execute(
                "INSERT INTO erasure_ledger (user_id, reason, messages, erased_at) VALUES (?1, ?2, 0, ?3)",
                params![erasure.user.0, erasure.reason, int(erasure.erased_at)],
            )?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
