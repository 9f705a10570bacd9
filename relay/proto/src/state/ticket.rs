//! Questions to the store that have not been answered, and what each answer is for.

use alloc::boxed::Box;

use schema_wire::{ConversationId, Offset, Position, SessionId, UserId};

use schema_wire::record::Append;

use super::map::Map;
use crate::event::Ticket;

/// An append on its way through the store.
pub(crate) struct Appending {
    pub(crate) session: SessionId,
    pub(crate) request: u64,
    pub(crate) append: Append,
    /// When the home took it.
    pub(crate) taken_us: u64,
}

/// A subscription that waits for the standing of its user.
pub(crate) struct Joining {
    pub(crate) id: SessionId,
    pub(crate) request: u64,
    pub(crate) conversation: ConversationId,
    pub(crate) after: Option<Position>,
    /// One entry of Hello's list: the next waits for this one.
    pub(crate) resume: bool,
    pub(crate) serial: u64,
}

/// A cursor on its way through the store.
pub(crate) struct Moved {
    pub(crate) session: SessionId,
    pub(crate) request: u64,
    pub(crate) conversation: ConversationId,
    pub(crate) offset: Offset,
    /// Whether others may see it.
    pub(crate) share: bool,
}

/// A subscription that asks whether its position still exists.
#[derive(Clone, Copy)]
pub(crate) struct Check {
    pub(crate) session: SessionId,
    pub(crate) conversation: ConversationId,
    /// Of the subscription.
    pub(crate) serial: u64,
    /// When it was asked, among the serials of its shard.
    pub(crate) asked: u64,
}

/// A look at who came and left.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) conversation: ConversationId,
    pub(crate) since: u64,
    /// When it was asked, among the serials of its shard.
    pub(crate) asked: u64,
}

/// What an answer is for.
pub(crate) enum Pending {
    Attach { session: SessionId },
    Append(Box<Appending>),
    Authorise { conversation: ConversationId, user: UserId },
    Subscribe(Box<Joining>),
    Check(Check),
    Page { session: SessionId, conversation: ConversationId, serial: u64 },
    History { session: SessionId, request: u64, conversation: ConversationId },
    UserEvents { session: SessionId },
    Head { conversation: ConversationId, serial: u64 },
    Heads { conversations: alloc::vec::Vec<ConversationId> },
    Repair { conversation: ConversationId, serial: u64 },
    Members(Look),
    Cursor(Moved),
    WatchConversation { session: SessionId, conversation: ConversationId, serial: u64 },
    WatchUsers { session: SessionId, serial: u64 },
}

/// All unanswered questions.
#[derive(Default)]
pub(crate) struct Tickets {
    last: u64,
    open: Map<Ticket, Pending>,
}

impl Tickets {
    pub(crate) fn open(&mut self, pending: Pending) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        self.open.insert(ticket, pending);
        ticket
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn close(&mut self, ticket: Ticket) -> Option<Pending> {
        self.open.remove(&ticket)
    }
}
