//! Decides the life of a session after its handshake: application bytes both ways, new keys when they are due or
//! asked for, alerts, and the end.

use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{AlertDescription, Error, InvalidMessage, PeerMisbehaved, SupportedCipherSuite};

use super::super::fault::TlsFault;
use super::open::{Opened, Opener, read_alert};
use super::seal::{KeySpent, Sealer};
use super::{ALERT, Breach, HANDSHAKE, Version};

/// A key is exchanged when it has fewer records left than one flush may need.
const RECORDS_SPARE: u64 = 65_536;
/// Empty records, or requests for new keys, that may follow each other without application bytes.
const IDLE_RECORDS_MAX: u8 = 32;

/// A `KeyUpdate` message without its last byte, which says whether the peer shall follow (RFC 8446 section 4.6.3).
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

const WARNING: u8 = 1;
const FATAL: u8 = 2;

pub(in super::super) struct Established {
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
    /// Derives the keys that follow these.
    keys: Box<KernelConnection<ServerConnectionData>>,
    version: Version,
    idle_records: u8,
    update_due: bool,
}

impl Established {
    /// Takes over from rustls at the end of the handshake.
    pub(in super::super) fn take_over(connection: UnbufferedServerConnection) -> Result<Self, Error> {
        let (secrets, keys) = connection.dangerous_into_kernel_connection()?;
        let version = Version::of(keys.protocol_version())?;
        let records_max = match keys.negotiated_cipher_suite() {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        };
        Ok(Self {
            sealer: Sealer::new(version, secrets.tx.0, &secrets.tx.1, records_max)?,
            opener: Opener::new(version, secrets.rx.0, &secrets.rx.1)?,
            keys: Box::new(keys),
            version,
            idle_records: 0,
            update_due: false,
        })
    }

    /// Works through all complete records. Returns how many bytes they were and whether the peer has closed.
    pub(in super::super) fn read(
        &mut self,
        incoming: &mut [u8],
        plaintext: &mut impl FnMut(&[u8]),
        outgoing: &mut Vec<u8>,
    ) -> Result<(usize, bool), Breach> {
        let mut taken = 0;
        while let Some(len) = self.opener.record_len(&incoming[taken..])? {
            let Some(record) = incoming.get_mut(taken..taken + len) else { break };
            taken += len;
            match self.opener.open(record)? {
                Opened::Application(content) if !content.is_empty() => {
                    self.idle_records = 0;
                    plaintext(content);
                }
                Opened::Application(_) => self.count_idle(PeerMisbehaved::TooManyEmptyFragments)?,
                Opened::Alert(content) => match read_alert(content)? {
                    AlertDescription::CloseNotify => return Ok((incoming.len(), true)),
                    AlertDescription::UserCanceled => {
                        self.count_idle(PeerMisbehaved::TooManyWarningAlertsReceived)?;
                    }
                    told => {
                        let error = Error::AlertReceived(told);
                        return Err(Breach { error, alert: AlertDescription::CloseNotify });
                    }
                },
                Opened::Handshake(content) => {
                    let request = read_key_update(self.version, content)?;
                    self.count_idle(PeerMisbehaved::TooManyKeyUpdateRequests)?;
                    self.follow_key_update(request)?;
                }
            }
        }
        self.answer_key_update(outgoing)?;
        Ok((taken, false))
    }

    fn count_idle(&mut self, misbehaved: PeerMisbehaved) -> Result<(), Breach> {
        self.idle_records += 1;
        if self.idle_records > IDLE_RECORDS_MAX {
            return Err(Breach::new(misbehaved, AlertDescription::UnexpectedMessage));
        }
        Ok(())
    }

    fn follow_key_update(&mut self, requested: bool) -> Result<(), Breach> {
        let internal = |error: Error| Breach::new(error, AlertDescription::InternalError);
        let (sequence, secrets) = self.keys.update_rx_secret().map_err(internal)?;
        self.opener = Opener::new(self.version, sequence, &secrets).map_err(internal)?;
        self.update_due |= requested;
        Ok(())
    }

    /// One answer serves all requests that arrived together.
    fn answer_key_update(&mut self, outgoing: &mut Vec<u8>) -> Result<(), Breach> {
        if std::mem::take(&mut self.update_due) {
            let internal = |_| Breach::new(Error::EncryptError, AlertDescription::InternalError);
            self.update_own_key(outgoing).map_err(internal)?;
        }
        Ok(())
    }

    /// Announces the next key under the present one and changes to it.
    fn update_own_key(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFault> {
        let [kind, a, b, c] = KEY_UPDATE;
        let message = [kind, a, b, c, UPDATE_NOT_REQUESTED];
        self.sealer.seal_one(HANDSHAKE, &message, out).map_err(|KeySpent| TlsFault::KeysExhausted)?;
        let (sequence, secrets) = self.keys.update_tx_secret()?;
        self.sealer = Sealer::new(self.version, sequence, &secrets, self.sealer.records_max())?;
        Ok(())
    }

    pub(in super::super) fn seal(
        &mut self,
        parts: impl Iterator<Item = impl AsRef<[u8]>>,
        out: &mut Vec<u8>,
    ) -> Result<(), TlsFault> {
        if self.sealer.records_left < RECORDS_SPARE && self.version == Version::Tls13 {
            self.update_own_key(out)?;
        }
        self.sealer.seal(parts, out).map_err(|KeySpent| TlsFault::KeysExhausted)
    }

    pub(in super::super) fn close_notify(&mut self, out: &mut Vec<u8>) -> Result<(), TlsFault> {
        let message = [WARNING, AlertDescription::CloseNotify.into()];
        self.sealer.seal_one(ALERT, &message, out).map_err(|KeySpent| TlsFault::KeysExhausted)
    }

    /// Tells the peer why the session ends. A peer that ended it itself is told that we do, too.
    pub(in super::super) fn alert(&mut self, breach: &Breach, out: &mut Vec<u8>) {
        let level = if breach.alert == AlertDescription::CloseNotify { WARNING } else { FATAL };
        // Without a key left the connection just ends.
        let _ = self.sealer.seal_one(ALERT, &[level, breach.alert.into()], out);
    }
}

/// After the handshake a client sends nothing else of this kind. The message is five bytes and ends its record, since
/// the key changes behind it; a fragment of it is refused.
fn read_key_update(version: Version, content: &[u8]) -> Result<bool, Breach> {
    if version == Version::Tls12 {
        let error = InvalidMessage::UnexpectedMessage("renegotiation");
        return Err(Breach::new(error, AlertDescription::NoRenegotiation));
    }
    match content.strip_prefix(&KEY_UPDATE) {
        Some([UPDATE_NOT_REQUESTED]) => Ok(false),
        Some([UPDATE_REQUESTED]) => Ok(true),
        Some([_]) => Err(Breach::new(InvalidMessage::InvalidKeyUpdate, AlertDescription::IllegalParameter)),
        _ => Err(Breach::unexpected("handshake message other than KeyUpdate")),
    }
}
