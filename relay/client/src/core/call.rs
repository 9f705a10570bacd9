//! Requests that may be asked again without harm (recover, cursor, watch, unsubscribe): sent, matched with their
//! answers, and sent again after a lost connection.

use std::collections::VecDeque;

use schema_wire::v1::client_frame::Body;
use tokio::sync::oneshot;

use crate::core::Numbering;
use crate::error::{Error, Refusal};
use crate::limits;
use crate::request::Page;

/// Who waits for the answer.
#[derive(Debug)]
pub(crate) enum CallReply {
    Page(oneshot::Sender<Result<Page, Error>>),
    Done(oneshot::Sender<Result<(), Error>>),
}

impl CallReply {
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Page(reply) => drop(reply.send(Err(error))),
            Self::Done(reply) => drop(reply.send(Err(error))),
        }
    }
}

#[derive(Debug)]
struct Entry {
    body: Body,
    reply: CallReply,
    request: Option<u64>,
}

/// All calls of a client, in order.
#[derive(Debug, Default)]
pub(crate) struct Calls(VecDeque<Entry>);

impl Calls {
    pub(crate) fn push(&mut self, body: Body, reply: CallReply) {
        self.0.push_back(Entry { body, reply, request: None });
    }

    /// Calls waiting or under way.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn pump(&mut self, numbers: &mut Numbering, send: &mut impl FnMut(u64, Body)) {
        let sent = self.0.iter().filter(|e| e.request.is_some()).count();
        let room = limits::CALLS_IN_FLIGHT.saturating_sub(sent);
        for entry in self.0.iter_mut().filter(|e| e.request.is_none()).take(room) {
            let request = numbers.next();
            entry.request = Some(request);
            send(request, entry.body.clone());
        }
    }

    pub(crate) fn page(&mut self, request: u64, page: Page) -> bool {
        let Some(reply) = self.take(request) else { return false };
        match reply {
            CallReply::Page(reply) => drop(reply.send(Ok(page))),
            other => other.fail(Error::Protocol("a page answered something else".to_owned())),
        }
        true
    }

    pub(crate) fn done(&mut self, request: u64) -> bool {
        let Some(reply) = self.take(request) else { return false };
        match reply {
            CallReply::Done(reply) => drop(reply.send(Ok(()))),
            other => other.fail(Error::Protocol("Done answered something else".to_owned())),
        }
        true
    }

    pub(crate) fn refused(&mut self, request: u64, refusal: &Refusal) -> bool {
        let reply = self.take(request);
        let known = reply.is_some();
        reply.into_iter().for_each(|r| r.fail(Error::Refused(refusal.clone())));
        known
    }

    pub(crate) fn link_lost(&mut self) {
        self.0.iter_mut().for_each(|e| e.request = None);
    }

    fn take(&mut self, request: u64) -> Option<CallReply> {
        let at = self.0.iter().position(|e| e.request == Some(request))?;
        self.0.remove(at).map(|e| e.reply)
    }
}
