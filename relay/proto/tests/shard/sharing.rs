//! What readers share: however many there are, a message is encoded once.

use std::collections::BTreeSet;

use relay_proto::Limits;
use schema_wire::frame::Lane;
use schema_wire::{Encoding, Frame};

use crate::node::{Node, conversation, user};

const SHARDS: u16 = 3;
const READERS: u8 = 60;

#[test]
fn one_copy_of_a_message_serves_every_reader_of_every_shard() {
    let mut node = Node::new(SHARDS, Limits::default());
    for n in 1..=READERS + 1 {
        node.store.join(conversation(9), user(n));
    }
    let author = node.attach(0, READERS + 1, 1);
    let readers: Vec<_> = (1..=READERS).map(|n| node.attach(u16::from(n) % SHARDS, n, n + 1)).collect();
    for reader in &readers {
        node.subscribe(*reader, 9, None);
    }
    node.stuck.extend(&readers);
    node.publish(author, 9, 1);
    let mut frames: Vec<Frame> = Vec::new();
    for reader in readers {
        let shard = &mut node.shards[usize::from(reader.shard().0)];
        let waiting = shard.outbox(reader);
        frames.extend(waiting.filter(|frame| matches!(frame.lane(), Lane::Conversation(_))));
    }
    assert_eq!(frames.len(), usize::from(READERS), "one frame for each reader");
    let bytes: BTreeSet<_> = frames.iter().map(|frame| frame.websocket(Encoding::Proto).as_ptr()).collect();
    assert_eq!(bytes.len(), 1, "all of them the same bytes");
    assert!(frames[0].references() >= frames.len(), "held together");
}
