//! Subscribers that stop reading: the server has to cut them with the code that says resume, and they have to find
//! everything afterwards.

use anyhow::{Result, bail, ensure};

use super::PATIENCE_NS;
use super::hall::Hall;
use super::peer::Session;
use crate::load::clock;
use crate::load::tally::number;
use crate::plan::{Dialect, Kind, Plan};

/// The close code for those who read too slowly.
const SLOW_READER: u16 = 4001;
/// Messages behind the head from which history is paged; the relay draws the line at 10,000.
const FAR: u64 = 8_000;
/// How often it is looked whether all of them are back.
const LOOK_NS: u64 = 20_000_000;

/// One stopped reader on its way back.
pub struct Chase {
    /// The number due next.
    next: u64,
    /// The code it found.
    code: Option<u16>,
    /// It has connected again: what comes now may not end.
    back: bool,
}

impl Chase {
    /// A delivery came.
    ///
    /// # Errors
    /// It is not the next.
    pub fn deliver(&mut self, body: &[u8]) -> Result<()> {
        let number = number(body)?;
        ensure!(number == self.next, "a stopped reader got number {number} where {} was due", self.next);
        self.next += 1;
        Ok(())
    }

    /// Whether so much is missing that a subscription would be refused.
    pub fn is_far(&self, published: u64) -> bool {
        published.saturating_sub(self.next) > FAR
    }

    /// A close frame came.
    ///
    /// # Errors
    /// It is not the one for slow readers.
    pub fn closed(&mut self, code: u16) -> Result<()> {
        ensure!(!self.back, "a reader that came back is closed again, with code {code}");
        ensure!(code == SLOW_READER, "a stopped reader is closed with code {code}, not {SLOW_READER}");
        self.code = Some(code);
        Ok(())
    }
}

/// Refuses a plan whose stopped readers could not resume.
///
/// # Errors
/// They read what is not stored.
pub fn check(plan: &Plan) -> Result<()> {
    ensure!(
        plan.stopped == 0.0 || (plan.dialect == Dialect::Relay && plan.kind == Kind::Durable),
        "readers that stop need the relay and durable publications, or there is nothing to resume"
    );
    Ok(())
}

/// Whether a subscriber is one of those that stop: spread evenly over all.
pub fn chosen(part: f64, subscriber: usize) -> bool {
    let before = (subscriber as f64 * part).floor();
    ((subscriber + 1) as f64 * part).floor() > before
}

/// The chosen ones stop reading.
///
/// # Errors
/// The kernel refuses.
pub fn stop(hall: &mut Hall<'_>) -> Result<()> {
    for peer in hall.peers.iter_mut().filter(|peer| peer.session.watched) {
        hall.reactor.remove(peer.link.fd())?;
        hall.desk.tally.stop(&mut peer.session.reader);
        hall.desk.tally.outcome.stopped += 1;
    }
    Ok(())
}

/// The stopped ones read again, connect again where they were cut, and get everything that was published.
///
/// # Errors
/// Something is missing, twice or out of order; or a reader was closed with another code.
pub fn recover(hall: &mut Hall<'_>) -> Result<()> {
    let mut away = 0;
    for (place, peer) in hall.peers.iter_mut().enumerate().filter(|(_, peer)| peer.session.watched) {
        let next = peer.session.reader.next();
        peer.session.chase = Some(Box::new(Chase { next, code: None, back: false }));
        hall.reactor.add(peer.link.fd(), place)?;
        away += 1;
    }
    let end = clock::now_ns() + PATIENCE_NS;
    while away > 0 && clock::now_ns() < end {
        step(hall)?;
        away = hall.peers.iter().filter(|peer| is_away(hall, &peer.session)).count();
    }
    hall.desk.tally.outcome.recovered = hall.desk.tally.outcome.stopped - away as u64;
    Ok(())
}

fn is_away(hall: &Hall<'_>, session: &Session<'_>) -> bool {
    let published = hall.desk.tally.published(session.seat.room);
    session.chase.as_ref().is_some_and(|chase| chase.next < published)
}

fn step(hall: &mut Hall<'_>) -> Result<()> {
    let count = hall.reactor.wait(LOOK_NS)?;
    for at in 0..count {
        let event = hall.reactor.event(at);
        let going = hall.wake(event)?;
        let Some(chase) = &hall.peers[event.number].session.chase else {
            ensure!(going, "the server ended connection {} without a close frame; did it die?", event.number);
            continue;
        };
        match (chase.code, chase.back) {
            (Some(_), false) => {
                hall.desk.tally.outcome.cut += 1;
                come_back(hall, event.number)?;
            }
            (None, false) if !going => {
                hall.desk.tally.outcome.severed += 1;
                come_back(hall, event.number)?;
            }
            (_, true) if !going => bail!("a reader that came back lost its connection"),
            _ => {}
        }
    }
    Ok(())
}

/// Connects again in the same place and subscribes after the last delivery.
fn come_back(hall: &mut Hall<'_>, place: usize) -> Result<()> {
    let old = &mut hall.peers[place].session;
    let mut session = Session::new(old.seat);
    (session.reader, session.watched, session.after) = (old.reader, true, Some(old.position));
    session.chase = old.chase.take().map(|chase| Box::new(Chase { back: true, ..*chase }));
    hall.connect(session, Some(place))
}
