//! When the next publication is due, and in which room: at fixed times (open loop) or as windows allow (closed loop).

use crate::load::tally::Tally;
use crate::plan::{Kind, Pace, Plan};

/// Durable publications of a room that subscribers may lack when the next goes out, whatever the window: acks do not
/// wait for subscribers, and a server cuts those that fall behind.
const BEHIND: u64 = 256;

/// Decides what goes out now.
pub struct Pacer {
    pace: Pace,
    kind: Kind,
    rooms: u32,
    /// Of the open loop: when it began, and how many publications it has asked for.
    began_ns: u64,
    asked: u64,
    /// Of the closed loop with acks: publications without one, per room.
    unacked: Vec<u32>,
    /// The room that is looked at next.
    turn: u32,
}

impl Pacer {
    pub fn new(plan: &Plan, now_ns: u64) -> Self {
        Self {
            pace: plan.pace,
            kind: plan.kind,
            rooms: plan.rooms.len() as u32,
            began_ns: now_ns,
            asked: 0,
            unacked: vec![0; plan.rooms.len()],
            turn: 0,
        }
    }

    /// The next publication that is due: its room and the time it was meant for. Ask until `None`.
    pub fn due(&mut self, tally: &Tally, now_ns: u64) -> Option<(u32, u64)> {
        match self.pace {
            Pace::Open { .. } => {
                let at = self.next_ns()?;
                (at <= now_ns).then(|| {
                    self.asked += 1;
                    (self.next_room(), at)
                })
            }
            Pace::Closed { window } => {
                for _ in 0..self.rooms {
                    let room = self.next_room();
                    let under_way = match self.kind {
                        Kind::Ephemeral => tally.under_way(room),
                        Kind::Durable => u64::from(self.unacked[room as usize]),
                    };
                    // The first goes alone: whatever a server has to look up once is then known.
                    let window = if tally.has_begun(room) { window } else { 1 };
                    if under_way < u64::from(window) && tally.under_way(room) < BEHIND.max(window.into()) {
                        self.unacked[room as usize] += u32::from(self.kind == Kind::Durable);
                        // Stay with a room while its window is open: a burst is what a closed loop makes.
                        self.turn = room;
                        return Some((room, now_ns));
                    }
                }
                None
            }
            Pace::Idle | Pace::Storm { .. } => None,
        }
    }

    /// An ack came for a publication of this room.
    pub fn acked(&mut self, room: u32) {
        let unacked = &mut self.unacked[room as usize];
        *unacked = unacked.saturating_sub(1);
    }

    /// When the open loop's next publication is due.
    pub fn next_ns(&self) -> Option<u64> {
        match self.pace {
            Pace::Open { per_second } => Some(self.began_ns + (self.asked as f64 * 1e9 / per_second) as u64),
            _ => None,
        }
    }

    fn next_room(&mut self) -> u32 {
        let room = self.turn;
        self.turn = (self.turn + 1) % self.rooms;
        room
    }
}
