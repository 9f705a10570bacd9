//! Who watches the newest figures as they come: a bounded number of streams, told of each look, ended with the console.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Streams at once; more are asked to come back later.
pub const STREAMS_MAX: usize = 64;

/// What streams wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tick {
    looks: u64,
    pub is_over: bool,
}

/// All streams.
pub struct Live {
    places: Arc<Semaphore>,
    ticks: watch::Sender<Tick>,
}

impl Default for Live {
    fn default() -> Self {
        let (ticks, _) = watch::channel(Tick::default());
        Self { places: Arc::new(Semaphore::new(STREAMS_MAX)), ticks }
    }
}

/// A place among them, given back when it is dropped.
pub struct Place {
    pub ticks: watch::Receiver<Tick>,
    _permit: OwnedSemaphorePermit,
}

impl Live {
    /// A place; `None` when all are taken.
    pub fn place(&self) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Place { ticks: self.ticks.subscribe(), _permit: permit })
    }

    /// There is something new.
    pub fn tick(&self) {
        self.ticks.send_modify(|tick| tick.looks += 1);
    }

    /// All streams end, so that the console can.
    pub fn end(&self) {
        self.ticks.send_modify(|tick| tick.is_over = true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_bounded_and_told() {
        let live = Live::default();
        let mut taken: Vec<Place> = (0..STREAMS_MAX).map(|_| live.place().unwrap()).collect();
        assert!(live.place().is_none());
        taken.pop();
        let mut place = live.place().unwrap();
        live.tick();
        place.ticks.changed().await.unwrap();
        assert!(!place.ticks.borrow_and_update().is_over);
        live.end();
        place.ticks.changed().await.unwrap();
        assert!(place.ticks.borrow().is_over);
    }
}
