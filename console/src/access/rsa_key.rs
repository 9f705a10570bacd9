//! RSA keys: reading PEM files, making one, and naming a public key by its RFC 7638 thumbprint.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};

/// Smallest modulus that is accepted, in bits.
const MODULUS_BITS_MIN: usize = 2048;

/// Why a key can't be used. Never carries key material.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{path} is readable by everybody; run: chmod 600 {path}")]
    Exposed { path: String },
    #[error("{path}: {problem}")]
    Unusable { path: String, problem: &'static str },
}

/// A public key, as JWKS shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicKey {
    /// RFC 7638 thumbprint (SHA-256, base64url).
    pub kid: String,
    /// Modulus and exponent, base64url without padding.
    pub n: String,
    pub e: String,
    /// Bits of the modulus.
    pub bits: usize,
}

/// A private key in PEM, and its public half.
pub struct PrivateKey {
    pub pem: Vec<u8>,
    pub public: PublicKey,
}

/// Reads a file that must not be readable by everybody.
pub fn read_guarded(path: &Path) -> Result<Vec<u8>, KeyFault> {
    let file = |source| KeyFault::File { path: path.display().to_string(), source };
    let mode = fs::metadata(path).map_err(file)?.permissions().mode();
    if mode & 0o004 != 0 {
        return Err(KeyFault::Exposed { path: path.display().to_string() });
    }
    fs::read(path).map_err(file)
}

/// Reads a private key (PKCS#8 or PKCS#1 PEM).
pub fn read_private(path: &Path) -> Result<PrivateKey, KeyFault> {
    let unusable = |problem| KeyFault::Unusable { path: path.display().to_string(), problem };
    let pem = read_guarded(path)?;
    let pair = match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(PrivateKeyDer::Pkcs8(der)) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        Ok(PrivateKeyDer::Pkcs1(der)) => KeyPair::from_der(der.secret_pkcs1_der()),
        Ok(_) => return Err(unusable("not an RSA key; make one with: openssl genrsa -out KEY.pem 4096")),
        Err(_) => {
            return Err(unusable(
                "not a private key in PEM; make one with: openssl genrsa -out KEY.pem 4096",
            ));
        }
    }
    .map_err(|_| unusable("not an RSA private key of 2048 to 8192 bits"))?;
    let public = public_from_pkcs1(pair.public_key().as_ref())
        .ok_or_else(|| unusable("its public half can't be read"))?;
    if public.bits < MODULUS_BITS_MIN {
        return Err(unusable("too short: at least 2048 bits are needed, 4096 are recommended"));
    }
    Ok(PrivateKey { pem, public })
}

/// Reads a public key (`BEGIN PUBLIC KEY`), as `openssl rsa -pubout` writes it.
pub fn read_public(path: &Path) -> Result<PublicKey, KeyFault> {
    let unusable = |problem| KeyFault::Unusable { path: path.display().to_string(), problem };
    let pem = fs::read(path).map_err(|source| KeyFault::File { path: path.display().to_string(), source })?;
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(&pem)
        .map_err(|_| unusable("not a public key in PEM; make one with: openssl rsa -in KEY.pem -pubout"))?;
    let public = public_from_spki(spki.as_ref()).ok_or_else(|| unusable("not an RSA public key"))?;
    if public.bits < MODULUS_BITS_MIN {
        return Err(unusable("too short: at least 2048 bits are needed"));
    }
    Ok(public)
}

/// Makes a private key file (mode 0600) unless it is there. Embedded mode takes 3072 bits: as strong as needed until
/// 2030 and made in a second; production keys come from a file with 4096.
pub fn ensure_private(path: &Path) -> Result<(), KeyFault> {
    let file = |source| KeyFault::File { path: path.display().to_string(), source };
    if path.exists() {
        return Ok(());
    }
    let pair = KeyPair::generate(KeySize::Rsa3072).map_err(|_| KeyFault::Unusable {
        path: path.display().to_string(),
        problem: "an RSA key could not be made",
    })?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| KeyFault::Unusable {
        path: path.display().to_string(),
        problem: "an RSA key could not be encoded",
    })?;
    write_private(path, pem("PRIVATE KEY", der.as_ref()).as_bytes()).map_err(file)
}

/// Writes a file nobody else may read, whole or not at all.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    write_whole(path, content, 0o600)
}

/// Writes a file everybody may read, whole or not at all.
pub fn write_public(path: &Path, content: &[u8]) -> io::Result<()> {
    write_whole(path, content, 0o644)
}

fn write_whole(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    let named = |folder: &&Path| !folder.as_os_str().is_empty();
    let mut folders = path.ancestors().skip(1).filter(named);
    // A name that is not synced goes with the power. The folder's own may be in one that we may not read.
    folders.next().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())?;
    let _ = folders.next().map(|around| fs::File::open(around)?.sync_all());
    Ok(())
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// From an RSAPublicKey (RFC 8017, appendix A.1.1): a sequence of modulus and exponent.
fn public_from_pkcs1(der: &[u8]) -> Option<PublicKey> {
    let (sequence, rest) = der_take(der, 0x30)?;
    let (modulus, after) = der_take(sequence, 0x02)?;
    let (exponent, end) = der_take(after, 0x02)?;
    if !rest.is_empty() || !end.is_empty() {
        return None;
    }
    let (modulus, exponent) = (unsigned(modulus)?, unsigned(exponent)?);
    let (n, e) = (URL_SAFE_NO_PAD.encode(modulus), URL_SAFE_NO_PAD.encode(exponent));
    // RFC 7638: required members only, in lexicographic order, no whitespace.
    let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)));
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    Some(PublicKey { kid, n, e, bits })
}

/// From a SubjectPublicKeyInfo (RFC 5280 §4.1) that names rsaEncryption.
fn public_from_spki(der: &[u8]) -> Option<PublicKey> {
    const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (outer, _) = der_take(der, 0x30)?;
    let (algorithm, after) = der_take(outer, 0x30)?;
    let (oid, _) = der_take(algorithm, 0x06)?;
    let (bits, _) = der_take(after, 0x03)?;
    (oid == RSA_ENCRYPTION && bits.first() == Some(&0)).then_some(())?;
    public_from_pkcs1(&bits[1..])
}

/// The content of the element with this tag, and what follows it.
fn der_take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}

fn unsigned(integer: &[u8]) -> Option<&[u8]> {
    let trimmed = &integer[integer.iter().position(|byte| *byte != 0)?..];
    Some(trimmed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_the_one_of_rfc_7638() {
        // The key of RFC 7638 §3.1, wrapped into DER.
        let n = URL_SAFE_NO_PAD
            .decode("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
            .unwrap();
        let mut integers = vec![0x02, 0x82, 0x01, 0x01, 0x00];
        integers.extend(&n);
        integers.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        let mut der = vec![0x30, 0x82];
        der.extend((integers.len() as u16).to_be_bytes());
        der.extend(integers);
        let key = public_from_pkcs1(&der).unwrap();
        assert_eq!(key.kid, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!((key.e.as_str(), key.bits), ("AQAB", 2048));
        for cut in 0..der.len() {
            assert_eq!(public_from_pkcs1(&der[..cut]), None, "truncated at {cut}");
        }
    }
}
