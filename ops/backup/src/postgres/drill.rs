//! The drill of a server's backup: restored and recovered to the newest sealed moment into a folder that goes
//! afterwards, timed, and asked what only a working database answers.

use std::path::Path;
use std::time::Instant;

use schema_store::PostgresStore;
use schema_store::audit_chain::Verified;
use schema_store::rows::account::AuditHead;
use schema_store::{AccountError, Accounts};

use super::restore::{Recovery, clear, recover};
use crate::drill::Drilled;
use crate::error::BackupError;
use crate::name::BackupName;
use crate::run::{FolderLock, on_thread};

/// Where it restores to, inside the folder it is given.
const SCRATCH: &str = "backup.drill";
/// Entries of the audit trail checked at once.
const ENTRIES: u32 = 10_000;

/// Restores inside the folder and checks what came back.
pub async fn drill(
    recovery: &Recovery<'_>,
    folder: &Path,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Drilled, BackupError> {
    let _lock = FolderLock::of_drills(folder)?;
    let scratch = folder.join(SCRATCH);
    let began = Instant::now();
    let recovered = recover(recovery, &scratch, told).await?;
    let took = began.elapsed();
    let tools = recovered.tools.clone();
    let checked = checked(&recovered.store, recovered.name).await;
    drop(recovered.store);
    let stopped = recovered.server.stop().await;
    let sums = match &checked {
        Ok(_) => sums(&tools, &scratch).await,
        Err(_) => Ok(()),
    };
    clear(&tools, &scratch).await?;
    let contents = checked?;
    stopped.and(sums)?;
    Ok(Drilled { name: recovered.name, contents, took })
}

async fn checked(
    store: &PostgresStore,
    name: BackupName,
) -> Result<schema_store::rows::backup::Contents, BackupError> {
    let prepare = |error: AccountError| BackupError::Prepare(error);
    if store.gaps().await.map_err(prepare)? > 0 {
        return Err(BackupError::Contents { name: name.to_string() });
    }
    let mut after: Option<AuditHead> = None;
    loop {
        match store.audit_verify(after, ENTRIES).await.map_err(prepare)? {
            Verified::Broken { id } => return Err(BackupError::Audit { name: name.to_string(), entry: id }),
            Verified::Intact { more: false, .. } => break,
            Verified::Intact { head, more: true } => after = Some(head),
        }
    }
    Ok(store.contents().await.map_err(prepare)?.0)
}

/// The checksum of every page, where the server keeps them.
async fn sums(tools: &super::Tools, data: &Path) -> Result<(), BackupError> {
    let (tools, data) = (tools.clone(), data.to_owned());
    on_thread(move || {
        let checked = tools.run("pg_checksums", |command| {
            command.arg("--check").arg("-D").arg(&data);
        });
        match checked {
            Err(error) if !error.to_string().contains("not enabled") => Err(error.into()),
            _ => Ok(()),
        }
    })
    .await?
}
