//! The data plane's view of the store. Implementations: SQLite (embedded) and PostgreSQL.
//! Futures belong to no runtime: they may be awaited on tokio, tokio-uring or glommio alike.

use std::future::Future;
use std::pin::Pin;

use schema_wire::Network;
use schema_wire::record::{Append, Appended, Change, StoreFault, StoreReply, StoreRequest};

/// How far a poller has read the change log. Opaque; starts at `ChangePosition::default()` = "from now".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChangePosition(pub Option<Vec<u8>>);

/// Where an answer goes, on whichever thread has it.
pub type Answered = Box<dyn FnOnce(StoreReply) + Send>;

/// Work that begins, and stays, on one thread.
pub type Work = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What became of an append, or the append itself.
pub type Tried = Result<Appended, Append>;

/// What the relay needs of a store.
pub trait Store: Clone + Send + Sync + 'static {
    /// Appends a batch in one transaction: all outcomes, in order, once it is durable; or a fault, and nothing happened.
    fn append(&self, batch: Vec<Append>) -> impl Future<Output = Result<Vec<Appended>, StoreFault>> + Send;

    /// The same, but what would have to wait for another node is not stored and comes back (`Err`), in the order asked.
    fn try_append(&self, batch: Vec<Append>) -> impl Future<Output = Result<Vec<Tried>, StoreFault>> + Send {
        let done = self.append(batch);
        async { Ok(done.await?.into_iter().map(Ok).collect()) }
    }

    /// How many batches may be under way at once, of different conversations each.
    fn lanes(&self) -> usize {
        1
    }

    /// Runs `work` on the store's own thread, so that what it asks of the store changes no thread. A store whose thread can't
    /// gives it back.
    fn aboard(&self, work: Work) -> Result<(), Work> {
        Err(work)
    }

    /// Answers any other request (`StoreRequest::Append` is answered like a batch of one).
    fn ask(&self, request: StoreRequest) -> impl Future<Output = StoreReply> + Send;

    /// The same for a read whose answer needs no executor. A store that can't, or has enough waiting already, gives both
    /// back; they are for [`Store::ask`] then.
    #[expect(clippy::result_large_err, reason = "the request must come back whole")]
    fn ask_aside(&self, request: StoreRequest, answered: Answered) -> Result<(), (StoreRequest, Answered)> {
        Err((request, answered))
    }

    /// Changes committed after `after`, oldest first, and where to go on. Never skips a late commit. The log keeps an hour:
    /// whoever asks so late that some may be gone is told so ([`Change::Missed`]) and goes on from now.
    fn changes(
        &self,
        after: ChangePosition,
        limit: u32,
    ) -> impl Future<Output = Result<(Vec<Change>, ChangePosition), StoreFault>> + Send;

    /// Addresses and blocks of them that are banned at present.
    fn banned(&self) -> impl Future<Output = Result<Vec<Network>, StoreFault>> + Send;

    /// What operators set, by name, for whoever runs by it. What nobody set is missing.
    fn operator_settings(&self) -> impl Future<Output = Result<Vec<(String, String)>, StoreFault>> + Send;

    /// Whether the store answers and is writable (for readiness).
    fn check(&self) -> impl Future<Output = Result<(), StoreFault>> + Send;
}
