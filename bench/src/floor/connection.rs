//! What a connection means: the upgrade, then joining and publishing. Decides what each message does to the rooms.

use anyhow::{Result, bail};

use super::carrier::{Carrier, Desk};
use super::frames::{self, BINARY, CLOSE, Frame, PING, PONG};
use super::link::Link;
use super::rooms::Rooms;
use super::upgrade;

/// First byte of a client's message; the room's number follows.
const JOIN: u8 = 1;
const PUBLISH: u8 = 2;
/// First byte and room.
const HEAD_BYTES: usize = 5;
/// What a join is answered with.
const JOINED: &[u8] = &[1];

/// Buffers that every connection uses while it is read.
pub struct Reading {
    pub received: Box<[u8]>,
    inbox: Vec<u8>,
    answer: Vec<u8>,
    replies: Vec<u8>,
}

impl Reading {
    pub fn new(received_bytes: usize) -> Self {
        let received = vec![0; received_bytes].into();
        Self { received, inbox: Vec::new(), answer: Vec::new(), replies: Vec::new() }
    }
}

pub struct Connection<C> {
    pub link: Link,
    carrier: C,
    /// What has not arrived whole.
    kept: Vec<u8>,
    pub rooms: Vec<u32>,
    upgraded: bool,
    /// To be closed at the end of the wake.
    pub ending: bool,
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing more for now.
    All,
    /// There may be more.
    Some,
    End,
}

impl<C: Carrier> Connection<C> {
    pub fn new(link: Link, carrier: C) -> Self {
        Self { link, carrier, kept: Vec::new(), rooms: Vec::new(), upgraded: false, ending: false }
    }

    /// Reads once and does what the client asks; `member` is the connection's number.
    pub fn read(
        &mut self,
        member: u32,
        rooms: &mut Rooms,
        reading: &mut Reading,
        desk: &mut Desk,
    ) -> Result<Read> {
        let Reading { received, inbox, answer, replies } = reading;
        let arrived = match self.link.receive(received)? {
            None => return Ok(Read::All),
            Some(0) => return Ok(Read::End),
            Some(n) => n,
        };
        inbox.clear();
        inbox.append(&mut self.kept);
        let heard = self.carrier.receive(&mut received[..arrived], inbox, answer);
        if !answer.is_empty() {
            self.link.send(answer, &mut desk.budget)?;
            answer.clear();
        }
        let stays = heard?;
        let understood = self.understand(member, inbox, rooms, replies);
        if !replies.is_empty() {
            self.carrier.send(replies, &mut self.link, desk)?;
            replies.clear();
        }
        let (taken, goes_on) = understood?;
        self.kept.extend_from_slice(&inbox[taken..]);
        Ok(match stays && goes_on {
            false => Read::End,
            true if arrived == received.len() => Read::Some,
            true => Read::All,
        })
    }

    /// Application bytes for this client.
    #[inline]
    pub fn send(&mut self, content: &[u8], desk: &mut Desk) -> Result<()> {
        self.carrier.send(content, &mut self.link, desk)
    }

    /// How much of the inbox was whole, and whether the client stays.
    fn understand(
        &mut self,
        member: u32,
        inbox: &[u8],
        rooms: &mut Rooms,
        replies: &mut Vec<u8>,
    ) -> Result<(usize, bool)> {
        let mut taken = 0;
        if !self.upgraded {
            match upgrade::answer(inbox, replies)? {
                Some(request) => taken = request,
                None => return Ok((0, true)),
            }
            self.upgraded = true;
        }
        while let Some((frame, len)) = frames::split(&inbox[taken..])? {
            taken += len;
            match frame.opcode {
                BINARY => self.obey(member, &frame, rooms, replies)?,
                PING => frame.forward(PONG, 0, replies),
                PONG => {}
                CLOSE => {
                    frame.forward(CLOSE, 0, replies);
                    return Ok((taken, false));
                }
                opcode => bail!("a frame of kind {opcode}; binary ones are spoken here"),
            }
        }
        Ok((taken, true))
    }

    #[inline]
    fn obey(
        &mut self,
        member: u32,
        frame: &Frame<'_>,
        rooms: &mut Rooms,
        replies: &mut Vec<u8>,
    ) -> Result<()> {
        let [kind, room @ ..] = frame.head::<HEAD_BYTES>()?;
        let room = u32::from_be_bytes(room);
        match kind {
            PUBLISH => rooms.publish(room, frame, HEAD_BYTES),
            JOIN => {
                if !self.rooms.contains(&room) {
                    rooms.join(room, member)?;
                    self.rooms.push(room);
                }
                frames::push(BINARY, JOINED, replies);
            }
            other => bail!("a message of kind {other}; 1 joins and 2 publishes"),
        }
        Ok(())
    }
}
