//! What waits for the reader threads: a bounded queue that wakes one sleeping reader per request, and none while a
//! busy one comes by anyway.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::thread::Work;

/// The queue, shared by all readers.
pub struct Reads {
    state: Mutex<State>,
    asked: Condvar,
    queue_max: usize,
}

pub struct State {
    waiting: VecDeque<Work>,
    /// Readers that sleep, and how many of them have been called.
    asleep: usize,
    called: usize,
    closed: bool,
}

/// As many requests wait as may.
#[derive(Debug)]
pub struct Full;

impl Reads {
    pub fn new(queue_max: usize) -> Self {
        let state = State { waiting: VecDeque::new(), asleep: 0, called: 0, closed: false };
        Self { state: Mutex::new(state), asked: Condvar::new(), queue_max }
    }

    /// Queues a request, in order of arrival.
    pub fn push(&self, work: Work) -> Result<(), Full> {
        self.place_among(self.queue_max).ok_or(Full)?.take(work);
        Ok(())
    }

    /// A place for those who can also wait elsewhere: they take half of the queue at most.
    pub fn place(&self) -> Option<Place<'_>> {
        self.place_among(self.queue_max / 2)
    }

    fn place_among(&self, most: usize) -> Option<Place<'_>> {
        let state = self.lock();
        (state.waiting.len() < most).then_some(Place { state, asked: &self.asked })
    }

    /// The next request; waits for one. `None`: the queue is closed and empty.
    pub fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                return Some(work);
            }
            if state.closed {
                return None;
            }
            state.asleep += 1;
            state = self.asked.wait(state).expect(NEVER);
            // Woken without a call it takes another's, which costs that one a call too many at worst.
            state.asleep -= 1;
            state.called = state.called.saturating_sub(1);
        }
    }

    /// Lets readers end once nothing waits.
    pub fn close(&self) {
        self.lock().closed = true;
        self.asked.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NEVER)
    }
}

/// The end of the queue, held until it is taken or dropped.
pub struct Place<'a> {
    state: MutexGuard<'a, State>,
    asked: &'a Condvar,
}

impl Place<'_> {
    pub fn take(mut self, work: Work) {
        self.state.waiting.push_back(work);
        let call = self.state.asleep > self.state.called;
        self.state.called += usize::from(call);
        drop(self.state);
        if call {
            self.asked.notify_one();
        }
    }
}

const NEVER: &str = "nothing panics while it holds the queue";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use rusqlite::Connection;

    use super::*;

    #[test]
    fn what_waits_is_bounded_answered_in_order_and_done_before_the_end() {
        let reads = Reads::new(2);
        let (told, order) = mpsc::channel();
        let work = |number: u8| -> Work {
            let told = told.clone();
            Box::new(move |_, _| told.send(number).unwrap())
        };
        reads.push(work(1)).unwrap();
        reads.push(work(2)).unwrap();
        assert!(reads.push(work(3)).is_err() && reads.place().is_none());
        reads.close();
        let mut connection = Connection::open_in_memory().unwrap();
        while let Some(work) = reads.next() {
            work(&mut connection, 0);
        }
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn no_request_is_left_while_readers_sleep() {
        let reads = Arc::new(Reads::new(64));
        let (told, done) = mpsc::channel();
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let reads = reads.clone();
                std::thread::spawn(move || {
                    let mut connection = Connection::open_in_memory().unwrap();
                    while let Some(work) = reads.next() {
                        work(&mut connection, 0);
                    }
                })
            })
            .collect();
        for burst in [1, 7, 64, 3].repeat(50) {
            for _ in 0..burst {
                let told = told.clone();
                reads.push(Box::new(move |_, _| told.send(()).unwrap())).unwrap();
            }
            for _ in 0..burst {
                done.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
            }
        }
        reads.close();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }
}
