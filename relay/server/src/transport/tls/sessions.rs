//! Sessions that QUIC clients may resume: each is given out once, the oldest are forgotten first.
//! Memory grows with what is kept, not with what might be.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;
use rustls::server::StoresServerSessions;

/// Length of a session's random name (rustls), in bytes.
const NAME_BYTES: usize = 32;

type Name = [u8; NAME_BYTES];

/// A bounded store of sessions, shared by all shards.
pub(super) struct Sessions {
    kept: Mutex<Kept>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<Name, Box<[u8]>>,
    /// Names in the order they came; some may have been taken since.
    order: VecDeque<Name>,
}

impl Sessions {
    /// Keeps up to `most` sessions.
    pub(super) fn new(most: usize) -> Self {
        Self { kept: Mutex::default(), most }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No step below can be left half done by a panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let Ok(name) = Name::try_from(key) else { return false };
        let mut kept = self.kept();
        if kept.sessions.insert(name, value.into_boxed_slice()).is_none() {
            kept.order.push_back(name);
        }
        if kept.order.len() > self.most
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.sessions.remove(&oldest);
        }
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let name = <&Name>::try_from(key).ok()?;
        self.kept().sessions.get(name).map(|session| session.to_vec())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let name = <&Name>::try_from(key).ok()?;
        self.kept().sessions.remove(name).map(Vec::from)
    }

    fn can_cache(&self) -> bool {
        self.most > 0
    }
}

impl fmt::Debug for Sessions {
    /// Sessions are secrets: only how many there are is told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("kept", &self.kept().sessions.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> Vec<u8> {
        vec![number; NAME_BYTES]
    }

    #[test]
    fn a_session_is_taken_once_and_the_oldest_goes_first() {
        let sessions = Sessions::new(2);
        for number in 0..3 {
            assert!(sessions.put(key(number), vec![number]));
        }
        assert_eq!(sessions.get(&key(0)), None);
        assert_eq!(sessions.get(&key(1)), Some(vec![1]));
        assert_eq!(sessions.take(&key(1)), Some(vec![1]));
        assert_eq!(sessions.take(&key(1)), None);
        assert_eq!(sessions.take(&key(2)), Some(vec![2]));
        assert!(!sessions.put(vec![1, 2, 3], vec![]), "a name that could be guessed is not kept");
        assert_eq!(sessions.take(&[]), None);
    }

    #[test]
    fn names_that_were_taken_do_not_pile_up() {
        let sessions = Sessions::new(4);
        for number in 0..100 {
            sessions.put(key(number), vec![]);
            sessions.take(&key(number));
        }
        assert!(sessions.kept().order.len() <= 4 && sessions.kept().sessions.is_empty());
        assert!(!format!("{sessions:?}").contains("order"));
    }
}
