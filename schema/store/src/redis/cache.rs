//! The cache of what is read often, in Redis for all nodes. Never an authority: who may read is always asked of the store,
//! and whatever goes wrong here, slowness included, is a miss. What changed leaves a mark for longer than a reader may
//! take to fill, so that nothing read before the change is cached after it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use redis::Cmd;
use schema_wire::{ConversationId, Generation, UserId};
use tokio::sync::Semaphore;

use super::address::{RedisAddress, RedisFault};
use super::keys::Keys;
use super::sealed::{SEAL_BYTES, Seal};

/// A hit that takes longer is none: the store would have answered.
const DEADLINE: Duration = Duration::from_millis(25);
/// After a failure Redis is left alone for this long.
const REST: Duration = Duration::from_millis(500);
/// What takes longer between the beginning of a read and its end is not cached, and a mark stays twice as long.
const FILL_WITHIN: Duration = Duration::from_secs(5);
/// Longest entry, in bytes.
const ENTRY_BYTES_MAX: usize = 96 * 1024;
/// Entries written at once; more are not cached.
const FILLS_MAX: usize = 256;
/// Marks that could not be left yet; beyond, this process does without the cache until all entries have gone.
const OWED_MAX: usize = 16_384;

/// Says whose Redis it is.
const OWNER: &str = "relay:1:owner";
/// Writes an entry unless a mark is there.
const FILL: &str = r"
if redis.call('GET', KEYS[1]) == '' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// What is cached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Item {
    /// An active account, as it describes itself.
    Profile(UserId),
    /// What a conversation is, the same for all its members.
    Conversation(ConversationId),
    /// The newest messages, as stored.
    Recent(ConversationId),
}

/// How long entries live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lives {
    pub profile: Duration,
    pub conversation: Duration,
    pub recent: Duration,
}

impl Lives {
    /// An hour, five minutes, a minute; each at most `longest`. The change log is kept for an hour, and what changed before
    /// that nobody could tell any more.
    pub fn at_most(longest: Duration) -> Self {
        let of = |seconds| Duration::from_secs(seconds).min(longest);
        Self { profile: of(3_600), conversation: of(300), recent: of(60) }
    }
}

/// The cache, as one process sees it.
pub struct Cache {
    keys: Keys,
    address: RedisAddress,
    lives: Lives,
    seal: OnceLock<Seal>,
    generation: AtomicU32,
    owed: Mutex<BTreeSet<Item>>,
    settling: AtomicBool,
    rests_until: Mutex<Option<Instant>>,
    fills: Arc<Semaphore>,
    /// Hits and misses of each kind.
    figures: [[AtomicU64; 2]; Item::KINDS.len()],
}

impl Item {
    const KINDS: [&str; 3] = ["profile", "conversation", "recent"];

    fn kind(self) -> usize {
        match self {
            Self::Profile(_) => 0,
            Self::Conversation(_) => 1,
            Self::Recent(_) => 2,
        }
    }

    /// Of a generation: what a failover may have lost is not in the next one.
    fn key(self, generation: Generation) -> String {
        let generation = generation.0;
        match self {
            Self::Profile(user) => format!("relay:1:{generation}:p:{user}"),
            Self::Conversation(conversation) => format!("relay:1:{generation}:i:{conversation}"),
            Self::Recent(conversation) => format!("relay:1:{generation}:r:{conversation}"),
        }
    }
}

impl Cache {
    /// One that does nothing before it is unlocked.
    pub fn new(address: RedisAddress, lives: Lives) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::new(address.clone()),
            address,
            lives,
            seal: OnceLock::new(),
            generation: AtomicU32::new(0),
            owed: Mutex::default(),
            settling: AtomicBool::new(false),
            rests_until: Mutex::default(),
            fills: Arc::new(Semaphore::new(FILLS_MAX)),
            figures: Default::default(),
        })
    }

    /// Looks whether Redis is this installation's, makes it so if it is nobody's, and begins to work. A Redis that is away
    /// is waited for.
    ///
    /// # Errors
    /// It refuses, is of no use, or is another's.
    pub async fn unlock(&self, secret: &[u8; SEAL_BYTES]) -> Result<(), RedisFault> {
        let seal = self.seal.get_or_init(|| Seal::new(secret));
        match self.claim(seal.owner()).await {
            Err(fault) if fault.may_pass() => {
                tracing::warn!(%fault, "nothing is cached until it answers");
                Ok(())
            }
            verdict => verdict,
        }
    }

    async fn claim(&self, owner: &str) -> Result<(), RedisFault> {
        self.address.check().await?;
        let mut command = Cmd::new();
        command.arg("SET").arg(OWNER).arg(owner).arg("NX").arg("GET");
        match self.keys.ask::<Option<String>>(OWNER, &command).await? {
            Some(other) if other != owner => Err(RedisFault::Another),
            _ => Ok(()),
        }
    }

    /// The generation entries are of from now on.
    pub fn begin(&self, generation: Generation) {
        self.generation.store(generation.0, Ordering::Relaxed);
    }

    /// The entry, if there is one that can be trusted.
    pub async fn get(self: &Arc<Self>, item: Item) -> Option<Vec<u8>> {
        let found = self.look(item).await;
        self.figures[item.kind()][usize::from(found.is_none())].fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Takes back a hit that turned out to be of no use.
    pub fn missed(&self, item: Item) {
        let [hits, misses] = &self.figures[item.kind()];
        hits.fetch_sub(1, Ordering::Relaxed);
        misses.fetch_add(1, Ordering::Relaxed);
    }

    async fn look(self: &Arc<Self>, item: Item) -> Option<Vec<u8>> {
        let seal = self.seal.get()?;
        if self.rests() || self.owed.lock().expect("nothing panics while it owes").contains(&item) {
            return None;
        }
        let key = self.key(item);
        let (cache, asked) = (self.clone(), key.clone());
        // Goes on when nobody waits any more: whoever connects first does it for all.
        let asking = tokio::spawn(async move {
            let mut command = Cmd::new();
            command.arg("GET").arg(&asked);
            cache.keys.ask::<Option<Vec<u8>>>(&asked, &command).await
        });
        match tokio::time::timeout(DEADLINE, asking).await {
            Ok(Ok(Ok(found))) => seal.open(&key, &found?),
            _ => {
                self.rest(REST);
                None
            }
        }
    }

    /// Keeps what was read from the store since `began`, unless it changed meanwhile. Nobody waits for it.
    pub fn fill(self: &Arc<Self>, item: Item, began: Instant, plain: Vec<u8>) {
        let Some(seal) = self.seal.get() else { return };
        let Ok(place) = self.fills.clone().try_acquire_owned() else { return };
        if began.elapsed() > FILL_WITHIN || plain.len() > ENTRY_BYTES_MAX || self.rests() {
            return;
        }
        let key = self.key(item);
        let mut command = Cmd::new();
        command.arg("EVAL").arg(FILL).arg(1).arg(&key).arg(seal.close(&key, plain));
        command.arg(self.life(item).as_millis() as u64);
        let cache = self.clone();
        tokio::spawn(async move {
            let _place = place;
            if cache.keys.ask::<i64>(&key, &command).await.is_err() {
                cache.rest(REST);
            }
        });
    }

    /// These changed. At once for this process; for the others as soon as Redis knows.
    pub fn forget(self: &Arc<Self>, items: impl IntoIterator<Item = Item>) {
        let mut owed = self.owed.lock().expect("nothing panics while it owes");
        owed.extend(items);
        if owed.len() > OWED_MAX {
            owed.clear();
            tracing::warn!(
                "too much changed while Redis was away: nothing is read from the cache for a while"
            );
            self.rest(self.lives.profile);
        }
        let is_settled = owed.is_empty();
        drop(owed);
        if !is_settled && !self.settling.swap(true, Ordering::AcqRel) {
            let cache = self.clone();
            tokio::spawn(async move {
                cache.settle().await;
                cache.settling.store(false, Ordering::Release);
            });
        }
    }

    /// Leaves the marks that are owed, until Redis fails.
    async fn settle(&self) {
        loop {
            let next = self.owed.lock().expect("nothing panics while it owes").first().copied();
            let Some(item) = next else { return };
            let key = self.key(item);
            let mut command = Cmd::new();
            command.arg("SET").arg(&key).arg("").arg("PX").arg(2 * FILL_WITHIN.as_millis() as u64);
            if self.keys.ask::<()>(&key, &command).await.is_err() {
                return;
            }
            self.owed.lock().expect("nothing panics while it owes").remove(&item);
        }
    }

    fn key(&self, item: Item) -> String {
        item.key(Generation(self.generation.load(Ordering::Relaxed)))
    }

    fn life(&self, item: Item) -> Duration {
        match item {
            Item::Profile(_) => self.lives.profile,
            Item::Conversation(_) => self.lives.conversation,
            Item::Recent(_) => self.lives.recent,
        }
    }

    fn rests(&self) -> bool {
        let until = *self.rests_until.lock().expect("nothing panics while it rests");
        until.is_some_and(|until| Instant::now() < until)
    }

    fn rest(&self, long: Duration) {
        let mut until = self.rests_until.lock().expect("nothing panics while it rests");
        *until = (*until).max(Some(Instant::now() + long));
    }

    /// Prometheus text: hits and misses by kind.
    pub fn metrics(&self) -> String {
        let mut text = String::with_capacity(512);
        for (at, (name, help)) in [
            ("relay_cache_hits_total", "Reads that the cache answered."),
            ("relay_cache_misses_total", "Reads that the store answered."),
        ]
        .into_iter()
        .enumerate()
        {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} counter\n"));
            for (kind, counts) in Item::KINDS.iter().zip(&self.figures) {
                let count = counts[at].load(Ordering::Relaxed);
                text.push_str(&format!("{name}{{cache=\"{kind}\"}} {count}\n"));
            }
        }
        text
    }
}
