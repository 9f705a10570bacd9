//! Making a base backup: pg_basebackup writes one stream, which is cut into objects and sealed; the manifest last.

use std::process::{ChildStdout, Stdio};
use std::sync::{Arc, Mutex};

use futures_util::future::join;
use schema_store::PostgresStore;
use schema_store::postgres::BackupLock;
use schema_store::rows::backup::Cluster;

use super::tools::Running;
use super::{Base, Lsn, Tools, ToolsError};
use crate::error::BackupError;
use crate::hint;
use crate::key::{Keyring, MasterKey};
use crate::manifest::{Engine, Manifest, Object};
use crate::name::BackupName;
use crate::pipe::seal_stream;
use crate::place::{Place, PlaceError, Writer};
use crate::run::{self, Made};

/// The server, as a base backup needs it.
pub struct Source {
    pub store: PostgresStore,
    /// Its URL, for a session that may copy it, and for its programs.
    pub url: String,
    pub options: schema_store::postgres::Options,
}

impl Source {
    /// The programs of its version, told where it is.
    pub fn tools(&self, cluster: &Cluster) -> Result<Tools, BackupError> {
        let environment = schema_store::postgres::environment(&self.url).map_err(BackupError::Server)?;
        Ok(Tools::of(cluster.version, environment))
    }
}

/// Backs up the server. `told` hears of the bytes done, of about how many.
pub async fn run(
    place: &Place,
    keys: &Keyring,
    source: &Source,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Made, BackupError> {
    let lock = BackupLock::take(&source.url, &source.options).await.map_err(BackupError::Server)?;
    let _lock = lock.ok_or_else(|| BackupError::Busy { folder: "this server".to_owned() })?;
    let cluster = source.store.cluster().await.map_err(BackupError::Prepare)?;
    let tools = source.tools(&cluster)?;
    let name = run::claim(place).await?;
    let made = copy_and_write(place, keys, name, source, (&cluster, &tools), told).await;
    if made.is_err() {
        run::discard(place, name).await;
    }
    made
}

async fn copy_and_write(
    place: &Place,
    keys: &Keyring,
    name: BackupName,
    source: &Source,
    (cluster, tools): (&Cluster, &Tools),
    told: &mut dyn FnMut(u64, u64),
) -> Result<Made, BackupError> {
    // What is counted now is in the copy, which ends later.
    let (contents, erased) = source.store.contents().await.map_err(BackupError::Prepare)?;
    let mut command = tools.command("pg_basebackup")?;
    command.args(["--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--no-password"]);
    command.args(["--verbose", "--label"]).arg(name.to_string()).stdout(Stdio::piped());
    let mut copying = Running::start("pg_basebackup", &mut command)?;
    let plain = copying.child.stdout.take().ok_or(BackupError::Thread)?;
    hint::widen(&plain);
    let written =
        write_objects(place, keys.current(), name, plain, &mut |done| told(done, cluster.bytes)).await;
    // A program that failed ends its stream early: what it says explains more than what came of it.
    let said = crate::run::on_thread(move || copying.finish()).await?;
    let (objects, said) = (written?, said?);
    let base = base(&said, cluster)?;
    let ledger = run::write_ledger(place, keys.current(), name, &erased).await?;
    let manifest =
        Manifest::new(name, Engine::Postgres, run::holds(&contents), objects, ledger).with_base(base);
    run::publish(place, keys.current(), name, manifest, contents).await
}

async fn write_objects(
    place: &Place,
    key: &MasterKey,
    name: BackupName,
    plain: ChildStdout,
    told: &mut dyn FnMut(u64),
) -> Result<Vec<Object>, BackupError> {
    let plain = Arc::new(Mutex::new(plain));
    let (mut objects, mut done) = (Vec::new(), 0);
    let mut before = None;
    loop {
        let object = format!("base.{:04}", objects.len());
        let told_more = &mut |bytes| told(done + bytes);
        let path = name.path(&object);
        let sealing = seal_stream(place, &path, key, plain.clone(), run::OBJECT_BYTES, told_more);
        // One becomes durable while the next is sealed.
        let (finished, sealed) = join(finish(before.take()), sealing).await;
        let (sealed, writer) = match (finished, sealed) {
            (Ok(()), Ok(sealed)) => sealed,
            (Err(why), Ok((_, writer))) => {
                writer.abandon().await;
                return Err(why.into());
            }
            (finished, Err(why)) => return Err(finished.err().map_or(why, BackupError::from)),
        };
        objects.push(Object::new(object, &sealed));
        done += sealed.plain_bytes;
        told(done);
        if sealed.plain_bytes < run::OBJECT_BYTES {
            writer.finish().await?;
            return Ok(objects);
        }
        before = Some(writer);
    }
}

async fn finish(writer: Option<Writer>) -> Result<(), PlaceError> {
    match writer {
        Some(writer) => writer.finish().await,
        None => Ok(()),
    }
}

/// Where the copy lies in the log, as pg_basebackup says it.
fn base(said: &str, cluster: &Cluster) -> Result<Base, BackupError> {
    let after = |mark: &str| said.split_once(mark).map(|(_, rest)| rest.trim_start());
    let position = |text: &str| text.split_whitespace().next()?.parse::<Lsn>().ok();
    let start = after("write-ahead log start point:");
    let timeline = start.and_then(|text| text.split_once("on timeline "));
    let timeline = timeline.and_then(|(_, text)| text.split_whitespace().next()?.parse().ok());
    let stop = after("write-ahead log end point:").and_then(position);
    let (Some(start), Some(timeline), Some(stop)) = (start.and_then(position), timeline, stop) else {
        let why = "it did not say where in the log the copy lies".to_owned();
        return Err(ToolsError::Failed { program: "pg_basebackup", why }.into());
    };
    let Cluster { system, version, segment_bytes, user, database, .. } = cluster.clone();
    Ok(Base { system, version, segment_bytes, timeline, start, stop, user, database })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_in_the_log_is_read_from_what_the_program_says() {
        let cluster = Cluster {
            system: "7".to_owned(),
            version: 150_004,
            segment_bytes: 16 << 20,
            bytes: 1,
            user: "u".to_owned(),
            database: "d".to_owned(),
        };
        let said = "pg_basebackup: initiating base backup, waiting for checkpoint to complete\n\
                    pg_basebackup: write-ahead log start point: 0/2000028 on timeline 3\n\
                    pg_basebackup: write-ahead log end point: 0/2000100\n";
        let found = base(said, &cluster).unwrap();
        assert_eq!((found.start, found.stop, found.timeline), (Lsn(0x200_0028), Lsn(0x200_0100), 3));
        assert!(
            base("pg_basebackup: write-ahead log start point: 0/2000028 on timeline 3\n", &cluster).is_err()
        );
    }
}
