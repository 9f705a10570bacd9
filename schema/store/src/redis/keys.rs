//! Single commands on keys: each goes to the key's primary, is answered within a deadline or not at all, and a Redis that
//! failed just now is not asked again for a moment, so that its absence costs next to nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tokio::sync::Mutex;

use super::address::{RedisAddress, RedisFault, Unheard};
use super::slots::{Primary, Slots, slot_of};

/// An answer that takes longer does not come.
const ANSWER: Duration = Duration::from_millis(300);
/// After a failure nobody asks for this long.
const PAUSE: Duration = Duration::from_millis(250);

/// The way to keys in Redis.
pub struct Keys {
    address: RedisAddress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    slots: Option<Slots>,
    open: HashMap<Primary, MultiplexedConnection>,
    failed: Option<(Instant, RedisFault)>,
}

impl Keys {
    /// Connects when it is first asked.
    pub fn new(address: RedisAddress) -> Self {
        Self { address, state: Mutex::default() }
    }

    /// Carries out one command on one key.
    ///
    /// # Errors
    /// Redis is away or refuses, or the key holds what it should not.
    pub async fn ask<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> Result<T, RedisFault> {
        let (primary, mut connection) = self.connection(key).await?;
        match command.query_async(&mut connection).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let fault = RedisFault::of(&error);
                // What Redis says about the value is no reason to doubt the way to it.
                let stays = matches!(error.code(), Some("WRONGTYPE" | "ERR")) || fault == RedisFault::Answer;
                if stays {
                    return Err(RedisFault::Answer);
                }
                let mut state = self.state.lock().await;
                state.open.remove(&primary);
                state.slots = None;
                state.failed = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    async fn connection(&self, key: &str) -> Result<(Primary, MultiplexedConnection), RedisFault> {
        let mut state = self.state.lock().await;
        if let Some((at, fault)) = &state.failed
            && at.elapsed() < PAUSE
        {
            return Err(fault.clone());
        }
        let made = self.connect(&mut state, slot_of(key.as_bytes())).await;
        state.failed = made.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        made
    }

    async fn connect(
        &self,
        state: &mut State,
        slot: u16,
    ) -> Result<(Primary, MultiplexedConnection), RedisFault> {
        if state.slots.is_none() {
            state.slots = Some(self.look(&state.open).await?);
        }
        let primary = state.slots.as_ref().and_then(|slots| slots.primary_of(slot)).cloned();
        let primary = primary.ok_or_else(|| RedisFault::Away("the primary of a slot".into()))?;
        if let Some(connection) = state.open.get(&primary) {
            return Ok((primary, connection.clone()));
        }
        let made = self.address.connect(&primary, ANSWER, None::<Unheard>).await;
        let connection = made.inspect_err(|_| state.slots = None)?;
        state.open.insert(primary.clone(), connection.clone());
        Ok((primary, connection))
    }

    /// Asks who answers where the slots are: those that are known, then the one of the URL.
    async fn look(&self, open: &HashMap<Primary, MultiplexedConnection>) -> Result<Slots, RedisFault> {
        for (primary, connection) in open {
            if let Ok(slots) = Slots::read(&mut connection.clone(), primary).await {
                return Ok(slots);
            }
        }
        let seed = self.address.seed();
        let mut connection = self.address.connect(seed, ANSWER, None::<Unheard>).await?;
        Slots::read(&mut connection, seed).await
    }
}
