//! `messenger audit`: the whole chain of the audit trail, entry by entry, for as long as it takes, and whether heads that
//! were kept elsewhere are still in it. Reads only; works beside a server that runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use console::database::Database;
use schema_store::audit_chain::Verified;
use schema_store::rows::account::AuditHead;
use schema_store::{Accounts, PostgresStore, SqliteStore};

use crate::create_admin::database;
use crate::failure::{Code, Failure};

/// Entries checked at once.
const ENTRIES: u32 = 10_000;

/// What to do with the trail.
#[derive(Subcommand, Debug, Clone)]
pub enum AuditCommand {
    /// Check that every entry follows from the one before it, and that kept heads are still in the chain.
    Verify(VerifyOptions),
    /// Print the newest entry's number and hash, to be kept outside the database.
    Head(HeadOptions),
}

/// Flags of `verify`.
#[derive(Args, Debug, Clone)]
pub struct VerifyOptions {
    /// A head that was kept: from the console's log (`audit_head=`), from `audit head`. May be given several times.
    #[arg(long, value_name = "NUMBER:HASH")]
    pub anchor: Vec<AuditHead>,
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = ".data", env = "DATA_DIR")]
    pub data: PathBuf,
}

/// Flags of `head`.
#[derive(Args, Debug, Clone)]
pub struct HeadOptions {
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = ".data", env = "DATA_DIR")]
    pub data: PathBuf,
}

/// Carries it out.
pub fn run(command: &AuditCommand) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::other)?;
    let data = match command {
        AuditCommand::Verify(options) => &options.data,
        AuditCommand::Head(options) => &options.data,
    };
    runtime.block_on(async {
        match database(data)? {
            Database::Sqlite(file) => {
                carry_out(command, &SqliteStore::open(&file).map_err(Failure::store)?).await
            }
            Database::Postgres(server) => {
                let store = PostgresStore::open(server.url(), server.options()).await;
                carry_out(command, &store.map_err(Failure::database)?).await
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(command: &AuditCommand, store: &impl Accounts) -> Result<(), Failure> {
    match command {
        AuditCommand::Head(_) => say!("{}", store.audit_head().await.map_err(Failure::other)?),
        AuditCommand::Verify(options) => {
            let head = verify(store, &options.anchor).await?;
            say!("the chain is intact up to {head}");
        }
    }
    Ok(())
}

/// Goes through the chain in stretches that end at each anchor, since a stretch tells its last entry's hash.
async fn verify(store: &impl Accounts, anchors: &[AuditHead]) -> Result<AuditHead, Failure> {
    let mut anchors = anchors.to_vec();
    anchors.sort_by_key(|anchor| anchor.id);
    // The oldest entry tells where the chain begins: retention forgets what was before it.
    let mut head = stretch(store, None, 1).await?.unwrap_or(AuditHead { id: 0, hash: [0; 32] });
    for anchor in anchors {
        if anchor.id < head.id {
            say!("entry {} is no longer kept: nothing can be said about it", anchor.id);
            continue;
        }
        while head.id < anchor.id {
            let most = u32::try_from(anchor.id - head.id).unwrap_or(ENTRIES).min(ENTRIES);
            let Some(next) = stretch(store, Some(head), most).await? else {
                let fault = format!(
                    "the audit trail ends at entry {}, but entry {} existed: its newest entries were cut off, or this is an \
                     older backup; find out which",
                    head.id, anchor.id
                );
                return Err(Failure::new(Code::Chain, fault));
            };
            head = next;
        }
        if head.hash != anchor.hash {
            let fault =
                format!("entry {} is another one than was kept: the audit trail was rewritten", anchor.id);
            return Err(Failure::new(Code::Chain, fault));
        }
        say!("entry {} is the one that was kept", anchor.id);
    }
    while let Some(next) = stretch(store, Some(head).filter(|head| head.id > 0), ENTRIES).await? {
        head = next;
    }
    Ok(head)
}

/// Checks some entries after a known one; the last of them, if there is any.
async fn stretch(
    store: &impl Accounts,
    after: Option<AuditHead>,
    limit: u32,
) -> Result<Option<AuditHead>, Failure> {
    match store.audit_verify(after, limit).await.map_err(Failure::other)? {
        Verified::Broken { id } => {
            let fault = format!("the audit trail is broken at entry {id}: it was changed, removed or added");
            Err(Failure::new(Code::Chain, fault))
        }
        Verified::Intact { head, .. } => Ok((head.id > after.map_or(0, |head| head.id)).then_some(head)),
    }
}
