//! Decides the certificates of a relay that runs alone: a local CA, made once in the data folder,
//! and a server certificate that is renewed before it expires.

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::certificates::{CertificatePaths, not_after_s, read_chain};

const CA_CERTIFICATE: &str = "local-ca.pem";
const CA_KEY: &str = "local-ca.key";
const SERVER_CHAIN: &str = "server.pem";
const SERVER_KEY: &str = "server.key";

const CA_VALID: Duration = Duration::days(3650);
/// Browsers refuse server certificates that are valid for longer than 398 days.
const SERVER_VALID: Duration = Duration::days(397);
/// What is about to expire within this time is made anew.
const RENEW_BEFORE: Duration = Duration::days(30);
/// Clocks of clients may be behind.
const BACKDATED: Duration = Duration::days(1);

/// Names that the server certificate always carries.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the local certificates lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCertificate {
    /// What clients trust.
    pub ca: PathBuf,
    pub server: CertificatePaths,
}

/// Why local certificates can't be made.
#[derive(Debug, thiserror::Error)]
pub enum LocalCaError {
    #[error("cannot write {}: {source}", .path.display())]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("cannot make a certificate for {name:?}: it is neither a host name nor an address")]
    BadName { name: String },
    #[error("cannot make a certificate: {0}")]
    Generate(#[from] rcgen::Error),
}

/// Makes in `folder` what is missing, broken, about to expire or not made for all `names`; keeps the rest. Keys are
/// readable by their owner only. Call it again once a day: [`super::Certificates::poll_changed`] then finds what
/// was renewed.
pub fn ensure_local_certificate(
    folder: &Path,
    names: &[String],
    now_s: i64,
) -> Result<LocalCertificate, LocalCaError> {
    let now = OffsetDateTime::from_unix_timestamp(now_s).expect("a clock's time is a date");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|source| LocalCaError::Unwritable { path: folder.to_owned(), source })?;
    let paths = LocalCertificate {
        ca: folder.join(CA_CERTIFICATE),
        server: CertificatePaths { chain: folder.join(SERVER_CHAIN), key: folder.join(SERVER_KEY) },
    };
    let ca_key = folder.join(CA_KEY);
    let mut wanted: Vec<String> = OWN_NAMES.iter().map(|name| (*name).to_owned()).collect();
    wanted.extend(names.iter().filter(|name| !OWN_NAMES.contains(&name.as_str())).cloned());
    let (authority, ca) = match read_authority(&paths.ca, &ca_key, now) {
        Some(kept) => kept,
        None => make_authority(&paths.ca, &ca_key, now)?,
    };
    if !is_server_fit(&paths.server, &ca, &wanted, now) {
        make_server(&paths.server, &authority, &wanted, now)?;
    }
    Ok(paths)
}

type Authority = Issuer<'static, KeyPair>;

/// None when there is none, or none that can still sign.
fn read_authority(
    certificate: &Path,
    key: &Path,
    now: OffsetDateTime,
) -> Option<(Authority, CertificateDer<'static>)> {
    let ca = read_chain(certificate).ok()?.into_iter().next()?;
    let key = KeyPair::from_pem(&std::fs::read_to_string(key).ok()?).ok()?;
    let (_, parsed) = parse_x509_certificate(&ca).ok()?;
    let ours = parsed.public_key().subject_public_key.data.as_ref() == key.public_key_raw();
    let lasts = not_after_s(&ca)? > (now + RENEW_BEFORE).unix_timestamp();
    if !ours || !lasts {
        return None;
    }
    let authority = Issuer::from_ca_cert_der(&ca, key).ok()?;
    Some((authority, ca))
}

fn make_authority(
    certificate: &Path,
    key_path: &Path,
    now: OffsetDateTime,
) -> Result<(Authority, CertificateDer<'static>), LocalCaError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // Two CAs of one host must not share a name: clients look an issuer up by it.
    params.distinguished_name.push(DnType::CommonName, format!("Relay local CA {}", now.unix_timestamp()));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - BACKDATED;
    params.not_after = now + CA_VALID;
    let ca = params.self_signed(&key)?;
    write_new(key_path, &key.serialize_pem(), 0o600)?;
    write_new(certificate, &ca.pem(), 0o644)?;
    Ok((Issuer::new(params, key), ca.der().clone()))
}

fn is_server_fit(
    paths: &CertificatePaths,
    ca: &CertificateDer<'_>,
    wanted: &[String],
    now: OffsetDateTime,
) -> bool {
    let fit = || {
        let loads = super::Certificates::load(paths.clone()).ok()?;
        let server = read_chain(&paths.chain).ok()?.into_iter().next()?;
        let (_, ca) = parse_x509_certificate(ca).ok()?;
        let (_, server) = parse_x509_certificate(&server).ok()?;
        let signed = server.verify_signature(Some(ca.public_key())).is_ok();
        let lasts = loads.not_after_s() > (now + RENEW_BEFORE).unix_timestamp();
        let held = server.subject_alternative_name().ok()??;
        let named = wanted.iter().all(|name| held.value.general_names.iter().any(|it| is_name(it, name)));
        Some(signed && lasts && named)
    };
    fit().unwrap_or(false)
}

fn is_name(held: &GeneralName<'_>, wanted: &str) -> bool {
    match (held, wanted.parse::<IpAddr>()) {
        (GeneralName::DNSName(name), Err(_)) => *name == wanted,
        (GeneralName::IPAddress(octets), Ok(IpAddr::V4(address))) => *octets == address.octets(),
        (GeneralName::IPAddress(octets), Ok(IpAddr::V6(address))) => *octets == address.octets(),
        _ => false,
    }
}

fn make_server(
    paths: &CertificatePaths,
    authority: &Authority,
    names: &[String],
    now: OffsetDateTime,
) -> Result<(), LocalCaError> {
    if let Some(name) = names.iter().find(|name| CertificateParams::new([name.to_string()]).is_err()) {
        return Err(LocalCaError::BadName { name: name.clone() });
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "Relay");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - BACKDATED;
    params.not_after = now + SERVER_VALID;
    let certificate = params.signed_by(&key, authority)?;
    write_new(&paths.key, &key.serialize_pem(), 0o600)?;
    write_new(&paths.chain, &certificate.pem(), 0o644)
}

/// Replaces a file as a whole, so that neither a crash nor a reader ever sees half of it.
fn write_new(path: &Path, content: &str, mode: u32) -> Result<(), LocalCaError> {
    let unwritable = |source| LocalCaError::Unwritable { path: path.to_owned(), source };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let write = || {
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        sync_name(path)
    };
    write().map_err(unwritable)
}

/// Makes the name of a file durable, which syncing the file does not promise, and that of its folder where we may.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let mut folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    folders.next().map_or(Ok(()), |folder| std::fs::File::open(folder)?.sync_all())?;
    let _ = folders.next().map(|around| std::fs::File::open(around)?.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::TempFolder;
    use super::*;

    const NOW_S: i64 = 1_800_000_000;
    const DAY_S: i64 = 86_400;

    fn ensure(folder: &TempFolder, names: &[&str], now_s: i64) -> [Vec<u8>; 2] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let paths = ensure_local_certificate(&folder.path, &names, now_s).unwrap();
        [std::fs::read(paths.ca).unwrap(), std::fs::read(paths.server.chain).unwrap()]
    }

    #[test]
    fn certificates_are_made_once_and_keys_are_private() {
        let folder = TempFolder::new();
        let first = ensure(&folder, &[], NOW_S);
        assert_eq!(ensure(&folder, &[], NOW_S + DAY_S), first);
        for key in [CA_KEY, SERVER_KEY] {
            let mode = std::fs::metadata(folder.path.join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(&folder.path).unwrap().count(), 4, "nothing half-written stays");
    }

    #[test]
    fn the_server_certificate_is_renewed_thirty_days_before_its_end() {
        let folder = TempFolder::new();
        let [ca, server] = ensure(&folder, &[], NOW_S);
        assert_eq!(ensure(&folder, &[], NOW_S + 366 * DAY_S), [ca.clone(), server.clone()]);
        let [kept_ca, renewed] = ensure(&folder, &[], NOW_S + 368 * DAY_S);
        assert_eq!(kept_ca, ca);
        assert_ne!(renewed, server);
    }

    #[test]
    fn a_new_name_an_old_ca_or_a_broken_file_makes_new_certificates() {
        let folder = TempFolder::new();
        let [ca, server] = ensure(&folder, &[], NOW_S);
        let [same_ca, named] = ensure(&folder, &["chat.example", "192.0.2.7"], NOW_S);
        assert_eq!(same_ca, ca);
        assert_ne!(named, server);
        assert_eq!(ensure(&folder, &["192.0.2.7"], NOW_S)[1], named);
        std::fs::write(folder.path.join(SERVER_KEY), "broken").unwrap();
        let [_, repaired] = ensure(&folder, &[], NOW_S);
        assert_ne!(repaired, named);
        let [new_ca, new_server] = ensure(&folder, &[], NOW_S + 3630 * DAY_S);
        assert!(new_ca != ca && new_server != repaired);
    }

    #[test]
    fn impossible_names_and_folders_are_named() {
        let folder = TempFolder::new();
        let bad = ensure_local_certificate(&folder.path, &["höst".to_owned()], NOW_S).unwrap_err();
        assert!(bad.to_string().contains("höst"));
        let file = folder.path.join("file");
        std::fs::write(&file, "").unwrap();
        let error = ensure_local_certificate(&file, &[], NOW_S).unwrap_err();
        assert!(error.to_string().contains("cannot write"));
    }
}
