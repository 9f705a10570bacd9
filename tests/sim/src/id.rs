//! Names in a simulated world: every id carries its index, so that a report can say `u2` and `c1`.

use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};

fn bytes(index: u32, serial: u32, salt: u64) -> [u8; 16] {
    let mut out = [0u8; 16];
    out[..4].copy_from_slice(&index.to_be_bytes());
    out[4..8].copy_from_slice(&serial.to_be_bytes());
    out[8..].copy_from_slice(&salt.to_be_bytes());
    out
}

/// The index in an id of this world.
pub fn index(id: &[u8; 16]) -> usize {
    u32::from_be_bytes([id[0], id[1], id[2], id[3]]) as usize
}

/// The user of that index. The salt makes homes differ from world to world.
pub fn user(index: usize, salt: u64) -> UserId {
    UserId(bytes(index as u32, 1, salt))
}

/// The device of that index, counted over all users.
pub fn device(index: usize, salt: u64) -> DeviceId {
    DeviceId(bytes(index as u32, 2, salt))
}

/// The conversation of that index.
pub fn conversation(index: usize, salt: u64) -> ConversationId {
    ConversationId(bytes(index as u32, 3, salt.rotate_left(index as u32 * 7)))
}

/// The publish key of a device's `serial`-th message.
pub fn key(device: usize, serial: u32, salt: u64) -> PublishKey {
    PublishKey(bytes(device as u32, serial, salt))
}
