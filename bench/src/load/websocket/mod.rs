//! Load over TCP: WebSocket with and without TLS. One thread and one epoll loop, so that a core of it is enough for a
//! core of a server. This file is the course of a run; what happens within is `hall`'s, `peer`'s and `link`'s.

mod acks;
mod frames;
mod hall;
mod idle;
mod link;
mod peer;
mod reactor;
mod stopped;
mod storm;
#[cfg(test)]
mod tests;
mod tls;
mod trust;

use anyhow::{Result, ensure};

use hall::Hall;
use peer::Part;

use super::meter::{Meter, SAMPLES};
use super::{Said, Say, clock};
use crate::plan::{Outcome, Pace, Plan};

/// How long deliveries and acks may take once nothing is published any more.
const PATIENCE_NS: u64 = 20_000_000_000;
/// How often it is looked whether all of them came.
const LOOK_NS: u64 = 5_000_000;

/// Carries out a plan.
///
/// # Errors
/// The server refuses, fails, ends a connection or dies; or the plan asks for what can't be.
pub fn carry_out(plan: &Plan, say: Say<'_>) -> Result<()> {
    let rss_before_kib = clock::resident_kib(plan.server_pid)?;
    let mut hall = Hall::new(plan)?;
    let outcome = match plan.pace {
        Pace::Storm { at_once } => storm::carry_out(hall, plan, at_once)?,
        Pace::Idle => {
            let outcome = idle::carry_out(&mut hall, plan)?;
            return say(Said::Outcome(Outcome { rss_before_kib, ..outcome }));
        }
        Pace::Open { .. } | Pace::Closed { .. } => publish(hall, plan, say)?,
    };
    say(Said::Outcome(Outcome { rss_before_kib, ..outcome }))
}

/// Opens all rooms, publishes, measures, and waits for what is under way.
fn publish(mut hall: Hall<'_>, plan: &Plan, say: Say<'_>) -> Result<Outcome> {
    stopped::check(plan)?;
    hall.open_rooms(|subscriber| stopped::chosen(plan.stopped, subscriber))?;
    let connections = hall.peers.len() as u64;
    if plan.together {
        say(Said::Ready)?;
    }
    hall.begin()?;
    hall.run_until(clock::now_ns() + (plan.warm_up_s * 1e9) as u64)?;
    stopped::stop(&mut hall)?;
    measure(&mut hall, plan)?;
    drain(&mut hall)?;
    stopped::recover(&mut hall)?;
    let Hall { peers, mut desk, .. } = hall;
    let subscribers = peers.iter().filter(|peer| peer.session.seat.part == Part::Subscriber);
    let readers: Vec<_> = subscribers.map(|peer| peer.session.reader).collect();
    Ok(Outcome { connections, ..desk.tally.finish(&readers) })
}

/// The measured part. Deliveries count when they are seen within it: those that were published just before take the
/// place of those that are seen just after, so that CPU time and deliveries belong together at a steady rate.
fn measure(hall: &mut Hall<'_>, plan: &Plan) -> Result<()> {
    let mut meter = Meter::begin(plan.server_pid)?;
    hall.desk.tally.measure(true);
    for part in 0..SAMPLES {
        hall.run_until(meter.part_ends_ns(part, plan.measure_s))?;
        if part + 1 < SAMPLES {
            meter.sample()?;
        }
    }
    hall.desk.tally.measure(false);
    meter.end(&mut hall.desk.tally.outcome)
}

/// Publishes nothing more and waits until everything came or patience ends.
fn drain(hall: &mut Hall<'_>) -> Result<()> {
    hall.desk.pacer = None;
    let end = clock::now_ns() + PATIENCE_NS;
    while clock::now_ns() < end && (hall.desk.unacked > 0 || !everything_came(hall)) {
        hall.run_until(clock::now_ns() + LOOK_NS)?;
    }
    let (unacked, seconds) = (hall.desk.unacked, PATIENCE_NS / 1_000_000_000);
    ensure!(unacked == 0, "{unacked} publications have no ack {seconds} s after the last of them");
    Ok(())
}

fn everything_came(hall: &Hall<'_>) -> bool {
    let tally = &hall.desk.tally;
    let mut subscribers = hall.peers.iter().filter(|peer| peer.session.seat.part == Part::Subscriber);
    tally.all_under_way() == 0 || subscribers.all(|peer| tally.is_up_to_date(&peer.session.reader))
}
