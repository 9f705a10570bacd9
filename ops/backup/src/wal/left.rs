//! What a follower before this one left in the spool, when its server does not answer: it may never come back, and what was
//! received of it must not wait for that.

use super::chain::Chain;
use super::sealing::Sealing;
use super::spool::Spool;
use super::stream::{News, Settings};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::place::Place;
use crate::run::FolderLock;

/// Seals what is in the spool, if the spool says of which server it is; whether it did.
pub async fn seal_left(
    place: &Place,
    keys: &Keyring,
    settings: &Settings,
    told: &mut dyn FnMut(News<'_>),
) -> Result<bool, BackupError> {
    if !settings.spool.is_dir() {
        return Ok(false);
    }
    let _lock = FolderLock::take(&settings.spool)?;
    let Some((spool, system)) = Spool::of_known(&settings.spool)? else { return Ok(false) };
    let mut chain = Chain::find(place, keys, &system, spool.segment_bytes).await?;
    let mut sealing = Sealing { place, keys, spool: &spool, chain: &mut chain, told };
    sealing.round(true).await?;
    sealing.remove_old().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::key::MasterKey;
    use crate::place::{BucketAccess, Location};
    use crate::wal::Archive;

    #[test]
    fn a_spool_is_sealed_without_its_server_if_it_is_known_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        let settings = Settings { spool: spool.clone(), slot: "x".to_owned(), every: Duration::from_secs(1) };
        let keys = Keyring::of(MasterKey::generate());
        let file = "000000010000000000000005";
        let mut page = vec![0; 1 << 20];
        page[24..32].copy_from_slice(&7u64.to_ne_bytes());
        page[32..36].copy_from_slice(&(1u32 << 20).to_ne_bytes());
        page[99] = 1;
        let sealed = crate::block_on(async {
            let location = Location::Folder(folder.path().join("place"));
            let place = Place::open(&location, &BucketAccess::default())?;
            let seal = async || seal_left(&place, &keys, &settings, &mut |_| {}).await;
            let mut sealed = vec![seal().await?];
            std::fs::create_dir(&spool).unwrap();
            std::fs::write(spool.join(format!("{file}.partial")), &page).unwrap();
            sealed.push(seal().await?);
            std::fs::write(spool.join("system"), "8\n").unwrap();
            sealed.push(seal().await?);
            std::fs::write(spool.join("system"), "7\n").unwrap();
            sealed.push(seal().await?);
            let archive = Archive::list(&place, "7").await?;
            assert_eq!(archive.cover(file).last().map(|last| last.to), Some(100));
            Ok(sealed)
        });
        assert_eq!(sealed.unwrap(), [false, false, false, true]);
    }
}
