//! TLS 1.3 for many connections at little cost: rustls shakes hands, then only keys, vectors and record numbers stay,
//! and records are opened in place.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::{ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::trust::Trust;

/// Bytes before a record's content.
pub const HEADER_BYTES: usize = 5;
/// Longest record: 2^14 bytes of content, 256 more for sealing.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + (1 << 14) + 256;

const TAG_BYTES: usize = 16;
const CONTENT_BYTES_MAX: usize = 1 << 14;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
const CLOSE_NOTIFY: u8 = 0;

/// Trust in the authorities of a PEM file; one cipher suite, so that both sides of a comparison do the same work.
///
/// # Errors
/// The file is missing or holds no certificate.
pub fn client_config(ca: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let named = || format!("{}, the certificate authority of the plan", ca.display());
    for certificate in CertificateDer::pem_file_iter(ca).with_context(named)? {
        roots.add(certificate.with_context(named)?).with_context(named)?;
    }
    ensure!(!roots.is_empty(), "no certificate in {}", named());
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Trust::new(roots, provider)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_secret_extraction = true;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// What a record held.
#[derive(Debug)]
pub enum Content<'a> {
    Data(&'a [u8]),
    /// A ticket, or padding of the handshake.
    Nothing,
    /// The server said that it sends no more.
    End,
}

/// Keys of a connection whose handshake is over.
pub struct Keys {
    open: Direction,
    seal: Direction,
}

struct Direction {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    /// Records so far.
    sequence: u64,
}

impl Keys {
    /// Takes them from a connection that has nothing left to write.
    ///
    /// # Errors
    /// The handshake is not over, or chose another cipher.
    #[allow(
        deprecated,
        reason = "tickets are skipped and key updates refused, which is all that the other one adds"
    )]
    pub fn extract(connection: ClientConnection) -> Result<Self> {
        let secrets = connection.dangerous_extract_secrets()?;
        Ok(Self { open: Direction::new(secrets.rx)?, seal: Direction::new(secrets.tx)? })
    }

    /// Opens a whole record in place.
    ///
    /// # Errors
    /// It was forged or damaged, or is an alert, or asks for new keys.
    pub fn open<'a>(&mut self, record: &'a mut [u8]) -> Result<Content<'a>> {
        let (header, sealed) = record.split_at_mut(HEADER_BYTES);
        match header[0] {
            APPLICATION_DATA => {}
            CHANGE_CIPHER_SPEC => return Ok(Content::Nothing),
            kind => bail!("a TLS record of type {kind} after the handshake"),
        }
        let direction = &mut self.open;
        let opened = direction.key.open_in_place(direction.nonce(), Aad::from(&*header), sealed);
        direction.sequence += 1;
        let mut opened: &[u8] = opened.map_err(|_| anyhow!("a TLS record that does not open"))?;
        loop {
            match opened {
                [content @ .., 0] => opened = content,
                [content @ .., APPLICATION_DATA] => return Ok(Content::Data(content)),
                [content @ .., HANDSHAKE] => return handshake(content),
                [content @ .., ALERT] => return alert(content),
                _ => bail!("a TLS record without a content type"),
            }
        }
    }

    /// Appends bytes as records.
    pub fn seal(&mut self, content: &[u8], out: &mut Vec<u8>) {
        for content in content.chunks(CONTENT_BYTES_MAX) {
            let length = (content.len() + 1 + TAG_BYTES) as u16;
            let header = [APPLICATION_DATA, 3, 3, (length >> 8) as u8, length as u8];
            out.extend_from_slice(&header);
            let at = out.len();
            out.extend_from_slice(content);
            out.push(APPLICATION_DATA);
            let direction = &mut self.seal;
            let tag = direction
                .key
                .seal_in_place_separate_tag(direction.nonce(), Aad::from(header), &mut out[at..])
                .expect("a record is far below the cipher's limit");
            direction.sequence += 1;
            out.extend_from_slice(tag.as_ref());
        }
    }
}

impl Direction {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self> {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            bail!("the handshake chose a cipher that was not offered");
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).map_err(|_| anyhow!("a key of 16 bytes"))?;
        let iv = iv.as_ref().try_into().context("a vector of 12 bytes")?;
        Ok(Self { key: LessSafeKey::new(key), iv, sequence })
    }

    fn nonce(&self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

fn handshake(content: &[u8]) -> Result<Content<'_>> {
    match content.first() {
        Some(&NEW_SESSION_TICKET) => Ok(Content::Nothing),
        Some(&KEY_UPDATE) => bail!("the server updates its TLS keys, which a load generator does not follow"),
        kind => bail!("a TLS handshake message of type {kind:?} after the handshake"),
    }
}

fn alert(content: &[u8]) -> Result<Content<'_>> {
    match content {
        [_, CLOSE_NOTIFY] => Ok(Content::End),
        _ => bail!("a TLS alert: {content:?}"),
    }
}

/// Length of the record that begins here, once its header is there.
///
/// # Errors
/// No record is that long.
pub fn record_bytes(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
    ensure!(
        length <= RECORD_BYTES_MAX,
        "{length} bytes are no TLS record; does the server speak TLS on this port?"
    );
    Ok((bytes.len() >= length).then_some(length))
}
