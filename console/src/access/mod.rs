//! Who may do what: passwords, tokens, keys, addresses and limits. No route and no store in here.

pub mod address;
pub mod csrf;
pub mod limit;
pub mod password;
pub mod rsa_key;
pub mod seal;
pub mod shared;
pub mod signing;
pub mod token;
pub mod totp;
pub mod webauthn;

pub use schema_store::secret;
