//! Decides which certificate the listeners present: a PEM chain and key from files, exchanged in place
//! when the files change. Connections keep the certificate that they began with.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::parse_x509_certificate;

use super::config::provider;

/// Where the certificate lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePaths {
    /// PEM, the server's certificate first, then its issuers.
    pub chain: PathBuf,
    /// PEM, PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// Why a certificate can't be used; each says which file to look at.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} holds no PEM certificate", .path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds no PEM private key", .path.display())]
    NoKey { path: PathBuf },
    #[error("{} holds a broken PEM block: {source}", .path.display())]
    BadPem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{} does not begin with a valid X.509 certificate", .path.display())]
    BadCertificate { path: PathBuf },
    #[error("the key in {} does not belong to the certificate in {}: {source}", .key.display(), .chain.display())]
    Unusable { chain: PathBuf, key: PathBuf, source: rustls::Error },
}

struct Current {
    certified: Arc<CertifiedKey>,
    not_after_s: i64,
}

/// What tells that a file was replaced or rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

/// The certificate in use; shared by every listener and shard.
pub struct Certificates {
    paths: CertificatePaths,
    current: ArcSwap<Current>,
    /// The files as they were when last read, whether that went well or not.
    seen: Mutex<[Stamp; 2]>,
}

impl Certificates {
    /// Reads chain and key and checks that they belong together.
    pub fn load(paths: CertificatePaths) -> Result<Arc<Self>, CertificateError> {
        let seen = stamps(&paths);
        let current = read(&paths)?;
        Ok(Arc::new(Self { paths, current: ArcSwap::from_pointee(current), seen: Mutex::new(seen) }))
    }

    /// Call from a slow timer. True: a new certificate is in use from here on. An error is reported once per change
    /// of the files; until they are repaired the old certificate stays in use.
    pub fn poll_changed(&self) -> Result<bool, CertificateError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before reading: a write that comes later shows as a change at the next poll.
        let now = stamps(&self.paths);
        if *seen == now {
            return Ok(false);
        }
        *seen = now;
        let fresh = read(&self.paths)?;
        let changed = self.current.load().certified.cert != fresh.certified.cert;
        self.current.store(Arc::new(fresh));
        Ok(changed)
    }

    /// When the certificate in use expires, in seconds since 1970.
    pub fn not_after_s(&self) -> i64 {
        self.current.load().not_after_s
    }

    pub fn paths(&self) -> &CertificatePaths {
        &self.paths
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Certificates").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().certified.clone())
    }
}

fn read(paths: &CertificatePaths) -> Result<Current, CertificateError> {
    let chain = read_chain(&paths.chain)?;
    let key = read_key(&paths.key)?;
    let first = chain.first().expect("an empty chain was refused");
    let not_after_s =
        not_after_s(first).ok_or_else(|| CertificateError::BadCertificate { path: paths.chain.clone() })?;
    let certified = CertifiedKey::from_der(chain, key, provider()).map_err(|source| {
        CertificateError::Unusable { chain: paths.chain.clone(), key: paths.key.clone(), source }
    })?;
    Ok(Current { certified: Arc::new(certified), not_after_s })
}

/// The end of a certificate's validity, in seconds since 1970; None when it is no X.509 certificate.
pub(super) fn not_after_s(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}

pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let pem = read_file(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|source| CertificateError::BadPem { path: path.to_owned(), source })?;
    if chain.is_empty() {
        return Err(CertificateError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let pem = read_file(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|source| match source {
        rustls_pki_types::pem::Error::NoItemsFound => CertificateError::NoKey { path: path.to_owned() },
        source => CertificateError::BadPem { path: path.to_owned(), source },
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::Unreadable { path: path.to_owned(), source })
}

fn stamps(paths: &CertificatePaths) -> [Stamp; 2] {
    [stamp(&paths.chain), stamp(&paths.key)]
}

/// A file that can't be looked at has the empty stamp; reading it then gives the error.
fn stamp(path: &Path) -> Stamp {
    std::fs::metadata(path).map_or_else(
        |_| Stamp::default(),
        |file| Stamp { inode: file.ino(), len: file.len(), modified: (file.mtime(), file.mtime_nsec()) },
    )
}
