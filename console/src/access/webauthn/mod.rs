//! Security keys: what a relying party of Web Authentication (W3C, Level 3) checks, and nothing else. Attestation is not
//! asked for and not looked at: whoever gave the right password may bring any key. Sans store and clock: who keeps
//! challenges, credentials and counters hands them in.
//!
//! User presence is demanded always. User verification (a PIN, a finger) is neither asked for nor demanded: a key is
//! only ever the second factor beside a password, which is what somebody knows.

mod cbor;
mod cose;
mod data;
mod party;
#[cfg(test)]
mod tests;

use data::{AuthenticatorData, Ceremony};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use cose::ALGORITHMS;
pub use party::{NoParty, RelyingParty};

/// Bytes of a challenge (§13.4.3 asks for 16 at least).
pub const CHALLENGE_BYTES: usize = 32;

/// A fresh challenge.
pub fn new_challenge() -> [u8; CHALLENGE_BYTES] {
    let mut challenge = [0; CHALLENGE_BYTES];
    getrandom::fill(&mut challenge).expect("the operating system gives random bytes");
    challenge
}

/// Bytes as they travel in JSON: base64url without padding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Text64(pub Vec<u8>);

impl Serialize for Text64 {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Text64 {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        URL_SAFE_NO_PAD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What a browser brings back from `navigator.credentials.create()`.
#[derive(Clone, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    pub client: Text64,
    pub attestation: Text64,
}

/// What a browser brings back from `navigator.credentials.get()`.
#[derive(Clone, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    pub credential: Text64,
    pub client: Text64,
    pub data: Text64,
    pub signature: Text64,
}

/// A credential that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credential {
    pub id: Vec<u8>,
    /// A COSE key that is understood.
    pub public_key: Vec<u8>,
    pub sign_count: u32,
    /// Whether it may be copied to another device; it never changes.
    pub backup_eligible: bool,
}

/// What is kept of a credential, for an assertion to be held against.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub public_key: &'a [u8],
    /// `None`: it was not asked yet.
    pub backup_eligible: Option<bool>,
}

/// What an assertion says that is worth keeping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    pub sign_count: u32,
    pub backup_eligible: bool,
}

/// Why a credential is not taken. For the log and for tests; people are told that it did not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Mismatch {
    #[error("what the browser says it was asked is malformed")]
    ClientData,
    #[error("it was made for another ceremony")]
    Ceremony,
    #[error("it answers another challenge")]
    Challenge,
    #[error("it was made on another site")]
    Origin,
    #[error("it was made inside a page of another site")]
    Framed,
    #[error("the authenticator's data are malformed")]
    AuthenticatorData,
    #[error("it is bound to another site")]
    RelyingParty,
    #[error("nobody touched the authenticator")]
    Presence,
    #[error("it says to be backed up although it can't be")]
    BackupState,
    #[error("it says of backups something else than when it was made")]
    BackupEligibility,
    #[error("it holds no credential")]
    NoCredential,
    #[error("its key is malformed, or of a kind that was not asked for")]
    Key,
    #[error("the signature is wrong")]
    Signature,
}

impl RelyingParty {
    /// Registering a new credential (§7.1, steps 5 to 24 without attestation): what is to be kept of it.
    ///
    /// # Errors
    /// It does not answer this challenge, from this site, with a key that is understood.
    pub fn register(&self, made: &Attestation, challenge: &[u8]) -> Result<Credential, Mismatch> {
        self.check_client(&made.client.0, Ceremony::Create, challenge)?;
        let data = data::of_attestation(&made.attestation.0).ok_or(Mismatch::AuthenticatorData)?;
        let data = self.check_authenticator(data)?;
        let backup_eligible = data.may_be_backed_up();
        let attested = data.attested.ok_or(Mismatch::NoCredential)?;
        cose::Key::read(attested.public_key).ok_or(Mismatch::Key)?;
        Ok(Credential {
            id: attested.id.to_vec(),
            public_key: attested.public_key.to_vec(),
            sign_count: data.sign_count,
            backup_eligible,
        })
    }

    /// Verifying an authentication assertion (§7.2, steps 7 to 22). Whether the signature counter grew is for whoever
    /// keeps it.
    ///
    /// # Errors
    /// It does not answer this challenge, from this site, with this key.
    pub fn verify(
        &self,
        shown: &Assertion,
        known: Known<'_>,
        challenge: &[u8],
    ) -> Result<Verified, Mismatch> {
        self.check_client(&shown.client.0, Ceremony::Get, challenge)?;
        let data = AuthenticatorData::read(&shown.data.0).ok_or(Mismatch::AuthenticatorData)?;
        let data = self.check_authenticator(data)?;
        let backup_eligible = data.may_be_backed_up();
        if known.backup_eligible.is_some_and(|kept| kept != backup_eligible) {
            return Err(Mismatch::BackupEligibility);
        }
        let key = cose::Key::read(known.public_key).ok_or(Mismatch::Key)?;
        let signed = [&shown.data.0[..], &Sha256::digest(&shown.client.0)].concat();
        if !key.verifies(&signed, &shown.signature.0) {
            return Err(Mismatch::Signature);
        }
        Ok(Verified { sign_count: data.sign_count, backup_eligible })
    }

    /// §7.1 steps 5 to 11, §7.2 steps 8 to 14.
    fn check_client(&self, client: &[u8], ceremony: Ceremony, challenge: &[u8]) -> Result<(), Mismatch> {
        let client = data::ClientData::read(client).ok_or(Mismatch::ClientData)?;
        if client.ceremony != ceremony.name() {
            return Err(Mismatch::Ceremony);
        }
        if client.challenge != URL_SAFE_NO_PAD.encode(challenge) {
            return Err(Mismatch::Challenge);
        }
        if client.origin != self.origin {
            return Err(Mismatch::Origin);
        }
        if client.cross_origin == Some(true) || client.top_origin.is_some() {
            return Err(Mismatch::Framed);
        }
        Ok(())
    }

    /// §7.1 steps 14 to 17, §7.2 steps 15 to 18.
    fn check_authenticator<'a>(
        &self,
        data: AuthenticatorData<'a>,
    ) -> Result<AuthenticatorData<'a>, Mismatch> {
        if *data.party_hash != Sha256::digest(&self.id)[..] {
            return Err(Mismatch::RelyingParty);
        }
        if !data.is_present() {
            return Err(Mismatch::Presence);
        }
        if data.is_backed_up() && !data.may_be_backed_up() {
            return Err(Mismatch::BackupState);
        }
        Ok(data)
    }
}
