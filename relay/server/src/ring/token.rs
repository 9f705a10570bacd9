//! Decides how an operation in flight names itself to the kernel: kind, slot and generation in one `user_data`.

use super::slots::{GENERATION_BITS, SlotKey};

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    CancelAccept = 2,
    Receive = 3,
    Send = 4,
    CancelStream = 5,
    ReceiveDatagrams = 6,
    SendDatagrams = 7,
    CancelDatagrams = 8,
    Wake = 9,
    CancelAll = 10,
}

const KINDS: [Operation; 10] = [
    Operation::Accept,
    Operation::CancelAccept,
    Operation::Receive,
    Operation::Send,
    Operation::CancelStream,
    Operation::ReceiveDatagrams,
    Operation::SendDatagrams,
    Operation::CancelDatagrams,
    Operation::Wake,
    Operation::CancelAll,
];

const INDEX_BITS: u32 = 32;

pub(super) fn encode(operation: Operation, key: SlotKey) -> u64 {
    let index = u64::try_from(key.index()).expect("a slot index fits 32 bits");
    u64::from(operation as u8) << (INDEX_BITS + GENERATION_BITS)
        | u64::from(key.generation()) << INDEX_BITS
        | index
}

/// For operations that belong to the ring itself.
pub(super) fn encode_own(operation: Operation) -> u64 {
    encode(operation, SlotKey::from_parts(0, 0))
}

pub(super) fn decode(token: u64) -> (Operation, SlotKey) {
    let kind = (token >> (INDEX_BITS + GENERATION_BITS)) as usize;
    let operation = *KINDS.get(kind.wrapping_sub(1)).expect("every entry is submitted with an encoded token");
    let generation = (token >> INDEX_BITS) as u32;
    (operation, SlotKey::from_parts(token as u32, generation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_with_its_slot() {
        let key = SlotKey::from_parts(0xfedc_ba98, 0x00ab_cdef);
        for (place, operation) in KINDS.into_iter().enumerate() {
            assert_eq!(operation as usize, place + 1);
            assert_eq!(decode(encode(operation, key)), (operation, key));
        }
    }
}
