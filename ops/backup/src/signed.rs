//! Signed documents: JSON that one of the master keys authenticates, in exactly one spelling.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::hex;
use crate::key::{KeyId, Keyring, MasterKey};
use crate::manifest::ManifestError;

/// The document as it lies there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed<T> {
    manifest: T,
    key: String,
    mac: String,
}

/// The signed document. `purpose` keeps kinds of documents apart.
pub fn sign<T: Serialize>(purpose: &[u8], content: &T, key: &MasterKey) -> Vec<u8> {
    let plain = serde_json::to_vec(content).expect("it is JSON");
    let mac = hex::encode(&key.sign(purpose, &plain));
    let signed = Signed { manifest: content, key: key.id().to_string(), mac };
    serde_json::to_vec_pretty(&signed).expect("it is JSON")
}

/// Reads a document; nothing of it counts before its signature does.
pub fn read<T: Serialize + DeserializeOwned>(
    purpose: &[u8],
    document: &[u8],
    keys: &Keyring,
) -> Result<T, ManifestError> {
    let signed: Signed<T> = serde_json::from_slice(document).map_err(|_| ManifestError::Malformed)?;
    let id = hex::decode(&signed.key).map(KeyId).ok_or(ManifestError::Malformed)?;
    let key = keys.find(id).ok_or(ManifestError::UnknownKey(signed.key))?;
    // One document, one spelling: not even white space may differ.
    if is_same(&sign(purpose, &signed.manifest, key), document) {
        Ok(signed.manifest)
    } else {
        Err(ManifestError::Altered)
    }
}

/// Takes the same time wherever they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
