//! What a node needs on disk before it starts: its certificate and the secrets of its QUIC endpoint. Made once in
//! the data folder, readable by their owner only, and kept.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use schema_wire::NodeId;

use crate::access::Secret;
use crate::config::RelayConfig;
use crate::start::{NodeConfig, StartError};
use crate::transport::quic::QuicKeys;
use crate::transport::tls::{CertificatePaths, ensure_local_certificate, sync_name};

/// Bytes of the two QUIC secrets.
const QUIC_SECRET_BYTES: usize = 64;

/// A node's configuration with its files in place, and the local authority when there is no certificate of its own.
pub fn prepare(relay: RelayConfig) -> Result<(NodeConfig, Option<PathBuf>), StartError> {
    let keys = relay.data.join("keys");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&keys)
        .map_err(|source| unwritable(&keys, source))?;
    let quic_keys = match &relay.quic_secret {
        Some(shared) => derived(shared),
        None => quic_keys(&keys.join("quic.key"))?,
    };
    let (certificate, ca) = match &relay.tls {
        Some(files) => (CertificatePaths { chain: files.cert.clone(), key: files.key.clone() }, None),
        None => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let local =
                ensure_local_certificate(&relay.data.join("certificates"), &[], now.as_secs() as i64)?;
            (local.server, Some(local.ca))
        }
    };
    let limits = relay.limits();
    let node = NodeId(relay.node.unwrap_or(1));
    let config = NodeConfig { node, limits, relay, certificate, quic_keys, more_metrics: None };
    Ok((config, ca))
}

/// Both secrets from the one that all nodes share.
fn derived(shared: &Secret) -> QuicKeys {
    let key = hmac::Key::new(hmac::HMAC_SHA256, shared.expose());
    let of = |purpose: &str| {
        let tag = hmac::sign(&key, purpose.as_bytes());
        tag.as_ref().try_into().expect("SHA-256 has 32 bytes")
    };
    QuicKeys { retry: of("quic retry"), reset: of("quic reset") }
}

fn quic_keys(path: &Path) -> Result<QuicKeys, StartError> {
    let mut secret = [0u8; QUIC_SECRET_BYTES];
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            getrandom::fill(&mut secret).expect("the kernel has randomness");
            file.write_all(&secret)
                .and_then(|()| file.sync_all())
                .and_then(|()| sync_name(path))
                .map_err(|source| unwritable(path, source))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let mut file = std::fs::File::open(path).map_err(|source| unwritable(path, source))?;
            file.read_exact(&mut secret).map_err(|source| unwritable(path, source))?;
        }
        Err(source) => return Err(unwritable(path, source)),
    }
    let (retry, reset) = secret.split_at(32);
    Ok(QuicKeys {
        retry: retry.try_into().expect("half of the secret"),
        reset: reset.try_into().expect("half of the secret"),
    })
}

fn unwritable(path: &Path, source: std::io::Error) -> StartError {
    StartError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn nodes_that_share_a_secret_have_the_same_keys() {
        let keys = |text: &str| derived(&Secret::new(text).unwrap());
        let shared = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
        let (one, other, stranger) = (keys(shared), keys(shared), keys(&shared.replace('7', "8")));
        assert_eq!((one.retry, one.reset), (other.retry, other.reset));
        assert_ne!(one.retry, one.reset);
        assert_ne!(one.retry, stranger.retry);
    }

    #[test]
    fn quic_secrets_are_made_once_and_kept() {
        let folder = std::env::temp_dir().join(format!("quic-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("quic.key");
        let first = quic_keys(&path).map(|k| (k.retry, k.reset)).unwrap();
        assert_eq!(quic_keys(&path).map(|k| (k.retry, k.reset)).unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, b"short").unwrap();
        assert!(quic_keys(&path).is_err(), "a cut file is not taken for a secret");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
