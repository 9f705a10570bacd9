//! What arrived: every body of every room reaches each of its subscribers once and in order, or is counted as lost.
//! Knows when a publication reached everybody, which is what a closed loop waits for.

use std::collections::VecDeque;

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2Serializer};

use crate::plan::{BODY_BYTES_MIN, Outcome, Plan};

/// Longest latency told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Writes the beginning of a body.
pub fn stamp(body: &mut [u8], intended_ns: u64, number: u64, room: u32) {
    body[..8].copy_from_slice(&intended_ns.to_be_bytes());
    body[8..16].copy_from_slice(&number.to_be_bytes());
    body[16..20].copy_from_slice(&room.to_be_bytes());
    body[20..BODY_BYTES_MIN].copy_from_slice(b"load");
}

/// The number of a body.
///
/// # Errors
/// It is no body of a load.
pub fn number(body: &[u8]) -> Result<u64> {
    ensure!(body.len() >= BODY_BYTES_MIN && &body[20..24] == b"load", "a body that was never published");
    Ok(word(body, 8))
}

fn word(body: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(body[at..at + 8].try_into().expect("eight bytes"))
}

/// One subscriber's place in its room's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    room: u32,
    next: u64,
    /// It stopped reading on purpose: what it misses is not lost.
    pub stopped: bool,
}

impl Reader {
    pub fn new(room: u32) -> Self {
        Self { room, next: 0, stopped: false }
    }

    /// The number that it gets next.
    pub fn next(&self) -> u64 {
        self.next
    }
}

#[derive(Default)]
struct RoomTally {
    subscribers: u32,
    published: u64,
    /// Publications that every reading subscriber has, from the first on.
    complete: u64,
    /// How many have each publication after `complete`.
    arrived: VecDeque<u32>,
}

impl RoomTally {
    fn complete(&mut self) {
        while self.arrived.front().is_some_and(|count| *count >= self.subscribers) {
            self.arrived.pop_front();
            self.complete += 1;
        }
    }
}

/// All rooms of a plan.
pub struct Tally {
    rooms: Vec<RoomTally>,
    delivery_ns: Histogram<u64>,
    ack_ns: Histogram<u64>,
    measuring: bool,
    pub outcome: Outcome,
    payload: usize,
}

impl Tally {
    pub fn new(plan: &Plan) -> Self {
        let new = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("constant bounds are valid");
        let room = |room: &crate::plan::Room| RoomTally {
            subscribers: room.subscribers.len() as u32,
            ..RoomTally::default()
        };
        Self {
            rooms: plan.rooms.iter().map(room).collect(),
            delivery_ns: new(),
            ack_ns: new(),
            measuring: false,
            outcome: Outcome::default(),
            payload: plan.payload,
        }
    }

    /// From here on latencies, publications and deliveries count.
    pub fn measure(&mut self, on: bool) {
        self.measuring = on;
    }

    /// A publication of `room` goes out; its number.
    pub fn publish(&mut self, room: u32) -> u64 {
        let room = &mut self.rooms[room as usize];
        room.published += 1;
        room.arrived.push_back(0);
        if room.subscribers == 0 {
            room.complete();
        }
        self.outcome.published += u64::from(self.measuring);
        room.published - 1
    }

    /// A body came to a subscriber.
    ///
    /// # Errors
    /// It is no body of this load, or of another room.
    pub fn deliver(&mut self, reader: &mut Reader, body: &[u8], now_ns: u64) -> Result<()> {
        ensure!(body.len() == self.payload && &body[20..24] == b"load", "a body that was never published");
        let (intended_ns, number) = (word(body, 0), word(body, 8));
        let room_number = u32::from_be_bytes(body[16..20].try_into().expect("four bytes"));
        ensure!(room_number == reader.room, "a body of room {room_number} came to room {}", reader.room);
        if number < reader.next {
            self.outcome.doubled += 1;
            return Ok(());
        }
        self.outcome.lost += number - reader.next;
        reader.next = number + 1;
        if self.measuring {
            self.outcome.delivered += 1;
            self.delivery_ns.saturating_record(now_ns.saturating_sub(intended_ns).max(1));
        }
        let room = &mut self.rooms[reader.room as usize];
        if let Some(count) = room.arrived.get_mut((number.wrapping_sub(room.complete)) as usize) {
            *count += 1;
        }
        room.complete();
        Ok(())
    }

    /// An ack came for something meant for `intended_ns`.
    pub fn ack(&mut self, intended_ns: u64, now_ns: u64) {
        if self.measuring {
            self.outcome.acked += 1;
            self.ack_ns.saturating_record(now_ns.saturating_sub(intended_ns).max(1));
        }
    }

    /// A subscriber stops reading: nobody waits for it any more.
    pub fn stop(&mut self, reader: &mut Reader) {
        if !std::mem::replace(&mut reader.stopped, true) {
            let room = &mut self.rooms[reader.room as usize];
            room.subscribers -= 1;
            room.complete();
        }
    }

    /// Publications of a room, reached or not.
    pub fn published(&self, room: u32) -> u64 {
        self.rooms[room as usize].published
    }

    /// Publications of a room that have not reached every subscriber.
    pub fn under_way(&self, room: u32) -> u64 {
        let room = &self.rooms[room as usize];
        room.published - room.complete
    }

    /// Whether a publication of a room reached every subscriber already; one without subscribers has nothing to wait for.
    pub fn has_begun(&self, room: u32) -> bool {
        let room = &self.rooms[room as usize];
        room.complete > 0 || room.subscribers == 0
    }

    /// Publications of all rooms that have not reached every subscriber.
    pub fn all_under_way(&self) -> u64 {
        self.rooms.iter().map(|room| room.published - room.complete).sum()
    }

    /// Whether a subscriber has the newest publication of its room; what it lacks before that is lost for good.
    pub fn is_up_to_date(&self, reader: &Reader) -> bool {
        reader.stopped || reader.next == self.rooms[reader.room as usize].published
    }

    /// Once nothing more can come: what never came is lost.
    pub fn finish(&mut self, readers: &[Reader]) -> Outcome {
        for reader in readers.iter().filter(|reader| !reader.stopped) {
            self.outcome.lost += self.rooms[reader.room as usize].published - reader.next;
        }
        self.outcome.delivery_ns = encode(&self.delivery_ns);
        self.outcome.ack_ns = encode(&self.ack_ns);
        std::mem::take(&mut self.outcome)
    }
}

fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).expect("a Vec takes every byte");
    STANDARD.encode(bytes)
}
