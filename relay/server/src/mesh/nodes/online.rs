//! Who is online, in Redis for one lease: what a node says of its users is kept there, so that who begins to watch learns
//! it at once, also while the node that said it cannot be heard. A hint like every other; the nodes themselves are asked
//! too. Who hides or left is not written down.

use std::rc::Rc;
use std::sync::Arc;

use redis::Cmd;
use schema_store::redis::Keys;
use schema_wire::UserId;
use schema_wire::bus::{BusFrame, Hint, decode, encode};
use schema_wire::v1::PresenceState;
use tokio::sync::Semaphore;

use super::figures::Figures;
use super::shared::Shared;

/// How long it is kept, in milliseconds.
const LIFE_MS: i64 = 30_000;
/// What was said longer ago than half a lease would be said again by now.
const LEFT_MS_MIN: i64 = LIFE_MS / 2;
/// Commands under way at once; beyond, nothing is kept or looked up.
const UNDER_WAY: usize = 256;

/// What is there, and how long it stays.
const LOOK: &str = "return {redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}";
/// Removes what this node said, and only that: bytes 5 to 12 of a frame say who.
const REMOVE: &str = r"
local said = redis.call('GET', KEYS[1])
if said and string.sub(said, 5, 12) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
";

/// The way to what was said.
pub(super) struct Online {
    keys: Rc<Keys>,
    places: Arc<Semaphore>,
}

impl Online {
    pub(super) fn new(keys: Rc<Keys>) -> Self {
        Self { keys, places: Arc::new(Semaphore::new(UNDER_WAY)) }
    }

    /// Keeps what a frame on its way out says, or answers what it asks.
    pub(super) fn pass(&self, shared: &Arc<Shared>, frame: &BusFrame) {
        match frame {
            BusFrame::Hint(Hint::Presence { user, state, .. }) => {
                let shown = matches!(*state, PresenceState::Online | PresenceState::Away);
                let said = shown.then(|| encode(shared.life, frame));
                self.keep(shared, *user, said);
            }
            BusFrame::Hint(Hint::PresenceAsked { user }) => self.look(shared, *user),
            _ => {}
        }
    }

    fn keep(&self, shared: &Arc<Shared>, user: UserId, said: Option<Vec<u8>>) {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let (key, keys) = (key(user), self.keys.clone());
        let mut command = Cmd::new();
        match said {
            Some(said) => command.arg("SET").arg(&key).arg(said).arg("PX").arg(LIFE_MS),
            None => command.arg("EVAL").arg(REMOVE).arg(1).arg(&key).arg(&shared.life.0.to_be_bytes()[..]),
        };
        tokio::task::spawn_local(async move {
            let _place = place;
            // Without an answer it lapses.
            let _ = keys.ask::<redis::Value>(&key, &command).await;
        });
    }

    fn look(&self, shared: &Arc<Shared>, user: UserId) {
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let (key, keys, shared) = (key(user), self.keys.clone(), shared.clone());
        tokio::task::spawn_local(async move {
            let _place = place;
            let mut command = Cmd::new();
            command.arg("EVAL").arg(LOOK).arg(1).arg(&key);
            let found = keys.ask::<(Option<Vec<u8>>, i64)>(&key, &command).await;
            let said = found.ok().filter(|(_, left)| *left >= LEFT_MS_MIN).and_then(|(said, _)| said);
            match said.and_then(|said| decode(&said).ok()) {
                Some((from, BusFrame::Hint(hint))) if is_of(&hint, user) && from != shared.life => {
                    Figures::add(&shared.figures.online_hits, 1);
                    shared.deliver(from, hint);
                }
                _ => Figures::add(&shared.figures.online_misses, 1),
            }
        });
    }
}

fn is_of(hint: &Hint, user: UserId) -> bool {
    matches!(hint, Hint::Presence { user: of, .. } if *of == user)
}

fn key(user: UserId) -> String {
    format!("relay:1:o:{user}")
}
