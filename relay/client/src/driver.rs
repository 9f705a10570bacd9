//! The client's one task: connects, feeds the mind with commands, frames and time, and performs what it asks for.

use std::pin::Pin;
use std::time::Duration;

use schema_wire::codec::encode_client;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::{self, Backoff};
use crate::connect::{Connector, Reached};
use crate::core::{Command, Core, Identity};
use crate::error::ConnectError;
use crate::event::Event;
use crate::limits;
use crate::link::{Inward, Link, Outward};
use crate::token::{TokenError, TokenNeed};

/// How the client stands, for those who wait for it.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    Connecting,
    Connected,
    Away(ConnectError),
    Closed(Option<ConnectError>),
}

/// Why a phase ended.
enum End {
    /// The program closed the client.
    Closing(Option<oneshot::Sender<()>>),
    Lost(ConnectError),
}

type Fetching = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

/// Owns everything of one client.
pub(crate) struct Driver {
    connector: Connector,
    core: Core,
    commands: mpsc::Receiver<Command>,
    /// Whether a handle is left that may command.
    commanded: bool,
    events: mpsc::Sender<Event>,
    standing: watch::Sender<Standing>,
    backoff: Backoff,
    need: TokenNeed,
    /// Address that a draining relay named, for one attempt.
    alternate: Option<String>,
}

impl Driver {
    pub(crate) fn new(
        connector: Connector,
        identity: Identity,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
        standing: watch::Sender<Standing>,
    ) -> Self {
        Self {
            connector,
            core: Core::new(identity),
            commands,
            commanded: true,
            events,
            standing,
            backoff: Backoff::new(limits::BACKOFF),
            need: TokenNeed::Current,
            alternate: None,
        }
    }

    /// Runs until the program closes the client or the relay says not to come back.
    pub(crate) async fn run(mut self) {
        let (why, done) = loop {
            let lost = match self.session().await {
                End::Closing(done) => break (None, done),
                End::Lost(why) => why,
            };
            let come_back = self.core.take_leave();
            self.alternate = come_back.as_ref().and_then(|(_, alternate)| alternate.clone());
            self.core.link_lost(Instant::now());
            if !self.comes_back(&lost) {
                break (Some(lost), None);
            }
            if let End::Closing(done) = self.pause(lost, come_back.map(|(at, _)| at)).await {
                break (None, done);
            }
        };
        self.standing.send_replace(Standing::Closed(why.clone()));
        self.core.events.push_back(Event::Closed(why));
        drop(self.commands);
        drop(done);
        for event in self.core.events {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Whether to connect again. A refused token is worth one attempt with a newer one.
    fn comes_back(&mut self, why: &ConnectError) -> bool {
        if why.wants_fresh_token() {
            return std::mem::replace(&mut self.need, TokenNeed::Fresh) == TokenNeed::Current;
        }
        why.retriable()
    }

    /// Waits before the next attempt; commands are taken meanwhile.
    async fn pause(&mut self, why: ConnectError, come_back: Option<Instant>) -> End {
        let (attempt, jittered) = (self.backoff.attempt(), self.backoff.next(backoff::random()));
        let asked = come_back.map(|at| at.saturating_duration_since(Instant::now()));
        let delay = asked.filter(|_| attempt == 0).unwrap_or(jittered);
        tracing::debug!(%why, ?delay, attempt, "reconnecting");
        self.standing.send_replace(Standing::Away(why.clone()));
        self.core.events.push_back(Event::Reconnecting { delay, attempt, why: why.clone() });
        match self.meanwhile(sleep(delay)).await {
            Ok(()) => End::Lost(why),
            Err(end) => end,
        }
    }

    /// Takes commands and hands out events until `other` is done.
    async fn meanwhile<T>(&mut self, other: impl Future<Output = T>) -> Result<T, End> {
        tokio::pin!(other);
        loop {
            tokio::select! {
                done = &mut other => return Ok(done),
                room = has_room(&self.events), if !self.core.events.is_empty() => self.hand_out(room),
                command = self.commands.recv(), if self.commanded && self.core.has_room() => self.command(command)?,
                () = self.events.closed(), if !self.commanded => return Err(End::Closing(None)),
            }
        }
    }

    fn command(&mut self, command: Option<Command>) -> Result<(), End> {
        match command {
            Some(Command::Close(done)) => Err(End::Closing(Some(done))),
            Some(command) => {
                self.core.command(Instant::now(), command);
                Ok(())
            }
            None => {
                self.commanded = false;
                Ok(())
            }
        }
    }

    /// One connection, from the first packet to its end.
    async fn session(&mut self) -> End {
        let mut connector = self.connector.clone();
        if let Some(Ok(address)) = self.alternate.take().map(|a| a.parse()) {
            connector.address = address;
        }
        let Reached { link, token } = match self.meanwhile(Box::pin(connector.attempt(self.need))).await {
            Ok(Ok(reached)) => reached,
            Ok(Err(why)) => return End::Lost(why),
            Err(end) => return end,
        };
        let began = Instant::now();
        self.core.greet(began, token, link.quic);
        let end = self.serve(link).await;
        if began.elapsed() >= limits::STEADY {
            self.backoff.reset();
        }
        end
    }

    async fn serve(&mut self, mut link: Link) -> End {
        let mut fetching: Option<Fetching> = None;
        loop {
            let deadline = self.core.next_timeout(Instant::now());
            let blocked = !self.core.events.is_empty();
            let turn = tokio::select! {
                room = has_room(&self.events), if blocked => {
                    self.hand_out(room);
                    self.core.unblocked();
                    Ok(())
                }
                room = has_room(&link.out), if !self.core.out.is_empty() => self.send(room, &link),
                inward = link.incoming.recv(), if !blocked => self.receive(inward),
                command = self.commands.recv(), if self.commanded && self.core.has_room() => self.command(command),
                () = self.events.closed(), if !self.commanded => Err(End::Closing(None)),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.timeout(blocked),
                token = async { fetching.as_mut().expect("guarded by the condition").await }, if fetching.is_some() => {
                    fetching = None;
                    self.fetched(token)
                }
            };
            match turn {
                Ok(()) => {}
                Err(End::Closing(done)) => {
                    self.say_goodbye(link).await;
                    return End::Closing(done);
                }
                Err(lost) => return lost,
            }
            if fetching.is_none() && self.core.wants_token(Instant::now()) {
                let tokens = self.connector.tokens.clone();
                fetching = Some(Box::pin(async move { tokens.token(TokenNeed::Fresh).await }));
            }
        }
    }

    /// Hands as many frames to the transport as it takes.
    fn send(&mut self, room: bool, link: &Link) -> Result<(), End> {
        if !room {
            // Why the writer ended is known to the reader, which says so next.
            self.core.out.clear();
        }
        while let (Some(frame), Ok(slot)) = (self.core.out.front(), link.out.try_reserve()) {
            slot.send(Outward::Frame(encode_client(frame, link.encoding).into()));
            self.core.out.pop_front();
        }
        self.core.said(Instant::now());
        Ok(())
    }

    fn receive(&mut self, inward: Option<Inward>) -> Result<(), End> {
        let frame = match inward {
            Some(Inward::Frame(frame)) => frame,
            Some(Inward::Ended(why)) => return Err(End::Lost(why)),
            None => return Err(End::Lost(ConnectError::Link("the connection ended".to_owned()))),
        };
        let greeted = self.core.welcomed_now();
        self.core.frame(Instant::now(), frame).map_err(End::Lost)?;
        if !greeted && self.core.welcomed_now() {
            self.need = TokenNeed::Current;
            self.standing.send_replace(Standing::Connected);
        }
        Ok(())
    }

    fn timeout(&mut self, blocked: bool) -> Result<(), End> {
        if blocked {
            // What would end the silence waits unread: the program is slow, not the relay.
            self.core.unblocked();
        }
        self.core.timeout(Instant::now()).map_err(End::Lost)
    }

    fn fetched(&mut self, token: Result<String, TokenError>) -> Result<(), End> {
        match token {
            Ok(token) => self.core.refresh(Instant::now(), Some(token)),
            Err(why) if why.definite => {
                tracing::warn!(%why, "no fresh token: the session ends with the old one")
            }
            Err(_) => self.core.refresh(Instant::now(), None),
        }
        Ok(())
    }

    /// Sends what waits, closes, and waits a moment for the other side.
    async fn say_goodbye(&mut self, mut link: Link) {
        let goodbye = async {
            while let Some(frame) = self.core.out.pop_front() {
                let _ = link.out.send(Outward::Frame(encode_client(&frame, link.encoding).into())).await;
            }
            let _ = link.out.send(Outward::Close).await;
            while let Some(Inward::Frame(_)) = link.incoming.recv().await {}
        };
        let _ = tokio::time::timeout(limits::CLOSE + Duration::from_millis(500), goodbye).await;
    }

    /// Moves events into the program's queue; without a program they are discarded.
    fn hand_out(&mut self, room: bool) {
        if !room {
            self.core.events.clear();
        }
        while let (false, Ok(slot)) = (self.core.events.is_empty(), self.events.try_reserve()) {
            slot.send(self.core.events.pop_front().expect("not empty"));
        }
    }
}

/// Waits for room in a queue; false when nobody reads it any more.
async fn has_room<T>(queue: &mpsc::Sender<T>) -> bool {
    queue.reserve().await.is_ok()
}
