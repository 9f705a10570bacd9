//! Connections opened and closed again, so many handshakes under way: what counts is how many sessions open.

use anyhow::{Result, bail, ensure};

use super::hall::Hall;
use super::link::Opening;
use super::peer::{Part, Seat, Session};
use crate::load::clock;
use crate::load::meter::{Meter, SAMPLES};
use crate::plan::{Dialect, Outcome, Plan};

/// Source addresses, 127.0.0.1 and up, in turn: ports that were used a moment ago are not needed again.
const SOURCES: usize = 16;
/// Longest sleep.
const SLEEP_NS: u64 = 10_000_000;

/// Handshakes that follow each other.
struct Storm<'p> {
    hall: Hall<'p>,
    seats: Vec<Seat<'p>>,
    /// Connections begun so far.
    begun: usize,
    opened: u64,
}

/// Keeps handshakes under way for the plan's time.
pub fn carry_out(hall: Hall<'_>, plan: &Plan, at_once: u32) -> Result<Outcome> {
    let mut storm = Storm { hall, seats: seats(plan), begun: 0, opened: 0 };
    // A token that is used again while its connection still opens would have the server close that one.
    ensure!(
        plan.dialect == Dialect::Floor || storm.seats.len() >= 2 * at_once as usize,
        "{at_once} handshakes at once need twice as many tokens, not {}",
        storm.seats.len()
    );
    for number in 0..at_once as usize {
        storm.begin(number)?;
    }
    storm.run_until(clock::now_ns() + (plan.warm_up_s * 1e9) as u64)?;
    let mut meter = Meter::begin(plan.server_pid)?;
    let before = storm.opened;
    for part in 0..SAMPLES {
        storm.run_until(meter.part_ends_ns(part, plan.measure_s))?;
        meter.sample()?;
    }
    let connections = storm.opened - before;
    ensure!(connections > 0, "no connection opened within {} s", plan.measure_s);
    let mut outcome = storm.hall.desk.tally.finish(&[]);
    meter.end(&mut outcome)?;
    Ok(Outcome { connections, ..outcome })
}

/// Each subscriber's token as that of a guest.
fn seats(plan: &Plan) -> Vec<Seat<'_>> {
    let rooms = plan.rooms.iter().enumerate();
    let guest = |room: usize, token| Seat { room: room as u32, part: Part::Guest, token };
    rooms.flat_map(|(room, r)| r.subscribers.iter().map(move |token| guest(room, token.as_str()))).collect()
}

impl Storm<'_> {
    fn begin(&mut self, number: usize) -> Result<()> {
        let Some(seat) = self.seats.get(self.begun % self.seats.len().max(1)) else {
            bail!("a storm needs subscribers in its rooms: theirs are the tokens")
        };
        let address = self.hall.desk.plan.address;
        let loopback = address.is_ipv4() && address.ip().is_loopback();
        let source = loopback.then_some(1 + (self.begun % SOURCES) as u8);
        self.begun += 1;
        let opening = Opening { address, source, small: false, reset: true };
        self.hall.connect_as(opening, Session::new(*seat), number)
    }

    fn run_until(&mut self, end_ns: u64) -> Result<()> {
        loop {
            let now = clock::now_ns();
            if now >= end_ns {
                return Ok(());
            }
            let count = self.hall.reactor.wait((end_ns - now).min(SLEEP_NS))?;
            for at in 0..count {
                let event = self.hall.reactor.event(at);
                ensure!(
                    self.hall.wake(event)?,
                    "the server ended a connection that was opening; did it die?"
                );
                if self.hall.peers[event.number].is_open() {
                    self.opened += 1;
                    self.begin(event.number)?;
                }
            }
        }
    }
}
