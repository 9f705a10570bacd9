//! Read replicas: which requests they may answer, and which of their answers are too old. What this node has seen of a
//! log on the primary, in an append's outcome or a standing, is the least that a replica must show of it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::try_join;
use schema_wire::record::{Appended, Page, StoreReply, StoreRequest};
use schema_wire::{ConversationId, Generation, UserId};

use super::connect::{Connections, OpenError};
use super::fault::Failed;
use super::look::{answer, first};
use super::options::Options;
use super::server::Server;
use super::transaction::{Access, Tx};
use crate::accounts::Answer;

/// Logs remembered; beyond, all are forgotten, and replicas are asked again once the primary has shown them.
const SEEN_MAX: usize = 100_000;

/// How long a replica that failed is left alone.
const REST: Duration = Duration::from_secs(5);

/// What replicas there are, and what the primary has shown.
pub struct Replicas {
    places: Vec<Replica>,
    next: Cell<usize>,
    seen: RefCell<Seen>,
}

struct Replica {
    connections: Connections,
    /// Not asked before: it failed a moment ago.
    rests_until: Cell<Option<Instant>>,
}

#[derive(Default)]
struct Seen {
    generation: Generation,
    /// Head and membership version.
    conversations: HashMap<ConversationId, (u64, u64)>,
    streams: HashMap<UserId, u64>,
}

impl Replicas {
    pub fn new(options: &Options) -> Result<Self, OpenError> {
        let places = options.replicas.iter().map(|url| {
            let connections = Connections::to_replica(url, options)?;
            Ok::<_, OpenError>(Replica { connections, rests_until: Cell::new(None) })
        });
        Ok(Self { places: places.collect::<Result<_, _>>()?, next: Cell::new(0), seen: RefCell::default() })
    }

    /// The one whose turn it is.
    fn next(&self) -> Option<&Replica> {
        let n = self.next.get();
        self.next.set(n.wrapping_add(1));
        let replica = self.places.get(n.checked_rem(self.places.len())?)?;
        let rests = replica.rests_until.get().is_some_and(|until| Instant::now() < until);
        (!rests).then_some(replica)
    }

    /// Remembers what the primary answered.
    pub fn saw(&self, request: &StoreRequest, reply: &StoreReply) {
        if self.places.is_empty() {
            return;
        }
        let mut seen = self.seen.borrow_mut();
        match (request, reply) {
            (StoreRequest::Standing { conversation, .. }, StoreReply::Standing(Some(s))) => {
                seen.conversation(*conversation, s.generation, (s.head.0, s.members_version));
            }
            (
                StoreRequest::Recover { conversation, .. } | StoreRequest::Read { conversation, .. },
                StoreReply::Recover(page) | StoreReply::Read(page),
            ) if page.readable => {
                seen.conversation(*conversation, page.generation, (page.head.0, page.members_version));
            }
            (StoreRequest::Attach { user, .. }, StoreReply::Attach(a)) => {
                seen.stream(*user, a.generation, a.user_head.0);
            }
            _ => {}
        }
    }

    /// Remembers what was appended.
    pub fn stored(&self, conversation: ConversationId, outcome: Option<&Appended>) {
        if let (false, Some(Appended::Stored { generation, offset, members_version, .. })) =
            (self.places.is_empty(), outcome)
        {
            let place = (offset.0, *members_version);
            self.seen.borrow_mut().conversation(conversation, *generation, place);
        }
    }

    /// Whether a replica's answer is as new as what was asked for and what the primary has shown.
    fn is_fresh(&self, request: &StoreRequest, reply: &StoreReply) -> bool {
        let seen = self.seen.borrow();
        match (request, reply) {
            (StoreRequest::Recover { conversation, from, backwards, .. }, StoreReply::Recover(page)) => {
                let asked = if *backwards { from.0 } else { from.0.saturating_sub(1) };
                seen.covers(*conversation, asked, page)
            }
            (StoreRequest::Read { conversation, from, .. }, StoreReply::Read(page)) => {
                // A home shard asks for what it was told of: that must be there.
                seen.covers(*conversation, from.0, page)
            }
            (StoreRequest::UserEvents { user, after, .. }, StoreReply::UserEvents(page)) => {
                let known = seen.streams.get(user).copied();
                page.generation == seen.generation
                    && page.rewound.is_none()
                    && known.is_some_and(|known| page.head.0 >= known.max(after.offset.0))
            }
            _ => false,
        }
    }
}

impl Seen {
    /// A new generation may have cut every log.
    fn begin(&mut self, generation: Generation) -> bool {
        if generation > self.generation || self.conversations.len() + self.streams.len() >= SEEN_MAX {
            *self = Self { generation: generation.max(self.generation), ..Self::default() };
        }
        generation == self.generation
    }

    fn conversation(&mut self, conversation: ConversationId, generation: Generation, place: (u64, u64)) {
        if self.begin(generation) {
            let known = self.conversations.entry(conversation).or_default();
            *known = (known.0.max(place.0), known.1.max(place.1));
        }
    }

    fn stream(&mut self, user: UserId, generation: Generation, head: u64) {
        if self.begin(generation) {
            let known = self.streams.entry(user).or_default();
            *known = head.max(*known);
        }
    }

    fn covers(&self, conversation: ConversationId, asked: u64, page: &Page) -> bool {
        let known = self.conversations.get(&conversation);
        page.generation == self.generation
            && page.readable
            && known.is_some_and(|known| page.head.0 >= known.0.max(asked) && page.members_version >= known.1)
    }
}

impl Server {
    /// Answers what only reads: from a replica where one may, else from the primary.
    pub async fn look(&self, request: &StoreRequest) -> Answer<StoreReply> {
        if let Some(reply) = self.ask_replica(request).await {
            return Ok(reply);
        }
        let ask = async |tx: &Tx| first(tx, request).await;
        let look = async |tx: &Tx, found, now| Ok(answer(tx, request, found, now).await?);
        let access = match request {
            StoreRequest::Recover { .. } | StoreRequest::Read { .. } => Access::Page,
            _ => Access::Snapshot,
        };
        let reply = self.transact_from(access, ask, look).await?;
        self.replicas().saw(request, &reply);
        Ok(reply)
    }

    /// `None`: the primary must answer.
    async fn ask_replica(&self, request: &StoreRequest) -> Option<StoreReply> {
        let may = matches!(
            request,
            StoreRequest::Recover { .. } | StoreRequest::Read { .. } | StoreRequest::UserEvents { .. }
        );
        let place = self.replicas().next().filter(|_| may)?;
        let options = self.options();
        let reply = async {
            let tx = Tx::on(place.connections.get().await?, Access::Replica, options);
            let (begun, found) = try_join(tx.start(), first(&tx, request)).await?;
            let reply = answer(&tx, request, found, begun.now).await?;
            tokio::task::spawn_local(tx.rollback());
            Ok::<_, Failed>(reply)
        };
        match reply.await {
            Ok(reply) => Some(reply).filter(|reply| self.replicas().is_fresh(request, reply)),
            Err(failed) => {
                failed.fault();
                place.rests_until.set(Some(Instant::now() + REST));
                None
            }
        }
    }
}
