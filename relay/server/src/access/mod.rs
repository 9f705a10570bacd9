//! Who a connection speaks for: verification of access tokens (RFC 7519) and the keys that is done with.
//! The console signs; the relay holds public keys only, and picks key and algorithm by `kid`, never by `alg`.

mod error;
mod files;
mod gate;
mod keys;
#[cfg(test)]
mod tests;
mod verify;

pub use error::{AccessError, KeyError};
pub use files::{AccessConfig, IssuerConfig, KeyFiles, LegacyKey};
pub use gate::Gate;
pub use keys::{KEYS_MAX, KeyRing};
pub use schema_store::secret::{SECRET_BYTES_MIN, Secret, WeakSecret};
pub use verify::{Claims, LEEWAY_S_DEFAULT, LEEWAY_S_MAX, TOKEN_BYTES_MAX, Verifier};
