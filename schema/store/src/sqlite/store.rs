//! The data plane's requests, each handed to the thread that answers it.

use std::future::Future;

use rusqlite::Transaction;
use schema_wire::Network;
use schema_wire::record::{Append, Appended, Change, StoreFault, StoreReply, StoreRequest};

use super::stream::CursorMove;
use super::thread::read_work;
use super::value::int;
use super::{SqliteStore, changes, fault_of, generation, operations, recover, standing, stream};
use crate::store::{Answered, ChangePosition, Store};

impl Store for SqliteStore {
    fn append(&self, batch: Vec<Append>) -> impl Future<Output = Result<Vec<Appended>, StoreFault>> + Send {
        self.threads.append(batch)
    }

    async fn ask(&self, request: StoreRequest) -> StoreReply {
        let answer = match request {
            StoreRequest::Append(append) => self.threads.append(vec![append]).await.map(|mut outcomes| {
                StoreReply::Append(outcomes.pop().expect("a batch of one has one outcome"))
            }),
            StoreRequest::MoveCursor { user, conversation, offset, .. } => self
                .threads
                .move_cursor(CursorMove { user, conversation, offset })
                .await
                .map(|c| StoreReply::MoveCursor { moved: c.moved, members_version: c.members_version }),
            other => self.read(move |tx, now| Ok(answer(tx, other, now)?)).await.map_err(fault_of),
        };
        answer.unwrap_or_else(StoreReply::Fault)
    }

    fn ask_aside(&self, request: StoreRequest, answered: Answered) -> Result<(), (StoreRequest, Answered)> {
        let written = matches!(request, StoreRequest::Append(_) | StoreRequest::MoveCursor { .. });
        let Some(place) = self.threads.place().filter(|_| !written) else { return Err((request, answered)) };
        place.take(read_work(
            move |tx, now| Ok(answer(tx, request, now)?),
            move |reply| answered(reply.map_err(fault_of).unwrap_or_else(StoreReply::Fault)),
        ));
        Ok(())
    }

    async fn changes(
        &self,
        after: ChangePosition,
        limit: u32,
    ) -> Result<(Vec<Change>, ChangePosition), StoreFault> {
        self.read(move |tx, _| Ok(changes::changes(tx, &after, limit)?)).await.map_err(fault_of)
    }

    async fn banned(&self) -> Result<Vec<Network>, StoreFault> {
        self.read(|tx, now| Ok(standing::banned(tx, now)?)).await.map_err(fault_of)
    }

    async fn operator_settings(&self) -> Result<Vec<(String, String)>, StoreFault> {
        self.read(|tx, _| Ok(operations::set(tx)?)).await.map_err(fault_of)
    }

    async fn check(&self) -> Result<(), StoreFault> {
        let write = |tx: &Transaction<'_>, now| {
            tx.execute("UPDATE store_check SET checked_at = ?1", [int(now)])?;
            Ok(())
        };
        self.write(write).await.map_err(fault_of)
    }
}

fn answer(tx: &Transaction<'_>, request: StoreRequest, now: u64) -> rusqlite::Result<StoreReply> {
    Ok(match request {
        StoreRequest::Attach { user, device, address } => {
            StoreReply::Attach(standing::attach(tx, user, device, address, now)?)
        }
        StoreRequest::Standing { user, conversation, after } => {
            StoreReply::Standing(standing::standing(tx, user, conversation, after)?)
        }
        StoreRequest::Recover { user, conversation, from, limit, backwards } => {
            StoreReply::Recover(recover::recover(tx, (user, conversation), (from, limit, backwards), now)?)
        }
        StoreRequest::Read { conversation, from, limit } => {
            StoreReply::Read(recover::read(tx, conversation, from, limit, now)?)
        }
        StoreRequest::Members { conversation, since } => {
            StoreReply::Members(standing::members(tx, conversation, since)?)
        }
        StoreRequest::Heads { conversations } => StoreReply::Heads {
            generation: generation::current(tx)?,
            heads: standing::heads(tx, &conversations)?,
        },
        StoreRequest::UserEvents { user, after, limit } => {
            StoreReply::UserEvents(stream::events(tx, user, after, limit)?)
        }
        StoreRequest::Acquaintances { user, others } => {
            StoreReply::Acquaintances(standing::acquaintances(tx, user, &others)?)
        }
        StoreRequest::Append(_) | StoreRequest::MoveCursor { .. } => {
            unreachable!("`ask` sends these to the writer")
        }
    })
}
