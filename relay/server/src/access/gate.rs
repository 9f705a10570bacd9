//! Who may attach: decides with the verifier in use, which changes when key files do. Shared by all shards.

use std::sync::Arc;

use arc_swap::ArcSwap;
use relay_proto::event::Claims;
use schema_wire::Refused;

use super::{AccessError, Verifier};

/// Who may attach: the token verifier in use, swapped when key files change.
pub struct Gate {
    verifier: ArcSwap<Verifier>,
}

impl Gate {
    /// A gate that opens to tokens of `verifier`.
    pub fn new(verifier: Arc<Verifier>) -> Self {
        Self { verifier: ArcSwap::new(verifier) }
    }

    /// Uses other keys from now on.
    pub fn swap(&self, verifier: Arc<Verifier>) {
        self.verifier.store(verifier);
    }

    /// Verifies a token. The error that is counted, and the refusal that is told.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Claims, (AccessError, Refused)> {
        match self.verifier.load().verify(token, now_unix_s) {
            Ok(claims) => Ok(claims.into()),
            Err(error) => Err((error, error.into())),
        }
    }
}
