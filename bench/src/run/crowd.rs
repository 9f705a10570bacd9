//! The rooms of a plan: conversations of the store, with the tokens of those who subscribe and of those who publish.

use anyhow::Result;
pub use drill::crowd::{Crowd, Mint, Seats};

use crate::plan::Room;

/// The rooms that `seats` of a crowd make.
pub fn rooms(crowd: &Crowd, seats: Seats, mint: &Mint) -> Result<Vec<Room>> {
    let room = |(conversation, tokens): (schema_wire::ConversationId, Vec<String>)| {
        let (subscribers, publishers) = tokens.split_at(seats.subscribers);
        Room {
            conversation: conversation.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
            subscribers: subscribers.to_vec(),
            publishers: publishers.to_vec(),
        }
    };
    Ok(crowd.tokens(mint)?.into_iter().map(room).collect())
}
