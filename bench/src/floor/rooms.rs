//! Who is where, and what each room still has to say: every publication is framed once per room, whoever gets it.

use anyhow::{Result, ensure};

use super::frames::{BINARY, Frame};

/// Rooms are numbered from nought; they lie in one table.
const ROOMS_MAX: u32 = 1 << 20;

#[derive(Default)]
pub struct Room {
    pub members: Vec<u32>,
    /// Frames of this wake, in order.
    pub pending: Vec<u8>,
}

#[derive(Default)]
pub struct Rooms {
    rooms: Vec<Room>,
    /// Rooms with something pending.
    due: Vec<u32>,
}

impl Rooms {
    pub fn join(&mut self, number: u32, member: u32) -> Result<()> {
        ensure!(number < ROOMS_MAX, "room {number}; they are numbered below {ROOMS_MAX}");
        if self.rooms.len() <= number as usize {
            self.rooms.resize_with(number as usize + 1, Room::default);
        }
        self.rooms[number as usize].members.push(member);
        Ok(())
    }

    pub fn leave(&mut self, number: u32, member: u32) {
        let members = &mut self.rooms[number as usize].members;
        if let Some(at) = members.iter().position(|other| *other == member) {
            members.swap_remove(at);
        }
    }

    /// Keeps what follows the first `skip` bytes of a client's message for everybody in the room.
    #[inline]
    pub fn publish(&mut self, number: u32, frame: &Frame<'_>, skip: usize) {
        let Some(room) = self.rooms.get_mut(number as usize).filter(|room| !room.members.is_empty()) else {
            return;
        };
        if room.pending.is_empty() {
            self.due.push(number);
        }
        frame.forward(BINARY, skip, &mut room.pending);
    }

    /// Hands each room that has something pending over, once.
    pub fn for_each_due(&mut self, mut deliver: impl FnMut(&Room)) {
        for number in self.due.drain(..) {
            let room = &mut self.rooms[number as usize];
            deliver(room);
            room.pending.clear();
        }
    }
}
