//! What one connection says and hears, in either dialect, from its greeting to its last frame.

use std::collections::VecDeque;

use anyhow::{Result, ensure};

use super::hall::Hall;
use crate::framing;
use crate::load::dialect::{self, Answer, Page, REQUEST_PUBLISH, Seen, answer, see};
use crate::load::tally::stamp;
use crate::plan::{Dialect, Kind};

/// Messages that a reader lacks and from which on it pages; the relay draws the line at 10,000.
const FAR: u64 = 8_000;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Handshake, greeting and subscription are under way.
    Arriving,
    /// It does what it is for.
    Ready,
    /// It was closed, by either side.
    Over,
}

/// One connection's side of the dialect.
pub struct Session {
    /// Its place among the members.
    pub member: usize,
    pub stage: Stage,
    /// Bytes for the control stream that wait to be taken.
    pub out: Vec<u8>,
    /// Request number of the oldest publication without an ack.
    oldest: u64,
    /// When each publication from the oldest on was meant to go out; `None` once acked.
    unacked: VecDeque<Option<u64>>,
}

impl Session {
    pub fn new(member: usize) -> Self {
        Self {
            member,
            stage: Stage::Arriving,
            out: Vec::new(),
            oldest: REQUEST_PUBLISH,
            unacked: VecDeque::new(),
        }
    }

    /// The handshake is done: says what comes first.
    pub fn greet(&mut self, hall: &Hall) {
        let member = &hall.members[self.member];
        match hall.dialect {
            Dialect::Relay => framing::write(&mut self.out, &dialect::hello(&member.token)),
            Dialect::Floor if member.publishes => self.stage = Stage::Ready,
            Dialect::Floor => framing::write(&mut self.out, &dialect::join(member.room)),
        }
    }

    /// Takes one frame of the server.
    ///
    /// # Errors
    /// It is a refusal, or nothing that belongs here.
    pub fn take(&mut self, hall: &mut Hall, frame: &[u8], now_ns: u64) -> Result<()> {
        match see(hall.dialect, frame, hall.body.len()) {
            Seen::Body(body) => {
                ensure!(self.member < hall.readers.len(), "a delivery came to a publisher");
                hall.tally.deliver(&mut hall.readers[self.member], body, now_ns)?;
                if hall.members[self.member].stops {
                    hall.members[self.member].position = dialect::position(frame);
                }
            }
            Seen::Joined => self.stage = Stage::Ready,
            Seen::Other => self.hear(hall, answer(frame)?, now_ns)?,
        }
        Ok(())
    }

    fn hear(&mut self, hall: &mut Hall, answer: Answer, now_ns: u64) -> Result<()> {
        let member = &mut hall.members[self.member];
        match answer {
            Answer::Welcome if member.publishes || hall.greet_only => self.stage = Stage::Ready,
            Answer::Welcome => {
                let missing = hall.tally.published(member.room) - hall.readers[self.member].next();
                match member.position.filter(|_| missing > FAR) {
                    Some(position) => self.page(hall, position.offset + 1),
                    None => self.subscribe(hall),
                }
            }
            Answer::Page(page) => self.turn_page(hall, &page, now_ns)?,
            Answer::Subscribed(head) => {
                self.stage = Stage::Ready;
                if member.stops && member.position.is_none() {
                    member.position = Some(head);
                }
            }
            Answer::Acked(request) => self.acked(hall, request, now_ns)?,
            Answer::Nothing => {}
        }
        Ok(())
    }

    fn subscribe(&mut self, hall: &Hall) {
        let member = &hall.members[self.member];
        let conversation = &hall.conversations[member.room as usize];
        framing::write(&mut self.out, &dialect::subscribe(conversation, member.position));
    }

    fn page(&mut self, hall: &Hall, from: u64) {
        let conversation = &hall.conversations[hall.members[self.member].room as usize];
        framing::write(&mut self.out, &dialect::recover(conversation, from));
    }

    /// Takes a page of what it missed; after the last one it follows the conversation again.
    fn turn_page(&mut self, hall: &mut Hall, page: &Page, now_ns: u64) -> Result<()> {
        for body in &page.bodies {
            hall.tally.deliver(&mut hall.readers[self.member], body, now_ns)?;
        }
        if !page.bodies.is_empty() {
            hall.members[self.member].position = Some(page.last);
        }
        match page.next {
            0 => self.subscribe(hall),
            next => self.page(hall, next),
        }
        Ok(())
    }

    fn acked(&mut self, hall: &mut Hall, request: u64, now_ns: u64) -> Result<()> {
        let index = request.wrapping_sub(self.oldest) as usize;
        let intended = self.unacked.get_mut(index).and_then(Option::take);
        ensure!(intended.is_some(), "an ack of request {request}, which waits for none");
        hall.tally.ack(intended.unwrap_or_default(), now_ns);
        hall.pacer.acked(hall.members[self.member].room);
        hall.unacked -= 1;
        while self.unacked.front().is_some_and(Option::is_none) {
            self.unacked.pop_front();
            self.oldest += 1;
        }
        Ok(())
    }

    /// Publishes to its room what was meant for `intended_ns`.
    pub fn publish(&mut self, hall: &mut Hall, intended_ns: u64) {
        let room = hall.members[self.member].room;
        let number = hall.tally.publish(room);
        stamp(&mut hall.body, intended_ns, number, room);
        hall.frame.clear();
        let conversation = hall.conversations[room as usize];
        match (hall.dialect, hall.kind) {
            (Dialect::Floor, _) => dialect::publish_floor(&mut hall.frame, room, &hall.body),
            (Dialect::Relay, Kind::Ephemeral) => dialect::signal(&mut hall.frame, &conversation, &hall.body),
            (Dialect::Relay, Kind::Durable) => {
                let key = hall.keys.fresh().0;
                let request = self.oldest + self.unacked.len() as u64;
                self.unacked.push_back(Some(intended_ns));
                hall.unacked += 1;
                dialect::publish(&mut hall.frame, request, &conversation, &key, &hall.body);
            }
        }
        framing::write(&mut self.out, &hall.frame);
    }
}
