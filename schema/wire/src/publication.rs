//! A durable message on its way from its home shard to the subscribers' shards.

use alloc::sync::Arc;
use bytes::Bytes;

use crate::frame::{Frame, Lane};
use crate::id::{ConversationId, DeviceId, Generation, Offset, PublishKey, SessionId, UserId};
use crate::v1::{Delivery, ServerFrame, server_frame};

/// Kinds the relay acts on; 16 and up belong to clients.
pub mod kind {
    /// An ordinary message.
    pub const MESSAGE: u32 = 0;
    /// Delete-for-everyone of `relates_to`.
    pub const DELETE: u32 = 1;
    /// A call invitation, kept for 60 s.
    pub const RING: u32 = 2;
    /// First kind that belongs to clients.
    pub const CLIENT_MIN: u32 = 16;
}

/// One stored message as every shard of every node sees it. The frame is encoded once.
#[derive(Clone, Debug)]
pub struct Publication {
    pub conversation: ConversationId,
    pub generation: Generation,
    pub offset: Offset,
    pub kind: u32,
    pub sender: UserId,
    pub device: DeviceId,
    /// Unix milliseconds, the store's clock.
    pub at: u64,
    pub relates_to: Option<Offset>,
    /// Unix milliseconds.
    pub expires_at: Option<u64>,
    pub publish_key: PublishKey,
    /// The conversation's membership version when this was appended: whoever knows an older one must look again
    /// before delivering.
    pub members_version: u64,
    /// The session that published it on this node, which gets the ack and not the delivery.
    pub origin: Option<SessionId>,
    /// What every recipient gets.
    pub frame: Frame,
}

/// What a publication shares between shards.
pub type Shared = Arc<Publication>;

/// The delivery of a message. Builds the only copy of the bytes that fan-out needs.
pub fn delivery_frame(delivery: Delivery) -> Frame {
    let lane = ConversationId::from_slice(&delivery.conversation)
        .map_or(Lane::Control, |c| Lane::Conversation(c.spread()));
    Frame::new(
        &ServerFrame { answers: 0, body: Some(server_frame::Body::Delivery(delivery)), ..Default::default() },
        lane,
    )
}

/// The fields of a delivery, from a stored message.
#[allow(clippy::too_many_arguments)]
pub fn delivery(
    conversation: ConversationId,
    generation: Generation,
    offset: Offset,
    kind: u32,
    (sender, device): (UserId, DeviceId),
    at: u64,
    (relates_to, expires_at): (Option<Offset>, Option<u64>),
    publish_key: PublishKey,
    body: Bytes,
) -> Delivery {
    Delivery {
        conversation: conversation.to_bytes(),
        generation: generation.0,
        offset: offset.0,
        kind,
        sender: sender.to_bytes(),
        device: device.to_bytes(),
        at,
        relates_to: relates_to.map(|o| o.0),
        expires_at,
        stamp: None,
        body,
        publish_key: publish_key.to_bytes(),
        ..Default::default()
    }
}
