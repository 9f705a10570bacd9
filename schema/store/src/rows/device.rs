//! Devices, sessions and key bundles. Keys are opaque bytes: the server can't use them.

use bytes::Bytes;
use schema_wire::{DeviceId, UserId};

use super::role::AccountRole;
use crate::token::NewToken;

/// A session about to be opened.
#[derive(Clone, PartialEq, Debug)]
pub struct NewSession {
    pub user: UserId,
    /// A device the user has had before; `None`, unknown or somebody else's: a new one is made.
    pub device: Option<DeviceId>,
    /// Shown in the device list, such as "Pixel 9".
    pub device_name: String,
    /// First refresh token of the family.
    pub refresh: NewToken,
    /// A fresh hash of the password just checked, when the parameters have changed.
    pub rehash: Option<String>,
}

/// What an access token may say.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionGrant {
    pub user: UserId,
    pub device: DeviceId,
    pub role: AccountRole,
    pub name: String,
}

/// A line of the device list.
#[derive(Clone, PartialEq, Debug)]
pub struct Device {
    pub id: DeviceId,
    pub name: String,
    pub created_at: u64,
    /// Last sign-in or token refresh, unix ms.
    pub last_seen_at: u64,
    pub has_keys: bool,
}

/// What a device publishes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct KeyUpload {
    /// `None` keeps the present one.
    pub identity: Option<Bytes>,
    /// One-time packages to add.
    pub packages: Vec<Bytes>,
    /// Handed out when the others ran out, and kept.
    pub last_resort: Option<Bytes>,
}

/// Unclaimed one-time packages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeysLeft {
    pub packages: u32,
    pub has_identity: bool,
    pub has_last_resort: bool,
}

/// A device's identity key.
#[derive(Clone, PartialEq, Debug)]
pub struct PublishedKey {
    pub device: DeviceId,
    pub identity: Bytes,
    /// Unix ms.
    pub published_at: u64,
}

/// What somebody gets to start a session with a device.
#[derive(Clone, PartialEq, Debug)]
pub struct ClaimedKey {
    pub identity: Bytes,
    pub package: Option<Bytes>,
    /// The package is the last-resort one: others may have it too.
    pub last_resort: bool,
}
