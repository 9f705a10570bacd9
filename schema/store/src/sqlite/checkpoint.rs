//! Moves the write-ahead log into the file beside the writer, so that no commit waits for it. A thread with a connection
//! of its own does nearly all; the writer itself only what is left when the log has grown too long.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::open::{Clock, OpenError, Options, beside};
use super::thread::spawn;

/// The thread is woken each time the log has grown by so many pages of 4 KiB.
const STEP_PAGES: i32 = 512;
/// A log goes back to its beginning only in a moment when nothing is left to move, which does not come while it is written
/// without pause. From this length on the writer makes that moment. 16 MiB: a log that has stopped growing is written in
/// place, which a file system syncs faster than growth.
const WRITER_PAGES: i32 = 4096;

/// The thread and its bell. It belongs to the writer, and must end before the writer's connection is closed: the last
/// connection that closes empties the log.
pub struct Checkpoints {
    overdue: Arc<AtomicBool>,
    passes: Arc<Passes>,
    bell: SyncSender<()>,
    thread: JoinHandle<()>,
}

/// Passes: one at a time, and what became of them.
pub struct Passes {
    /// Held during a pass: SQLite lets only one run at a time, and would turn the writer's away.
    turn: Mutex<()>,
    clock: Clock,
    count: AtomicU64,
    ended_at: AtomicU64,
    pages_left: AtomicU64,
}

impl Passes {
    fn new(clock: Clock) -> Self {
        let zero = AtomicU64::default;
        Self { turn: Mutex::default(), clock, count: zero(), ended_at: zero(), pages_left: zero() }
    }

    /// How many there were, when the last one ended (unix ms), and how many pages it left in the log.
    pub fn read(&self) -> (u64, Option<u64>, u64) {
        let of = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let count = of(&self.count);
        (count, (count > 0).then(|| of(&self.ended_at)), of(&self.pages_left))
    }

    fn note(&self, pages: i64, moved: i64) {
        self.pages_left.store(u64::try_from(pages - moved).unwrap_or(0), Ordering::Relaxed);
        self.ended_at.store((self.clock)(), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Checkpoints {
    /// Takes over from SQLite's own checkpoints after each commit of `writer`.
    pub fn start(path: &Path, options: &Options, writer: &mut Connection) -> Result<Self, OpenError> {
        let connection = beside(path, options)?;
        let (bell, rung) = sync_channel(1);
        let overdue = Arc::new(AtomicBool::new(false));
        let passes = Arc::new(Passes::new(options.clock.clone()));
        let noted = passes.clone();
        let thread = spawn("store-checkpoint".into(), move || checkpoint_loop(&connection, &noted, &rung))?;
        let (ring, too_long) = (bell.clone(), overdue.clone());
        let mut moved_at = 0;
        writer
            .wal_hook(Some(move |_: &mut Wal, pages: i32| {
                if pages >= WRITER_PAGES {
                    too_long.store(true, Ordering::Relaxed);
                }
                // Fewer than before: the log has begun anew.
                if pages < moved_at || pages - moved_at >= STEP_PAGES {
                    moved_at = pages;
                    // A bell that is ringing already covers this commit, too.
                    let _ = ring.try_send(());
                }
                Ok(())
            }))
            .map_err(|e| OpenError::Migration { path: path.to_owned(), why: e.to_string() })?;
        Ok(Self { overdue, passes, bell, thread })
    }

    /// What became of them.
    pub fn passes(&self) -> Arc<Passes> {
        self.passes.clone()
    }

    /// Called by the writer between transactions, after the answers have gone out.
    pub fn catch_up(&self, writer: &Connection) {
        if self.overdue.swap(false, Ordering::Relaxed) {
            checkpoint(writer, &self.passes);
        }
    }

    /// Ends the thread.
    pub fn stop(self, writer: &mut Connection) {
        let none: Option<Hook> = None;
        // The hook holds the other end of the bell: without it the thread hears that it is over.
        if let Err(error) = writer.wal_hook(none) {
            tracing::warn!(%error, "the store's checkpoints could not be stopped");
            return;
        }
        drop(self.bell);
        let _ = self.thread.join();
    }
}

type Hook = fn(&mut Wal, i32) -> rusqlite::Result<()>;

fn checkpoint_loop(connection: &Connection, passes: &Passes, rung: &Receiver<()>) {
    while rung.recv().is_ok() {
        checkpoint(connection, passes);
    }
}

/// Moves what no reader is in the way of. What fails stays in the log, which is as safe, and is tried again.
fn checkpoint(connection: &Connection, passes: &Passes) {
    let _turn = passes.turn.lock().unwrap_or_else(PoisonError::into_inner);
    match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?))) {
        Ok((pages, moved)) => passes.note(pages, moved),
        Err(error) => {
            tracing::warn!(%error, "the store's log could not be moved into its file; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::super::open::writer;
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A log in a folder of its own, and what writes into it.
    struct Log {
        folder: tempfile::TempDir,
        writer: Connection,
        checkpoints: Checkpoints,
    }

    impl Log {
        fn open() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("store.db");
            let mut writer = writer(&path, &Options::default()).unwrap();
            writer.execute_batch("CREATE TABLE load (bytes BLOB)").unwrap();
            let checkpoints = Checkpoints::start(&path, &Options::default(), &mut writer).unwrap();
            Self { folder, writer, checkpoints }
        }

        fn write(&self, bytes: u64) {
            self.writer.execute("INSERT INTO load VALUES (zeroblob(?1))", [bytes as i64]).unwrap();
        }

        fn bytes(&self, name: &str) -> u64 {
            self.folder.path().join(name).metadata().map_or(0, |file| file.len())
        }

        fn close(mut self) -> (tempfile::TempDir, PathBuf) {
            self.checkpoints.stop(&mut self.writer);
            drop(self.writer);
            let log = self.folder.path().join("store.db-wal");
            (self.folder, log)
        }
    }

    #[test]
    fn the_log_moves_into_the_file_without_the_writer() {
        let log = Log::open();
        for _ in 0..8 {
            log.write(MIB);
        }
        let patience = Instant::now() + Duration::from_secs(30);
        while log.bytes("store.db") < 7 * MIB {
            assert!(Instant::now() < patience, "nobody moved the log: {} bytes", log.bytes("store.db"));
            std::thread::sleep(Duration::from_millis(5));
        }
        let (_folder, left) = log.close();
        assert!(!left.exists(), "who closes last takes the log along");
    }

    #[test]
    fn a_log_written_without_pause_stays_bounded() {
        let log = Log::open();
        for _ in 0..20 {
            log.write(4 * MIB);
            log.checkpoints.catch_up(&log.writer);
        }
        let most = (WRITER_PAGES as u64 * 4096) + 8 * MIB;
        assert!(log.bytes("store.db-wal") < most, "{} bytes", log.bytes("store.db-wal"));
        log.close();
    }
}
