//! The floor of durable publishing: the rows of an append in the store's own schema and settings, committed in groups,
//! and nothing else: no checks, no threads, no answers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::conversation::{GroupDraft, HistoryPolicy};
use schema_store::rows::device::NewSession;
use schema_store::token::NewToken;
use schema_store::{Accounts, SqliteStore};
use schema_wire::publication::kind;
use schema_wire::{ConversationId, DeviceId, PublishKey, UserId};
use serde::{Deserialize, Serialize};

/// The file that is written in the given folder.
const FILE: &str = "commit-floor.db";
const BATCH_MAX: usize = 4096;
/// A row's random bytes, of its id and of its publish key each.
const RANDOM_BYTES: usize = 10;
/// Longest commit told apart, in nanoseconds.
const COMMIT_NS_MAX: u64 = 60_000_000_000;

/// What the store sets on each of its connections.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("journal_mode", "WAL"),
    ("synchronous", "FULL"),
    ("foreign_keys", "true"),
    ("secure_delete", "true"),
    ("temp_store", "MEMORY"),
];

/// What the store runs for each message that it accepts; a message whose key is new needs no more than the plain insert.
pub(super) const MESSAGE: &str = "INSERT INTO messages (id, conversation_id, log_offset, generation, kind, sender_id, device_id, created_at,
           relates_to, expires_at, publish_key, members_version, notify, commitment, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
pub(super) const PUBLISH_KEY: &str =
    "INSERT INTO publish_keys (sender_id, publish_key, conversation_id, log_offset, generation, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
/// What the store runs once for each conversation of a group.
pub(super) const HEAD: &str = "UPDATE conversations SET next_offset = ?2, last_at = ?3 WHERE id = ?1";

/// What is to be committed.
#[derive(clap::Args)]
pub struct Arguments {
    /// An empty folder on the disk that is measured.
    #[arg(long)]
    pub folder: PathBuf,
    /// Bytes of each body.
    #[arg(long)]
    pub payload: usize,
    /// Rows in one transaction.
    #[arg(long)]
    pub batch: usize,
    /// Conversations that take turns, each with a sender of its own.
    #[arg(long, default_value_t = 1)]
    pub conversations: usize,
    #[arg(long)]
    pub seconds: f64,
}

/// What group commit alone costs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CommitOutcome {
    /// Messages per second, each with its two rows.
    pub rows_per_s: f64,
    /// From the beginning of a transaction until it is durable, in microseconds.
    pub commit_p50_us: f64,
    pub commit_p99_us: f64,
    /// CPU time of the one thread, user and system, in microseconds per message.
    pub cpu_us_per_row: f64,
}

/// Measures and prints the outcome as one line of JSON.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { folder, payload, batch, conversations, seconds } = arguments;
    let outcome = measure(folder, *payload, *batch, *conversations, *seconds)?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

/// Commits groups of `batch` messages of `payload` bytes for `seconds`, in turn to `conversations`, into a new database in
/// `folder`.
pub fn measure(
    folder: &Path,
    payload: usize,
    batch: usize,
    conversations: usize,
    seconds: f64,
) -> Result<CommitOutcome> {
    ensure!((1..=BATCH_MAX).contains(&batch), "a batch of {batch} rows; from 1 to {BATCH_MAX} make sense");
    ensure!(seconds > 0.0 && seconds.is_finite(), "{seconds} seconds; give a time to measure");
    ensure!(conversations > 0, "at least one conversation");
    let mut log = Log::create(folder, conversations)?;
    let body = vec![0x5a; payload];
    let mut commits_ns = Histogram::<u64>::new_with_bounds(1, COMMIT_NS_MAX, 3)?;
    let wanted = Duration::from_secs_f64(seconds);
    let (began, cpu_began) = (Instant::now(), thread_cpu()?);
    let mut before = Duration::ZERO;
    while before < wanted {
        log.commit(&body, batch)?;
        let after = began.elapsed();
        commits_ns.saturating_record((after - before).as_nanos() as u64);
        before = after;
    }
    let cpu = thread_cpu()? - cpu_began;
    let rows = commits_ns.len() as f64 * batch as f64;
    let quantile_us = |q| commits_ns.value_at_quantile(q) as f64 / 1e3;
    Ok(CommitOutcome {
        rows_per_s: rows / before.as_secs_f64(),
        commit_p50_us: quantile_us(0.5),
        commit_p99_us: quantile_us(0.99),
        cpu_us_per_row: cpu.as_secs_f64() * 1e6 / rows,
    })
}

/// One conversation's log, written by one device of its only member.
struct Seat {
    conversation: ConversationId,
    sender: UserId,
    device: DeviceId,
    members_version: i64,
    next_offset: i64,
}

/// All logs of the database.
struct Log {
    connection: Connection,
    seats: Vec<Seat>,
    generation: u32,
    random: Vec<u8>,
}

impl Log {
    /// The store itself makes file, schema and rows to start from.
    fn create(folder: &Path, conversations: usize) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        let path = folder.join(FILE);
        ensure!(!path.exists(), "{} exists; choose an empty folder", path.display());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let people = runtime.block_on(people(&path, conversations))?;
        let connection = open(&path)?;
        let generation =
            connection.query_row("SELECT max(generation) FROM store_generation", [], |row| row.get(0))?;
        let seat = |(conversation, sender, device): (ConversationId, UserId, DeviceId)| {
            let (members_version, next_offset) = connection.query_row(
                "SELECT members_version, next_offset FROM conversations WHERE id = ?1",
                [conversation.0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            Ok(Seat { conversation, sender, device, members_version, next_offset })
        };
        let seats = people.into_iter().map(seat).collect::<Result<Vec<_>>>()?;
        Ok(Self { connection, seats, generation, random: Vec::new() })
    }

    /// Commits `rows` messages together.
    fn commit(&mut self, body: &[u8], rows: usize) -> Result<()> {
        self.random.resize(rows * 2 * RANDOM_BYTES, 0);
        getrandom::fill(&mut self.random).context("the operating system has no randomness")?;
        let at = now_ms();
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seats = self.seats.len();
        {
            let mut message = tx.prepare_cached(MESSAGE)?;
            let mut publish_key = tx.prepare_cached(PUBLISH_KEY)?;
            for (row, random) in self.random.as_chunks().0.chunks_exact(2).enumerate() {
                let seat = &mut self.seats[row % seats];
                let (conversation, sender) = (seat.conversation.0, seat.sender.0);
                let (id, key) = (UserId::v7(at, random[0]).0, PublishKey::v7(at, random[1]).0);
                let (offset, none) = (seat.next_offset, None::<i64>);
                message.execute(params![
                    id,
                    conversation,
                    offset,
                    self.generation,
                    kind::MESSAGE,
                    sender,
                    seat.device.0,
                    at as i64,
                    none,
                    none,
                    key,
                    seat.members_version,
                    0,
                    none,
                    body,
                ])?;
                publish_key.execute(params![
                    sender,
                    key,
                    conversation,
                    offset,
                    self.generation,
                    at as i64
                ])?;
                seat.next_offset += 1;
            }
            let mut head = tx.prepare_cached(HEAD)?;
            for seat in self.seats.iter().take(rows) {
                head.execute(params![seat.conversation.0, seat.next_offset, at as i64])?;
            }
        }
        Ok(tx.commit()?)
    }
}

/// A new store with a user, a device and a conversation for each log. It is closed again.
async fn people(path: &Path, conversations: usize) -> Result<Vec<(ConversationId, UserId, DeviceId)>> {
    let store = SqliteStore::open(path)?;
    let mut people = Vec::new();
    for number in 0..conversations {
        let registration = Registration {
            email: format!("floor{number}@bench.example"),
            name: format!("floor{number}"),
            password_hash: "nobody logs in".to_owned(),
            invite: None,
            activation: Activation::Immediate,
        };
        let user = store.register(registration, Origin::system()).await?;
        let (_, refresh) = NewToken::generate(now_ms() + 3_600_000);
        let session =
            NewSession { user, device: None, device_name: "floor".to_owned(), refresh, rehash: None };
        let device = store.open_session(session, Origin::system()).await?.device;
        let history = HistoryPolicy::SinceJoin;
        let draft = GroupDraft { name: "floor".to_owned(), members: Vec::new(), history, ttl: None };
        people.push((store.create_group(user, draft).await?, user, device));
    }
    Ok(people)
}

fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    for (name, value) in SETTINGS {
        connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
            // A setting that answers nothing is set as well.
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            other => Err(other),
        })?;
    }
    Ok(connection)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// User and system time of this thread.
fn thread_cpu() -> Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct it is given.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    ensure!(status == 0, "the thread's CPU clock: {}", std::io::Error::last_os_error());
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}
