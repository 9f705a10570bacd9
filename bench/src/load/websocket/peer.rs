//! One connection: who it is, how far it has come, and what it does with each frame.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use super::acks::Acks;
use super::frames::{self, Opcode};
use super::link::{Link, Opening};
use super::reactor::Event;
use super::stopped::Chase;
use super::tls::Keys;
use crate::load::dialect::{self, Answer, Conversation, Page, Position, Seen};
use crate::load::pace::Pacer;
use crate::load::tally::{Reader, Tally};
use crate::plan::{Dialect, Plan};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Subscriber,
    Publisher,
    /// Opens its session and no more.
    Guest,
}

/// Who a connection is.
#[derive(Clone, Copy, Debug)]
pub struct Seat<'p> {
    pub room: u32,
    pub part: Part,
    pub token: &'p str,
}

/// What all connections share.
pub struct Desk<'p> {
    pub plan: &'p Plan,
    pub tls: Option<Arc<ClientConfig>>,
    pub conversations: Vec<Conversation>,
    pub tally: Tally,
    pub pacer: Option<Pacer>,
    /// Connections that are where they should be.
    pub open: usize,
    /// Durable publications without an ack.
    pub unacked: u64,
    /// Frames that answer what is being read.
    replies: Vec<u8>,
}

impl<'p> Desk<'p> {
    pub fn new(plan: &'p Plan, tls: Option<Arc<ClientConfig>>) -> Result<Self> {
        Ok(Self {
            plan,
            tls,
            conversations: dialect::conversations(plan)?,
            tally: Tally::new(plan),
            pacer: None,
            open: 0,
            unacked: 0,
            replies: Vec::new(),
        })
    }
}

/// How far the layers below the frames are.
enum Phase {
    Connect,
    Shake(Box<ClientConnection>),
    Talk,
}

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The upgrade was asked for.
    Upgrade,
    /// Hello was said.
    Greet,
    /// Subscribe or join was said.
    Follow,
    Open,
}

/// A connection.
pub struct Peer<'p> {
    pub link: Link,
    pub session: Session<'p>,
    phase: Phase,
}

impl<'p> Peer<'p> {
    /// Begins to connect.
    ///
    /// # Errors
    /// As [`Link::connect`].
    pub fn connect(opening: Opening, session: Session<'p>) -> Result<Self> {
        Ok(Self { link: Link::connect(opening)?, session, phase: Phase::Connect })
    }

    pub fn is_open(&self) -> bool {
        self.session.step == Step::Open
    }

    /// Does what can be done now. False: the server ended the connection.
    ///
    /// # Errors
    /// Anything that a measured run may not meet.
    pub fn wake(&mut self, event: Event, desk: &mut Desk<'p>, buffer: &mut [u8]) -> Result<bool> {
        match &mut self.phase {
            Phase::Connect => {
                if self.link.connected()? {
                    self.begin(desk, buffer)?;
                }
                Ok(true)
            }
            Phase::Shake(_) => {
                self.shake(desk, buffer)?;
                Ok(true)
            }
            Phase::Talk => {
                self.link.flush()?;
                let session = &mut self.session;
                let open = self.link.receive(buffer, event.ends, &mut |opcode, frame, now| {
                    session.hear(desk, opcode, frame, now)
                })?;
                if !desk.replies.is_empty() {
                    self.link.send(&desk.replies)?;
                    desk.replies.clear();
                }
                Ok(open)
            }
        }
    }

    fn begin(&mut self, desk: &mut Desk<'p>, buffer: &mut [u8]) -> Result<()> {
        let Some(config) = &desk.tls else { return self.talk(desk) };
        let name = ServerName::from(desk.plan.address.ip());
        self.phase = Phase::Shake(Box::new(ClientConnection::new(config.clone(), name)?));
        self.shake(desk, buffer)
    }

    fn shake(&mut self, desk: &mut Desk<'p>, buffer: &mut [u8]) -> Result<()> {
        let Phase::Shake(tls) = &mut self.phase else { return Ok(()) };
        if !self.link.shake(tls, buffer)? {
            return Ok(());
        }
        let Phase::Shake(tls) = std::mem::replace(&mut self.phase, Phase::Talk) else { return Ok(()) };
        self.link.secure(Keys::extract(*tls)?);
        self.talk(desk)
    }

    fn talk(&mut self, desk: &Desk<'p>) -> Result<()> {
        self.phase = Phase::Talk;
        self.link.send(&frames::upgrade(desk.plan.dialect, desk.plan.address))
    }
}

/// What a connection says and hears above its frames.
pub struct Session<'p> {
    pub seat: Seat<'p>,
    pub reader: Reader,
    /// It will stop reading: where it stands is kept.
    pub watched: bool,
    pub position: Position,
    /// It stopped reading, and is on its way back to where the others are.
    pub chase: Option<Box<Chase>>,
    /// Where to subscribe; `None`: from now on.
    pub after: Option<Position>,
    pub acks: Acks,
    step: Step,
}

impl<'p> Session<'p> {
    pub fn new(seat: Seat<'p>) -> Self {
        Self {
            seat,
            reader: Reader::new(seat.room),
            watched: false,
            position: Position::default(),
            chase: None,
            after: None,
            acks: Acks::default(),
            step: Step::Upgrade,
        }
    }

    /// The path of every frame; a delivery takes the first two arms.
    fn hear(&mut self, desk: &mut Desk<'p>, opcode: Opcode, frame: &[u8], now_ns: u64) -> Result<()> {
        match opcode {
            Opcode::Binary => match dialect::see(desk.plan.dialect, frame, desk.plan.payload) {
                Seen::Body(body) => self.deliver(desk, frame, body, now_ns),
                Seen::Joined => self.joined(desk),
                Seen::Other => self.answered(desk, frame, now_ns),
            },
            Opcode::Ping => {
                frames::pong(&mut desk.replies, frame);
                Ok(())
            }
            Opcode::Pong => Ok(()),
            Opcode::Head => self.upgraded(desk, frame),
            Opcode::Close => self.closed(frames::close(frame)),
            Opcode::Text => bail!("a text message on a binary connection"),
        }
    }

    #[inline]
    fn deliver(&mut self, desk: &mut Desk<'p>, frame: &[u8], body: &[u8], now_ns: u64) -> Result<()> {
        if self.watched {
            self.position = dialect::position(frame).context("a stopped reader needs durable deliveries")?;
            if let Some(chase) = &mut self.chase {
                return chase.deliver(body);
            }
        }
        desk.tally.deliver(&mut self.reader, body, now_ns)
    }

    fn upgraded(&mut self, desk: &mut Desk<'p>, head: &[u8]) -> Result<()> {
        frames::check_upgrade(head)?;
        match (desk.plan.dialect, self.seat.part) {
            (Dialect::Relay, _) => {
                self.step = Step::Greet;
                frames::binary(&mut desk.replies, &dialect::hello(self.seat.token));
            }
            (Dialect::Floor, Part::Subscriber) => {
                self.step = Step::Follow;
                frames::binary(&mut desk.replies, &dialect::join(self.seat.room));
            }
            (Dialect::Floor, Part::Publisher | Part::Guest) => self.opened(desk),
        }
        Ok(())
    }

    fn joined(&mut self, desk: &mut Desk<'p>) -> Result<()> {
        ensure!(self.step == Step::Follow, "an answer to a join that was not asked for");
        self.opened(desk);
        Ok(())
    }

    fn opened(&mut self, desk: &mut Desk<'p>) {
        self.step = Step::Open;
        desk.open += 1;
    }

    fn answered(&mut self, desk: &mut Desk<'p>, frame: &[u8], now_ns: u64) -> Result<()> {
        match (dialect::answer(frame)?, self.step) {
            (Answer::Welcome, Step::Greet) if self.seat.part == Part::Subscriber => {
                self.step = Step::Follow;
                self.follow(desk);
            }
            (Answer::Page(page), Step::Follow) => self.recovered(desk, &page)?,
            (Answer::Welcome, Step::Greet) => self.opened(desk),
            (Answer::Subscribed(head), Step::Follow) => {
                self.position = self.after.unwrap_or(head);
                self.opened(desk);
            }
            (Answer::Acked(request), Step::Open) => {
                let intended_ns = self.acks.take(request)?;
                desk.unacked -= 1;
                desk.tally.ack(intended_ns, now_ns);
                if let Some(pacer) = &mut desk.pacer {
                    pacer.acked(self.seat.room);
                }
            }
            (Answer::Nothing, _) => {}
            (answer, step) => bail!("{answer:?} while waiting for {step:?}"),
        }
        Ok(())
    }

    /// Subscribes, or asks for history first: the relay lets nobody begin a subscription too far behind.
    fn follow(&mut self, desk: &mut Desk<'p>) {
        let published = desk.tally.published(self.seat.room);
        let conversation = &desk.conversations[self.seat.room as usize];
        let frame = match (&self.chase, self.after) {
            (Some(chase), Some(after)) if chase.is_far(published) => {
                dialect::recover(conversation, after.offset + 1)
            }
            _ => dialect::subscribe(conversation, self.after),
        };
        frames::binary(&mut desk.replies, &frame);
    }

    fn recovered(&mut self, desk: &mut Desk<'p>, page: &Page) -> Result<()> {
        let chase = self.chase.as_mut().context("a page of history that nobody asked for")?;
        page.bodies.iter().try_for_each(|body| chase.deliver(body))?;
        self.after = Some(page.last);
        self.follow(desk);
        Ok(())
    }

    fn closed(&mut self, (code, reason): (u16, String)) -> Result<()> {
        match &mut self.chase {
            Some(chase) => chase.closed(code),
            None => bail!("the server closes with code {code} {reason}"),
        }
    }
}
