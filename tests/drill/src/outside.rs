//! What the nodes stand on: one PostgreSQL, one Redis, and a network to each that fails. Decides what can happen to them,
//! and undoes it.

use std::time::Duration;

use servers::machine::Sync;
use servers::proxy::Way;
use servers::{Options, Postgres, Proxy, Redis, Stop};

use crate::nemesis::survivors;
use crate::random::Random;

/// The database's whole disk, in MiB: room for a run, and little enough to fill.
const DISK_MIB: u32 = 1_024;

/// What PostgreSQL's files are on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Files {
    /// The disk of this machine.
    Here,
    /// A small one, which can be full.
    Small,
    /// That of a machine of its own: a kill takes its power as well.
    Machine,
}

/// PostgreSQL, Redis, and each node's way to them.
pub struct Outside {
    // Proxies end first.
    to_postgres: Vec<Proxy>,
    to_redis: Vec<Proxy>,
    postgres: Postgres,
    redis: Redis,
    files: Files,
}

/// Something that happens outside the nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Calamity {
    PostgresKilled,
    PostgresRestarted,
    PostgresPaused,
    DiskFull,
    RedisKilled,
    RedisPaused,
    RedisFlushed,
    PostgresCutOff,
    RedisCutOff,
}

impl Calamity {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::PostgresKilled,
        Self::PostgresRestarted,
        Self::PostgresPaused,
        Self::DiskFull,
        Self::RedisKilled,
        Self::RedisPaused,
        Self::RedisFlushed,
        Self::PostgresCutOff,
        Self::RedisCutOff,
    ];

    /// As the history names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PostgresKilled => "kill postgres",
            Self::PostgresRestarted => "postgres restart",
            Self::PostgresPaused => "postgres pause",
            Self::DiskFull => "postgres disk full",
            Self::RedisKilled => "kill redis",
            Self::RedisPaused => "redis pause",
            Self::RedisFlushed => "redis flush",
            Self::PostgresCutOff => "postgres partition",
            Self::RedisCutOff => "redis partition",
        }
    }
}

impl Outside {
    /// New and empty, for so many nodes. PostgreSQL waits for its disk as it does in earnest.
    pub fn start(nodes: usize, files: Files) -> Self {
        let options = Options { fsync: true, ..Options::default() };
        let mut options = options.set("max_wal_size", "128MB").set("max_connections", 200);
        match files {
            Files::Here => {}
            Files::Small => options.disk_mib = Some(DISK_MIB),
            Files::Machine => options.machine = Some(Sync::Honest),
        }
        let postgres = Postgres::start_with(options);
        let redis = Redis::start();
        let proxies = |to| (0..nodes).map(|_| Proxy::to(to)).collect();
        let (to_postgres, to_redis) = (proxies(postgres.address()), proxies(redis.address()));
        Self { to_postgres, to_redis, postgres, redis, files }
    }

    /// What can happen to it.
    pub fn calamities(&self) -> Vec<Calamity> {
        let can = |calamity: &Calamity| *calamity != Calamity::DiskFull || self.files == Files::Small;
        Calamity::ALL.into_iter().filter(can).collect()
    }

    /// What a node is told of them.
    pub fn variables(&self, node: usize) -> [(String, String); 3] {
        let database = self.postgres.url_through(self.to_postgres[node].address(), "postgres");
        let redis = self.redis.url_through(self.to_redis[node].address());
        [("DATABASE_URL", database), ("DATABASE_POOL_SIZE", "12".to_owned()), ("REDIS_URL", redis)]
            .map(|(name, value)| (name.to_owned(), value))
    }

    /// Lets it happen for a while, `longest` at most, and undoes it.
    pub fn suffer(&mut self, calamity: Calamity, longest: Duration, random: &mut Random) {
        let longest = longest.as_millis() as u64;
        let time = random.millis(longest.min(200), longest + 1);
        let wait = || std::thread::sleep(time);
        match calamity {
            Calamity::PostgresKilled => {
                match self.files {
                    Files::Machine => self.postgres.lose_power(survivors(random)),
                    Files::Here | Files::Small => self.postgres.kill(),
                }
                wait();
                self.postgres.start_again();
            }
            Calamity::PostgresRestarted => {
                self.postgres.stop(Stop::Fast);
                wait();
                self.postgres.start_again();
            }
            Calamity::PostgresPaused => {
                self.postgres.pause();
                wait();
                self.postgres.resume();
            }
            Calamity::DiskFull => self.disk_full(time),
            Calamity::RedisKilled => {
                self.redis.kill();
                wait();
                self.redis.start_again();
            }
            Calamity::RedisPaused => {
                self.redis.pause();
                wait();
                self.redis.resume();
            }
            Calamity::RedisFlushed => self.redis.flush(),
            Calamity::PostgresCutOff => partition(random.pick(&self.to_postgres), time, random.below(4)),
            Calamity::RedisCutOff => partition(random.pick(&self.to_redis), time, random.below(4)),
        }
    }

    fn disk_full(&mut self, time: Duration) {
        self.postgres.disk().fill(0);
        std::thread::sleep(time);
        self.postgres.disk().clear();
        // Without room for its log it leaves, and whoever runs it starts it again.
        if self.postgres.has_ended() {
            self.postgres.start_again();
        }
    }
}

/// One of the ways in which a network fails.
fn partition(proxy: Option<&Proxy>, time: Duration, way: u64) {
    let proxy = proxy.expect("each node has one");
    match way {
        0 => proxy.cut(),
        1 => proxy.stall(),
        // What was asked is done, and nobody hears of it.
        2 => proxy.stall_one_way(Way::Answers),
        _ => proxy.swallow(),
    }
    std::thread::sleep(time);
    proxy.heal();
}
