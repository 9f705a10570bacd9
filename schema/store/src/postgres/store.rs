//! The data plane's requests, each handed to what answers it.

use schema_wire::Network;
use schema_wire::record::{Append, Appended, Change, StoreFault, StoreReply, StoreRequest};

use super::append::{self, Patience};
use super::fault::Failed;
use super::server::Server;
use super::transaction::Tx;
use super::{PostgresStore, generation, recover, standing, stream};
use crate::accounts::{AccountError, Answer};
use crate::store::{ChangePosition, Store, Tried};

/// Batches under way at once: enough to have one written while others wait for their commit.
const LANES: usize = 4;

impl Store for PostgresStore {
    async fn append(&self, batch: Vec<Append>) -> Result<Vec<Appended>, StoreFault> {
        let (_, all) = self.append_with(batch, Patience::Wait).await?;
        Ok(all.into_iter().map(|outcome| outcome.expect("who waits leaves nothing undone")).collect())
    }

    async fn try_append(&self, batch: Vec<Append>) -> Result<Vec<Tried>, StoreFault> {
        let (batch, outcomes) = self.append_with(batch, Patience::Skip).await?;
        #[expect(clippy::result_large_err, reason = "the append must come back whole")]
        let tried = |(append, outcome): (Append, Option<Appended>)| outcome.ok_or(append);
        Ok(batch.into_iter().zip(outcomes).map(tried).collect())
    }

    fn lanes(&self) -> usize {
        LANES
    }

    async fn ask(&self, request: StoreRequest) -> StoreReply {
        let answer = match request {
            StoreRequest::Append(append) => Store::append(self, vec![append]).await.map(|mut outcomes| {
                StoreReply::Append(outcomes.pop().expect("a batch of one has one outcome"))
            }),
            StoreRequest::MoveCursor { user, conversation, offset, .. } => self
                .write(async move |tx, now| {
                    Ok(stream::move_cursor(tx, (user, conversation), offset, now).await?)
                })
                .await
                .map(|(moved, member)| StoreReply::MoveCursor { moved, member })
                .map_err(fault_of),
            other => self.look(other).await.map_err(fault_of),
        };
        answer.unwrap_or_else(StoreReply::Fault)
    }

    async fn changes(
        &self,
        after: ChangePosition,
        limit: u32,
    ) -> Result<(Vec<Change>, ChangePosition), StoreFault> {
        let look = async move |server: &Server| server.changes(after, limit).await;
        self.thread.call(look).await?.map_err(fault_of)
    }

    async fn banned(&self) -> Result<Vec<Network>, StoreFault> {
        self.read(async |tx: &Tx, now| Ok(standing::banned(tx, now).await?)).await.map_err(fault_of)
    }

    async fn check(&self) -> Result<(), StoreFault> {
        self.ready().await.map_err(fault_of)
    }
}

impl PostgresStore {
    async fn append_with(
        &self,
        batch: Vec<Append>,
        patience: Patience,
    ) -> Result<(Vec<Append>, append::Outcomes), StoreFault> {
        let work = async move |server: &Server| {
            let outcomes = append::append(server, &batch, patience).await?;
            Ok((batch, outcomes))
        };
        self.thread.call(work).await?.map_err(fault_of)
    }

    async fn look(&self, request: StoreRequest) -> Answer<StoreReply> {
        self.thread
            .call(async move |server| server.look(&request).await)
            .await
            .map_err(AccountError::Fault)?
    }
}

/// What a request that only reads is answered.
pub async fn answer(tx: &Tx, request: &StoreRequest, now: u64) -> Result<StoreReply, Failed> {
    Ok(match request {
        StoreRequest::Attach { user, device, address } => {
            StoreReply::Attach(standing::attach(tx, *user, *device, *address, now).await?)
        }
        StoreRequest::Standing { user, conversation, after } => {
            StoreReply::Standing(standing::standing(tx, *user, *conversation, *after).await?)
        }
        StoreRequest::Recover { user, conversation, from, limit, backwards } => StoreReply::Recover(
            recover::recover(tx, (*user, *conversation), (*from, *limit, *backwards), now).await?,
        ),
        StoreRequest::Read { conversation, from, limit } => {
            StoreReply::Read(recover::read(tx, *conversation, *from, *limit, now).await?)
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
    })
}

/// What the data plane can be told of an account-side failure: only faults happen there.
fn fault_of(error: AccountError) -> StoreFault {
    match error {
        AccountError::Fault(fault) => fault,
        other => {
            tracing::error!(error = ?other, "a data-plane request failed with an account error");
            StoreFault::Unavailable
        }
    }
}
