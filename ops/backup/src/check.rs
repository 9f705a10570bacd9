//! Checking without restoring: every byte of every object is read, opened and compared with the manifest.

use crate::catalogue::{self, Which};
use crate::error::BackupError;
use crate::key::Keyring;
use crate::manifest::{MANIFEST, Manifest};
use crate::name::BackupName;
use crate::pipe::{Sink, open_object};
use crate::place::Place;
use crate::run::BEGUN;

/// What a check found to be right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    pub name: BackupName,
    pub manifest: Manifest,
}

/// Checks one backup. `told` hears of the bytes done.
pub async fn check(
    place: &Place,
    which: Which,
    keys: &Keyring,
    told: &mut dyn FnMut(u64, u64),
) -> Result<Checked, BackupError> {
    let (name, manifest) = catalogue::find(place, which, keys).await?;
    complete(place, name, &manifest).await?;
    let mut done = 0;
    for object in manifest.all_objects() {
        open_object(place, &name.path(&object.name), object, keys, Sink::Nowhere).await?;
        done += object.bytes;
        told(done, manifest.bytes());
    }
    Ok(Checked { name, manifest })
}

/// Exactly the objects of the manifest lie there, in their sizes.
pub async fn complete(place: &Place, name: BackupName, manifest: &Manifest) -> Result<(), BackupError> {
    let listed = place.list(&name.path("")).await?;
    for object in manifest.all_objects() {
        let path = name.path(&object.name);
        let found = listed.iter().find(|listed| listed.path == path);
        let bytes = found.map_or(0, |listed| listed.bytes);
        if bytes != object.bytes {
            return Err(BackupError::Size { object: path, bytes, expected: object.bytes });
        }
    }
    let is_known = |path: &str| {
        [MANIFEST, BEGUN].iter().any(|known| name.path(known) == path)
            || manifest.all_objects().any(|object| name.path(&object.name) == path)
    };
    match listed.into_iter().find(|listed| !is_known(&listed.path) && !listed.path.contains("/.aside-")) {
        Some(stray) => Err(BackupError::Size { object: stray.path, bytes: stray.bytes, expected: 0 }),
        None => Ok(()),
    }
}
