//! Changing the master key: wraps every data key anew and signs the manifests again. Objects stay as they are.

use crate::catalogue::{entries, manifest};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::manifest::{MANIFEST, MANIFEST_BYTES_MAX, Object};
use crate::name::BackupName;
use crate::place::Place;
use crate::wal;

/// How many manifests were written anew, and how many were under the present key already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rekeyed {
    pub changed: usize,
    pub unchanged: usize,
    /// Pieces of logs put under the present key.
    pub pieces: usize,
}

/// Rekeys every whole backup. May be interrupted and run again.
pub async fn rekey(place: &Place, keys: &Keyring) -> Result<Rekeyed, BackupError> {
    let mut done = Rekeyed::default();
    for entry in entries(place).await?.into_iter().filter(|entry| entry.is_whole) {
        if rekey_one(place, keys, entry.name).await? {
            done.changed += 1;
        } else {
            done.unchanged += 1;
        }
    }
    rekey_logs(place, keys, &mut done).await?;
    Ok(done)
}

/// The pieces of every server's log.
async fn rekey_logs(place: &Place, keys: &Keyring, done: &mut Rekeyed) -> Result<(), BackupError> {
    for listed in place.list(wal::ROOT).await? {
        let inner = listed.path.strip_prefix(wal::ROOT).unwrap_or_default().trim_start_matches('/');
        let system = inner.split('/').next().unwrap_or_default();
        let Some(stretch) = wal::Stretch::of_header(&listed.path, system) else { continue };
        if wal::rekey(place, keys, system, &stretch).await? {
            done.pieces += 1;
        }
    }
    Ok(())
}

async fn rekey_one(place: &Place, keys: &Keyring, name: BackupName) -> Result<bool, BackupError> {
    let path = name.path(MANIFEST);
    let Some((document, version)) = place.get(&path, MANIFEST_BYTES_MAX).await? else { return Ok(false) };
    let mut changed = manifest(place, name, keys).await?;
    let rewrap = |object: &Object| -> Result<Object, BackupError> {
        let path = name.path(&object.name);
        let envelope = object.envelope();
        let envelope = envelope.map_err(|why| BackupError::Manifest { name: name.to_string(), why })?;
        if envelope.key() == keys.current().id() {
            return Ok(object.clone());
        }
        let rewrapped = envelope.rewrap(keys, &path);
        let rewrapped = rewrapped.map_err(|why| BackupError::Object { object: path, why })?;
        Ok(object.with_envelope(&rewrapped))
    };
    changed.objects = changed.objects.iter().map(rewrap).collect::<Result<_, _>>()?;
    changed.erasures = rewrap(&changed.erasures)?;
    let signed = changed.sign(keys.current());
    if signed == document {
        return Ok(false);
    }
    // Somebody removed or rekeyed it meanwhile: fine either way.
    place.replace(&path, &signed, &version).await?;
    Ok(true)
}
