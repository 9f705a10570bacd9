//! What Redis pushes: frames of other nodes go to the home of what they concern, signs of life are noted, everything else
//! is passed over and counted.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use redis::{PushInfo, PushKind, Value};
use schema_wire::bus::{BusFrame, Life, Unreadable, decode};

use super::figures::Figures;
use super::shared::Shared;

/// What one connection's pushed messages tell about the connection itself.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// It is gone, or not what it was.
    pub(super) broken: AtomicBool,
    /// Unsubscriptions that were asked for and not confirmed; one more means that the channel has moved.
    pub(super) unsubscribing: AtomicUsize,
}

/// The function that a connection calls with each pushed message, on the bus's thread.
pub(super) fn receiver(
    shared: &Arc<Shared>,
    pulse: Arc<Pulse>,
) -> impl Fn(PushInfo) -> Result<(), ()> + Send + Sync + use<> {
    let shared: Weak<Shared> = Arc::downgrade(shared);
    move |push| {
        let shared = shared.upgrade().ok_or(())?;
        match push.kind {
            PushKind::SMessage => {
                if let [_, Value::BulkString(bytes)] = &push.data[..] {
                    take(&shared, bytes);
                }
            }
            PushKind::SUnsubscribe => {
                let one_less = |count: usize| count.checked_sub(1);
                let asked = pulse.unsubscribing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
                if asked.is_err() {
                    part(&shared, &pulse);
                }
            }
            PushKind::Disconnection => part(&shared, &pulse),
            _ => {}
        }
        Ok(())
    }
}

fn part(shared: &Shared, pulse: &Pulse) {
    pulse.broken.store(true, Ordering::Relaxed);
    shared.wake.notify_one();
}

fn take(shared: &Shared, bytes: &[u8]) {
    let (from, frame) = match decode(bytes) {
        Ok(frame) => frame,
        Err(reason) => return pass_over(shared, reason),
    };
    let is_own = from == shared.life;
    if !is_own {
        Figures::add(&shared.figures.received, 1);
        spoke(shared, from, &frame);
    }
    match frame {
        BusFrame::Hint(_) if is_own => {}
        BusFrame::Hint(hint) => shared.deliver(from, hint),
        BusFrame::Beat { sent_us, .. } if is_own => returned(shared, sent_us),
        BusFrame::Beat { .. } => {}
        BusFrame::Nudge if is_own => {}
        BusFrame::Nudge => (shared.nudge)(),
        BusFrame::Bye => shared.heard.lock().expect("nothing panics while it listens").left(from),
    }
}

/// What a node of a release says that this one does not read has to be looked for in the store.
fn pass_over(shared: &Shared, reason: Unreadable) {
    shared.figures.unreadable(reason);
    if reason == Unreadable::Version {
        shared.heard.lock().expect("nothing panics while it listens").strange(Instant::now());
    }
}

/// Whatever another node says is a sign of life. A new one is greeted, so that it knows this one at once.
fn spoke(shared: &Shared, from: Life, frame: &BusFrame) {
    let lost = match frame {
        BusFrame::Beat { lost, .. } => Some(*lost),
        _ => None,
    };
    let mut heard = shared.heard.lock().expect("nothing panics while it listens");
    if heard.other(from, lost, Instant::now()) {
        shared.greet.store(true, Ordering::Relaxed);
    }
}

/// This node's own sign of life came back.
fn returned(shared: &Shared, sent_us: u64) {
    let now = Instant::now();
    shared.heard.lock().expect("nothing panics while it listens").own(now);
    let now_us = now.saturating_duration_since(shared.began).as_micros() as u64;
    Figures::set(&shared.figures.lag_us, now_us.saturating_sub(sent_us));
}
