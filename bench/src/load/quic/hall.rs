//! Everybody who takes part in a load, and what all connections share: the dialect, the tally, the pace.

use anyhow::Result;

use crate::load::clock::now_ns;
use crate::load::dialect::{self, Conversation, Position};
use crate::load::keys::Keys;
use crate::load::pace::Pacer;
use crate::load::tally::{Reader, Tally};
use crate::plan::{Dialect, Kind, Pace, Plan};

/// One connection of the plan. Subscribers come first: their numbers are those of their readers.
pub struct Member {
    pub room: u32,
    pub token: String,
    pub publishes: bool,
    /// It stops reading when measuring begins.
    pub stops: bool,
    /// It came back after the server had cut it.
    pub back: bool,
    /// What it saw last; kept only of those who stop.
    pub position: Option<Position>,
}

/// What all connections share.
pub struct Hall {
    pub dialect: Dialect,
    pub kind: Kind,
    pub conversations: Vec<Conversation>,
    pub members: Vec<Member>,
    pub readers: Vec<Reader>,
    pub tally: Tally,
    pub pacer: Pacer,
    /// Connections only greet: nobody subscribes.
    pub greet_only: bool,
    /// Who connects next in a storm.
    pub next_in_storm: usize,
    /// Durable publications without an ack.
    pub unacked: u64,
    /// Members that stopped reading and whose connection ended for it.
    pub cut: Vec<usize>,
    /// A body to be stamped, and its length.
    pub body: Vec<u8>,
    /// A frame being written.
    pub frame: Vec<u8>,
    pub keys: Keys,
}

impl Hall {
    /// # Errors
    /// A conversation of the plan is none.
    pub fn new(plan: &Plan) -> Result<Self> {
        let members = members(plan);
        let subscribers = members.iter().filter(|member| !member.publishes);
        Ok(Self {
            dialect: plan.dialect,
            kind: plan.kind,
            conversations: dialect::conversations(plan)?,
            readers: subscribers.map(|member| Reader::new(member.room)).collect(),
            members,
            tally: Tally::new(plan),
            pacer: Pacer::new(plan, now_ns()),
            greet_only: matches!(plan.pace, Pace::Storm { .. }),
            next_in_storm: 0,
            unacked: 0,
            cut: Vec::new(),
            body: vec![b'.'; plan.payload],
            frame: Vec::new(),
            keys: Keys::default(),
        })
    }

    /// Nothing more is to come: every reader has everything, every publication its ack.
    pub fn is_complete(&self) -> bool {
        self.unacked == 0 && self.readers.iter().all(|reader| self.tally.is_up_to_date(reader))
    }
}

fn members(plan: &Plan) -> Vec<Member> {
    let mut members = Vec::new();
    for publishes in [false, true] {
        for (number, room) in plan.rooms.iter().enumerate() {
            for token in if publishes { &room.publishers } else { &room.subscribers } {
                members.push(Member {
                    room: number as u32,
                    token: token.clone(),
                    publishes,
                    stops: !publishes && stops(plan.stopped, members.len()),
                    back: false,
                    position: None,
                });
            }
        }
    }
    members
}

/// Those that stop are spread evenly over all subscribers.
fn stops(part: f64, subscriber: usize) -> bool {
    ((subscriber + 1) as f64 * part).floor() > (subscriber as f64 * part).floor()
}
