//! The handle a program holds: every request, and the stream of events.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use schema_wire::{ConversationId, Offset, PublishKey, Refused, UserId, v1};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::builder::Builder;
use crate::core::call::CallReply;
use crate::core::publish::Outgoing;
use crate::core::{Command, recover};
use crate::driver::Standing;
use crate::error::{ConnectError, Error, Refusal};
use crate::event::Event;
use crate::limits;
use crate::request::{Ack, After, Page, PageRequest, PublishRequest, Subscription};

/// A session with the relay. Clones share it. Every call may be cancelled by dropping its future: then the answer is
/// not waited for, but what was already handed over is still carried out.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    window: Arc<Semaphore>,
    standing: watch::Receiver<Standing>,
}

/// What the relay tells, in order. To be read all the time.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    pub(crate) fn new(events: mpsc::Receiver<Event>) -> Self {
        Self(events)
    }

    /// The next event; `None` after [`Event::Closed`].
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// The next event if one is there.
    pub fn try_next(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

/// A publish under way; resolves when it is acked or definitely refused. Dropping it does not take it back.
#[derive(Debug)]
pub struct Publishing {
    key: PublishKey,
    answer: oneshot::Receiver<Result<Ack, Error>>,
}

impl Publishing {
    /// The key it was published under.
    pub fn key(&self) -> PublishKey {
        self.key
    }
}

impl Future for Publishing {
    type Output = Result<Ack, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.answer).poll(cx)).unwrap_or(Err(Error::Closed)))
    }
}

impl Client {
    /// Settings for a new client.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        window: Arc<Semaphore>,
        standing: watch::Receiver<Standing>,
    ) -> Self {
        Self { commands, window, standing }
    }

    /// Waits for the first session, or for the first failure; a failure closes the client.
    pub(crate) async fn ready(&self) -> Result<(), ConnectError> {
        let mut standing = self.standing.clone();
        let settled = standing.wait_for(|s| !matches!(s, Standing::Connecting)).await;
        let why = match settled.as_deref() {
            Ok(Standing::Connected) => return Ok(()),
            Ok(Standing::Away(why) | Standing::Closed(Some(why))) => why.clone(),
            _ => ConnectError::Config("the client was closed".to_owned()),
        };
        drop(settled);
        self.close().await;
        Err(why)
    }

    /// Whether a session stands at this moment.
    pub fn is_connected(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Connected)
    }

    /// Publishes and waits until the message is durable.
    pub async fn publish(&self, conversation: ConversationId, request: PublishRequest) -> Result<Ack, Error> {
        self.enqueue(conversation, request).await?.await
    }

    /// Hands a message over and returns at once with the wait for its ack, so that several are under way; waits
    /// only while the window is full. Cancelled before it returns, nothing is published.
    pub async fn enqueue(
        &self,
        conversation: ConversationId,
        request: PublishRequest,
    ) -> Result<Publishing, Error> {
        let key = request.publish_key.unwrap_or_else(fresh_key);
        self.hand_over(conversation, key, request.into_wire(conversation, key).into()).await
    }

    /// Deletes a message for everyone.
    pub async fn delete(&self, conversation: ConversationId, offset: Offset) -> Result<Ack, Error> {
        self.publish(conversation, PublishRequest::delete(offset)).await
    }

    /// Invites to a call: kept for 60 s, so that a sleeping device still finds it.
    pub async fn ring(&self, conversation: ConversationId, body: impl Into<Bytes>) -> Result<Ack, Error> {
        let key = fresh_key();
        let (id, publish_key) = (conversation.to_bytes(), key.to_bytes());
        let ring = v1::Ring { conversation: id, publish_key, body: body.into(), ..Default::default() };
        self.hand_over(conversation, key, ring.into()).await?.await
    }

    async fn hand_over(
        &self,
        conversation: ConversationId,
        key: PublishKey,
        body: v1::client_frame::Body,
    ) -> Result<Publishing, Error> {
        let permit = self.window.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        let slot = self.commands.reserve().await.map_err(|_| Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        slot.send(Command::Publish(Outgoing {
            conversation,
            key,
            body,
            reply: Some(reply),
            permit: Some(permit),
        }));
        Ok(Publishing { key, answer })
    }

    /// Follows a conversation: everything after the position comes out of [`Events`], also after reconnects.
    pub async fn subscribe(&self, conversation: ConversationId, after: After) -> Result<Subscription, Error> {
        self.ask(|reply| Command::Subscribe { conversation, after, reply }).await
    }

    /// Stops following.
    pub async fn unsubscribe(&self, conversation: ConversationId) -> Result<(), Error> {
        self.ask(|reply| Command::Unsubscribe { conversation, reply }).await
    }

    /// A page of history, without following.
    pub async fn recover(&self, conversation: ConversationId, page: PageRequest) -> Result<Page, Error> {
        let body = recover(conversation, page).into();
        self.ask(|reply| Command::Call { body, reply: CallReply::Page(reply) }).await
    }

    /// "I have read up to here"; never moves back. `share`: others may see it.
    pub async fn cursor(
        &self,
        conversation: ConversationId,
        offset: Offset,
        share: bool,
    ) -> Result<(), Error> {
        let cursor = v1::Cursor {
            conversation: conversation.to_bytes(),
            offset: offset.0,
            share,
            ..Default::default()
        };
        self.ask(|reply| Command::Call { body: cursor.into(), reply: CallReply::Done(reply) }).await
    }

    /// Whose typing, shared cursors and presence to be told; replaces the list before, and lasts over reconnects.
    pub async fn watch(&self, conversations: &[ConversationId], users: &[UserId]) -> Result<(), Error> {
        let conversations = conversations.iter().map(|c| c.to_bytes()).collect();
        let users = users.iter().map(|u| u.to_bytes()).collect();
        let watch = v1::Watch { conversations, users, ..Default::default() };
        self.ask(|reply| Command::Watch { watch, reply: CallReply::Done(reply) }).await
    }

    /// Says that the user types, or stopped. Dropped when there is no session or no room.
    pub fn typing(&self, conversation: ConversationId, active: bool) {
        let typing = v1::Typing { conversation: conversation.to_bytes(), active, ..Default::default() };
        let _ = self.commands.try_send(Command::Ephemeral(typing.into()));
    }

    /// Sends a body of the program's own to everybody who follows the conversation at this moment: call candidates, a
    /// live location. Never stored. Dropped when there is no session or no room; too large a body is refused here.
    pub fn signal(&self, conversation: ConversationId, body: impl Into<Bytes>) -> Result<(), Error> {
        let (conversation, body) = (conversation.to_bytes(), body.into());
        if body.len() > limits::SIGNAL_BYTES {
            let message = format!("Keep the body of a signal within {} bytes.", limits::SIGNAL_BYTES);
            return Err(Error::Refused(Refusal { message, ..Refusal::of(Refused::TooLarge) }));
        }
        let signal = v1::Signal { conversation, body, ..Default::default() };
        let _ = self.commands.try_send(Command::Ephemeral(signal.into()));
        Ok(())
    }

    /// What this device shows of itself; said again after reconnects.
    pub async fn presence(&self, state: v1::PresenceState) -> Result<(), Error> {
        self.commands.send(Command::Presence(state)).await.map_err(|_| Error::Closed)
    }

    /// Ends the session and the client. What is not acked by now is given up.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// Keys that follow each other in time touch fewer pages of the store's index than keys from anywhere.
fn fresh_key() -> PublishKey {
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the operating system gives random numbers");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    PublishKey::v7(now.as_millis() as u64, random)
}
