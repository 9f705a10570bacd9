//! The data plane's requests, each handed to what answers it.

use schema_wire::Network;
use schema_wire::record::{Append, Appended, Change, StoreFault, StoreReply, StoreRequest};

use super::append::{self, Patience};
use super::server::Server;
use super::transaction::Tx;
use super::{PostgresStore, operations, standing, stream};
use crate::accounts::{AccountError, Answer};
use crate::store::{ChangePosition, Store, Tried, Work};

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

    fn aboard(&self, work: Work) -> Result<(), Work> {
        self.thread.host(work);
        Ok(())
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
                .map(|(moved, members_version)| StoreReply::MoveCursor { moved, members_version })
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

    async fn operator_settings(&self) -> Result<Vec<(String, String)>, StoreFault> {
        self.read(async |tx: &Tx, _| operations::set(tx).await).await.map_err(fault_of)
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
