//! The data plane's questions. What needs no clock is asked in the round trip that begins the transaction.

use schema_wire::record::{StoreReply, StoreRequest};

use super::fault::Failed;
use super::recover::{self, Ground};
use super::transaction::Tx;
use super::{generation, standing, stream};

/// What the first round trip brought.
pub enum First {
    /// All there is to say.
    Reply(StoreReply),
    /// What a page is read by.
    Ground(Ground),
    Nothing,
}

/// Asks what needs no clock.
pub async fn first(tx: &Tx, request: &StoreRequest) -> Result<First, Failed> {
    Ok(First::Reply(match request {
        StoreRequest::Attach { .. } => return Ok(First::Nothing),
        StoreRequest::Recover { user, conversation, .. } => {
            return Ok(First::Ground(recover::ground(tx, Some(*user), *conversation).await?));
        }
        StoreRequest::Read { conversation, .. } => {
            return Ok(First::Ground(recover::ground(tx, None, *conversation).await?));
        }
        StoreRequest::Standing { user, conversation, after } => {
            StoreReply::Standing(standing::standing(tx, *user, *conversation, *after).await?)
        }
        StoreRequest::Members { conversation, since } => {
            StoreReply::Members(standing::members(tx, *conversation, *since).await?)
        }
        StoreRequest::Heads { conversations } => StoreReply::Heads {
            generation: generation::current(tx).await?,
            heads: standing::heads(tx, conversations).await?,
        },
        StoreRequest::UserEvents { user, after, limit } => {
            StoreReply::UserEvents(stream::events(tx, *user, *after, *limit).await?)
        }
        StoreRequest::Acquaintances { user, others } => {
            StoreReply::Acquaintances(standing::acquaintances(tx, *user, others).await?)
        }
        StoreRequest::Append(_) | StoreRequest::MoveCursor { .. } => {
            unreachable!("`ask` sends these to what writes")
        }
    }))
}

/// What a request that only reads is answered, once the clock is known.
pub async fn answer(tx: &Tx, request: &StoreRequest, first: First, now: u64) -> Result<StoreReply, Failed> {
    Ok(match (request, first) {
        (StoreRequest::Attach { user, device, address }, _) => {
            StoreReply::Attach(standing::attach(tx, *user, *device, *address, now).await?)
        }
        (StoreRequest::Recover { conversation, from, limit, backwards, .. }, First::Ground(ground)) => {
            let wish = (*from, *limit, *backwards);
            StoreReply::Recover(recover::recover_on(tx, ground, *conversation, wish, now).await?)
        }
        (StoreRequest::Read { conversation, from, limit }, First::Ground(ground)) => {
            StoreReply::Read(recover::read_on(tx, ground, *conversation, (*from, *limit), now).await?)
        }
        (_, First::Reply(reply)) => reply,
        (_, First::Ground(_) | First::Nothing) => unreachable!("`first` asked for what this request needs"),
    })
}
