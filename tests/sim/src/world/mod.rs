//! One simulated world: everything that exists, and the loop that lets the next thing happen.

mod bus;
mod network;
mod node;
mod ops;
mod pipe;
mod watch;

use std::collections::{BTreeMap, VecDeque};

use relay_proto::planted::Fault;
use schema_wire::UserId;

use crate::clock::{MS, S};
use crate::id;
use crate::model::Model;
use crate::plan::Plan;
use crate::prng::Prng;
use crate::queue::{Happening, Queue};
use crate::store::SimStore;
use crate::trace::Trace;
use schema_wire::v1::Role;

pub use network::Link;
pub use node::Node;

use crate::client::Client;

/// After faults stop, everything has caught up within this, in microseconds, and what the message limit holds up.
const HEAL_US: u64 = 30 * S;
/// How often the model looks at everything, in microseconds.
const SWEEP_US: u64 = 200 * MS;
/// A world that does more than this runs away.
const EVENTS_MAX: u64 = 200_000;

/// A world and all that is in it.
pub struct World {
    pub plan: Plan,
    pub now: u64,
    pub rng: Prng,
    pub queue: Queue,
    pub store: SimStore,
    pub nodes: Vec<Node>,
    pub links: Vec<Link>,
    pub clients: Vec<Client>,
    pub model: Model,
    pub trace: Trace,
    pub weather: Weather,
    /// What each user published lately, counted for all nodes: when, and how many.
    counted: BTreeMap<UserId, VecDeque<(u64, u32)>>,
    pub salt: u64,
    planted: Option<Fault>,
    events: u64,
    hash: u64,
}

/// Faults that hold for a while, by the world time at which they end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub bus_silent: u64,
    pub store_slow: u64,
    pub store_full: u64,
    pub store_away: u64,
    pub healed: bool,
}

/// What came of a world.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    pub events: u64,
    pub hash: u64,
    pub violation: Option<crate::model::Violation>,
}

impl World {
    /// The world of a plan, at its start.
    pub fn new(plan: Plan, planted: Option<Fault>, trace: Trace) -> Self {
        let mut rng = Prng::new(plan.seed ^ 0x51ed_2701_a5a5_0f0f);
        let salt = rng.bits();
        let mut store = SimStore::new();
        for user in 0..plan.users {
            let owned = plan.devices.iter().enumerate().filter(|(_, owner)| **owner == user);
            store.add_account(id::user(user, salt), owned.map(|(device, _)| id::device(device, salt)));
        }
        for (index, members) in plan.conversations.iter().enumerate() {
            let conversation = id::conversation(index, salt);
            store.add_conversation(conversation);
            for (rank, member) in members.iter().enumerate() {
                let role = if rank == 0 { Role::Owner } else { Role::Member };
                store.add_member(conversation, id::user(*member, salt), role, true, crate::clock::unix_ms(0));
            }
        }
        if let Some(index) = plan.waiting {
            let log = store.logs.get_mut(&id::conversation(index, salt)).expect("it was just added");
            log.waiting = Some(id::user(plan.conversations[index][0], salt));
        }
        store.changes.clear();
        let clients = plan.devices.iter().enumerate().map(|(d, u)| Client::new(d, *u, salt)).collect();
        let model = Model::new(&plan);
        let mut world = Self {
            now: 0,
            rng,
            queue: Queue::default(),
            store,
            nodes: Vec::new(),
            links: Vec::new(),
            clients,
            model,
            trace,
            weather: Weather::default(),
            counted: BTreeMap::new(),
            salt,
            planted,
            events: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            plan,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        for node in 0..self.plan.nodes {
            self.nodes.push(Node::default());
            self.boot(node);
        }
        for device in 0..self.clients.len() {
            let at = self.rng.below(200 * MS);
            self.queue.at(at, Happening::Wake { device });
        }
        for (at, op) in self.plan.ops.clone() {
            self.queue.at(at, Happening::Op(op));
        }
        self.queue.at(SWEEP_US, Happening::Sweep);
    }

    /// Lets things happen until everything has caught up, something is wrong, or time is over.
    pub fn run(mut self) -> (Outcome, Trace) {
        while self.model.violation.is_none() {
            let Some((at, happening)) = self.queue.take() else { break };
            assert!(at >= self.now, "time does not go back");
            self.now = at;
            self.events += 1;
            self.mix(at);
            if self.events > EVENTS_MAX {
                self.model.violate(at, "liveness", format!("more than {EVENTS_MAX} events"));
                break;
            }
            if !self.happen(happening) {
                break;
            }
        }
        let violation = self.model.violation.take();
        (Outcome { seed: self.plan.seed, events: self.events, hash: self.hash, violation }, self.trace)
    }

    /// Adds to the fingerprint by which two runs of one seed are compared.
    pub fn mix(&mut self, value: u64) {
        self.hash = (self.hash ^ value).wrapping_mul(0x0100_0000_01b3);
    }

    fn happen(&mut self, happening: Happening) -> bool {
        match happening {
            Happening::Shard { place, event } => self.shard_event(place, event),
            Happening::Timer { place } => self.timer(place),
            Happening::Commit { node, life } => self.commit(node, life),
            Happening::Ask { place, ticket, request } => self.ask(place, ticket, &request),
            Happening::Poll { node, life } => self.poll(node, life),
            Happening::Bus { node, life, bytes } => self.bus_arrives(node, life, &bytes),
            Happening::Listening { place, subject, on } => self.listening(place, subject, on),
            Happening::BusSound { node, life, sound } => self.bus_sound(node, life, sound),
            Happening::Connect { link } => self.connect_arrives(link),
            Happening::Up { link, frame, sent_us } => self.up_arrives(link, frame, sent_us),
            Happening::Cut { link } => self.cut_arrives(link),
            Happening::Down { link } => self.down_arrives(link),
            Happening::Closed { link, with } => self.client_closed(link, with),
            Happening::Wake { device } => self.client_wake(device),
            Happening::Op(op) => self.op(op),
            Happening::Sweep => return self.sweep(),
        }
        true
    }

    /// The periodic look of the model. False when the world is done.
    fn sweep(&mut self) -> bool {
        self.check_access();
        let healed_for = self.now.saturating_sub(self.plan.heal_us);
        if self.weather.healed && healed_for > S {
            match self.behind() {
                None => {
                    self.check_final();
                    return false;
                }
                Some(why) if healed_for > HEAL_US + self.limited_us() => {
                    let text = format!("{} s after the last fault: {why}", healed_for / S);
                    self.model.violate(self.now, "liveness", text);
                    return false;
                }
                Some(_) => {}
            }
        }
        self.queue.at(self.now + SWEEP_US, Happening::Sweep);
        true
    }
}
