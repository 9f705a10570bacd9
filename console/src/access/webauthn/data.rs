//! What a browser says it was asked (§5.8.1), and what an authenticator says about itself (§6.1).

use serde::Deserialize;

use super::cbor::Reader;

/// Flags of §6.1.
const PRESENT: u8 = 0x01;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

/// Lengths of a credential's id (§6.5.1 has no least one; one that can be guessed is of no use).
const CREDENTIAL_BYTES: std::ops::RangeInclusive<usize> = 16..=1023;
/// Length of the hash of a relying party's id.
const HASH_BYTES: usize = 32;
/// Length of the number of an authenticator's model.
const MODEL_BYTES: usize = 16;

/// Which ceremony it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ceremony {
    Create,
    Get,
}

impl Ceremony {
    /// As browsers name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "webauthn.create",
            Self::Get => "webauthn.get",
        }
    }
}

/// What a browser says it was asked.
#[derive(Deserialize)]
pub(super) struct ClientData {
    #[serde(rename = "type")]
    pub ceremony: String,
    pub challenge: String,
    pub origin: String,
    #[serde(rename = "crossOrigin")]
    pub cross_origin: Option<bool>,
    #[serde(rename = "topOrigin")]
    pub top_origin: Option<String>,
}

impl ClientData {
    /// From its JSON. Unknown members are what later browsers say.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        serde_json::from_slice(bytes).ok()
    }
}

/// What an authenticator says.
pub(super) struct AuthenticatorData<'a> {
    pub party_hash: &'a [u8],
    flags: u8,
    pub sign_count: u32,
    pub attested: Option<Attested<'a>>,
}

/// A credential it made.
pub(super) struct Attested<'a> {
    pub id: &'a [u8],
    /// A COSE key.
    pub public_key: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// The whole of it, or `None`.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let party_hash = reader.take(HASH_BYTES)?;
        let flags = reader.take(1)?[0];
        let sign_count = u32::from_be_bytes(reader.take(4)?.try_into().ok()?);
        let attested = if flags & ATTESTED == 0 { None } else { Some(Attested::read(&mut reader)?) };
        if flags & EXTENSIONS != 0 {
            reader.skip()?;
        }
        reader.rest.is_empty().then_some(Self { party_hash, flags, sign_count, attested })
    }

    pub fn is_present(&self) -> bool {
        self.flags & PRESENT != 0
    }

    pub fn may_be_backed_up(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }

    pub fn is_backed_up(&self) -> bool {
        self.flags & BACKED_UP != 0
    }
}

impl<'a> Attested<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        reader.take(MODEL_BYTES)?;
        let length = usize::from(u16::from_be_bytes(reader.take(2)?.try_into().ok()?));
        let id = reader.take(length).filter(|id| CREDENTIAL_BYTES.contains(&id.len()))?;
        let before = reader.rest;
        reader.skip()?;
        Some(Self { id, public_key: &before[..before.len() - reader.rest.len()] })
    }
}

/// The authenticator's data of an attestation object (§6.5); its statement is passed over.
pub(super) fn of_attestation(bytes: &[u8]) -> Option<AuthenticatorData<'_>> {
    let mut reader = Reader::new(bytes);
    let mut found = None;
    for _ in 0..reader.map().filter(|entries| *entries == 3)? {
        match reader.text()? {
            "authData" if found.is_none() => found = Some(reader.bytes()?),
            "fmt" | "attStmt" => reader.skip()?,
            _ => return None,
        }
    }
    if !reader.rest.is_empty() {
        return None;
    }
    AuthenticatorData::read(found?)
}
