//! What an operator may set, with defaults that run on a laptop. Read once at start, from the environment;
//! what is malformed or contradictory is refused with the line to write instead.

mod access;
mod database;
mod parse;
#[cfg(test)]
mod tests;
mod unknown;
mod variables;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use database::DatabaseConfig;
pub use parse::{ConfigError, Redacted};
pub use unknown::{PREFIXES, Unknown, unknown};
pub use variables::{VARIABLES, Variable, names};

use schema_store::rows::node::NODES_MAX;

use crate::access::{AccessConfig, Secret};
use crate::transport::networks::Networks;
use crate::transport::tls::Records;
use crate::transport::websocket::upgrade::UpgradeRules;
use parse::Reader;

/// Most shards of one node.
pub const SHARDS_MAX: usize = 256;

/// Largest body that may be configured, in bytes: what a frame of `schema-wire` has room for.
pub const BODY_BYTES_MAX: usize = 64 * 1_024;

/// Port of WSS and QUIC unless configured.
pub const PORT_DEFAULT: u16 = 8_443;

/// Paths of the internal listener, which the public one must answer with 404.
const INTERNAL_PATHS: [&str; 4] = ["/health", "/metrics", "/ready", "/hdr"];

/// At most `max` within `window_s` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many.
    pub max: u32,
    /// Within how many seconds.
    pub window_s: u32,
}

/// Which parts of a limit operators may set while the node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MayChange {
    /// How many.
    pub max: bool,
    /// Within how many seconds.
    pub window: bool,
}

/// Where certificate and key are read from, and looked at for changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, the leaf first.
    pub cert: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

/// How much may wait for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxLimit {
    /// Frames that may not be dropped.
    pub frames: usize,
    /// Bytes of all frames.
    pub bytes: usize,
    /// Ephemeral frames.
    pub ephemeral: usize,
}

/// The configuration of one relay node.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Public addresses; WSS and QUIC share each port. An IPv6 address takes IPv6 only.
    pub listen: Vec<SocketAddr>,
    /// Whether `listen` is the default, so that a machine without IPv6 may skip `[::]`.
    pub listen_is_default: bool,
    /// Address of health, readiness and metrics; port 0 takes a free one.
    pub internal_listen: SocketAddr,
    /// Who shows it there may give orders: `/control/…`. `None`: nobody.
    pub control_secret: Option<Secret>,
    /// Where the console reaches the internal listener; `None`: where it listens.
    pub internal_address: Option<String>,
    /// This node's number among its fellows; `None`: a free one.
    pub node: Option<u16>,
    /// What the secrets of QUIC are derived from, the same on all nodes; `None`: made in the data folder.
    pub quic_secret: Option<Secret>,
    /// Whether `/metrics` and `/hdr` are served there.
    pub metrics_enabled: bool,
    /// Shards, one per core.
    pub shards: usize,
    /// Folder of everything this node writes.
    pub data: PathBuf,
    /// Certificate and key; without them an embedded CA is made.
    pub tls: Option<TlsFiles>,
    /// Who protects TLS records of WebSocket connections.
    pub tls_records: Records,
    /// Whose access tokens are accepted.
    pub access: AccessConfig,
    /// Which WebSocket upgrades are accepted.
    pub upgrade: UpgradeRules,
    /// Peers that must speak PROXY protocol v2.
    pub proxy_networks: Networks,
    /// Durable publishes of one user.
    pub message_limit: RateLimit,
    /// Whether that is for operators to set while the node runs; what the environment says is not.
    pub message_limit_may_change: MayChange,
    /// Largest body of a message, in bytes.
    pub body_bytes_max: usize,
    /// Ephemeral events of one session per second.
    pub ephemeral_per_s: u32,
    /// What may wait for one session.
    pub outbox: OutboxLimit,
    /// Largest media file, in bytes.
    pub file_bytes_max: u64,
    /// Silence after which a WebSocket client is pinged.
    pub ping_interval: Duration,
    /// Silence after which a session is closed.
    pub idle_timeout: Duration,
    /// Time for PROXY header, TLS, upgrade and Hello together.
    pub handshake_deadline: Duration,
    /// Time for sessions to leave after SIGTERM.
    pub drain_deadline: Duration,
    /// The store.
    pub database: DatabaseConfig,
    /// Other nodes are reached through it; `None` runs alone.
    pub redis_url: Option<Redacted>,
    /// Life of what is cached in Redis, in seconds.
    pub redis_ttl_s: u32,
    /// What the operator should know although the relay starts.
    pub warnings: Vec<String>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self::from_env(|_| None).expect("the defaults are valid")
    }
}

impl RelayConfig {
    /// Reads the variables of [`VARIABLES`]; empty ones count as not set.
    ///
    /// # Errors
    /// The first variable that is malformed, contradicts another or names a file that cannot be read.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Reader::new(&lookup);
        let data = PathBuf::from(env.text_or_default("DATA_DIR")?);
        let listen = listen(&env)?;
        let mut warnings = Vec::new();
        let max = env.number::<u32>("RATE_LIMIT_MAX", 1..=1_000_000)?;
        let window_s = env.number::<u32>("RATE_LIMIT_TTL", 1..=86_400)?;
        Self {
            listen_is_default: listen.is_none(),
            listen: match listen {
                Some(listen) => listen,
                None => default_listen(env.number("WEBSOCKET_PORT", 1..=65_535)?),
            },
            internal_listen: internal_listen(&env)?,
            control_secret: strong(&env, "RELAY_CONTROL_SECRET")?,
            internal_address: env.raw("RELAY_INTERNAL_ADDRESS"),
            node: match env.number_or("RELAY_NODE_ID", 1..=NODES_MAX, 0)? {
                0 => None,
                node => Some(node),
            },
            quic_secret: strong(&env, "RELAY_QUIC_SECRET")?,
            metrics_enabled: env.boolean("PROMETHEUS_ENABLED")?,
            shards: shards(&env)?,
            tls: tls(&env)?,
            tls_records: env.parsed_or_default("RELAY_TLS_RECORDS", tls_records)?,
            access: access::read(&env, &mut warnings)?,
            upgrade: UpgradeRules { path: path(&env)?, origins: origins(&env)? },
            proxy_networks: networks(&env)?,
            message_limit: RateLimit {
                max: env.number_or("MESSAGE_LIMIT_MAX", 1..=1_000_000, max)?,
                window_s: env.number_or("MESSAGE_LIMIT_TTL", 1..=86_400, window_s)?,
            },
            message_limit_may_change: MayChange {
                max: env.raw("MESSAGE_LIMIT_MAX").or(env.raw("RATE_LIMIT_MAX")).is_none(),
                window: env.raw("MESSAGE_LIMIT_TTL").or(env.raw("RATE_LIMIT_TTL")).is_none(),
            },
            body_bytes_max: env.number("RELAY_BODY_BYTES_MAX", 1_024..=BODY_BYTES_MAX)?,
            ephemeral_per_s: env.number("RELAY_EPHEMERAL_PER_S", 1..=1_000_000)?,
            outbox: outbox(&env)?,
            file_bytes_max: env.number("MAX_FILE_SIZE", 1..=5_368_709_120)?,
            ping_interval: env.seconds("RELAY_PING_INTERVAL", 1..=3_600)?,
            idle_timeout: env.seconds("RELAY_IDLE_TIMEOUT", 2..=86_400)?,
            handshake_deadline: env.seconds("RELAY_HANDSHAKE_DEADLINE", 1..=60)?,
            drain_deadline: env.seconds("RELAY_DRAIN_DEADLINE", 0..=3_600)?,
            database: database::read(&env, &data)?,
            redis_url: redis_url(&env)?,
            redis_ttl_s: env.number("REDIS_TTL", 1..=31_536_000)?,
            data,
            warnings,
        }
        .checked()
    }

    /// The bounds of the relay logic that follow from this configuration.
    pub fn limits(&self) -> relay_proto::limits::Limits {
        let ms = |duration: Duration| duration.as_millis() as u64;
        relay_proto::limits::Limits {
            body_bytes: self.body_bytes_max,
            ephemeral_per_s: self.ephemeral_per_s,
            outbox_frames: self.outbox.frames,
            outbox_bytes: self.outbox.bytes,
            outbox_ephemeral: self.outbox.ephemeral,
            publish_limit: self.message_limit.max,
            publish_window_s: self.message_limit.window_s,
            hello_ms: ms(self.handshake_deadline),
            idle_ms: ms(self.idle_timeout),
            ..relay_proto::limits::Limits::default()
        }
    }

    /// What no variable can see on its own.
    fn checked(self) -> Result<Self, ConfigError> {
        if self.ping_interval >= self.idle_timeout {
            return Err(ConfigError::Conflict {
                names: "RELAY_PING_INTERVAL, RELAY_IDLE_TIMEOUT",
                problem: "a client would be cut before it is pinged",
                fix: "RELAY_IDLE_TIMEOUT=90 (at least twice RELAY_PING_INTERVAL)",
            });
        }
        Ok(self)
    }
}

fn listen(env: &Reader<'_>) -> Result<Option<Vec<SocketAddr>>, ConfigError> {
    let listen = env.list("RELAY_LISTEN", |item| item.parse().ok())?;
    if !listen.is_empty() && env.raw("WEBSOCKET_PORT").is_some() {
        return Err(ConfigError::Conflict {
            names: "RELAY_LISTEN, WEBSOCKET_PORT",
            problem: "both say on which port clients connect",
            fix: "remove WEBSOCKET_PORT, and name the port in RELAY_LISTEN",
        });
    }
    Ok((!listen.is_empty()).then_some(listen))
}

fn default_listen(port: u16) -> Vec<SocketAddr> {
    [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()]
        .map(|address| SocketAddr::new(address, port))
        .into()
}

fn internal_listen(env: &Reader<'_>) -> Result<SocketAddr, ConfigError> {
    let port = env.number_or("PROMETHEUS_PORT", 0..=65_535, 0)?;
    let address = env.parsed("RELAY_INTERNAL_LISTEN", |text| text.parse().ok())?;
    Ok(address.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)))
}

fn shards(env: &Reader<'_>) -> Result<usize, ConfigError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    env.number_or("RELAY_SHARDS", 1..=SHARDS_MAX, cores.min(SHARDS_MAX))
}

fn tls(env: &Reader<'_>) -> Result<Option<TlsFiles>, ConfigError> {
    match (env.raw("RELAY_TLS_CERT_FILE"), env.raw("RELAY_TLS_KEY_FILE")) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert: cert.into(), key: key.into() })),
        _ => Err(ConfigError::Conflict {
            names: "RELAY_TLS_CERT_FILE, RELAY_TLS_KEY_FILE",
            problem: "one is of no use without the other",
            fix: "set both, or neither for a local CA",
        }),
    }
}

/// A shared secret that nobody can guess.
fn strong(env: &Reader<'_>, name: &'static str) -> Result<Option<Secret>, ConfigError> {
    let Some(text) = env.secret_text(name)? else { return Ok(None) };
    Secret::new(&text).map(Some).map_err(|source| ConfigError::Weak { name, source })
}

fn outbox(env: &Reader<'_>) -> Result<OutboxLimit, ConfigError> {
    Ok(OutboxLimit {
        frames: env.number("RELAY_OUTBOX_FRAMES", 64..=1_048_576)?,
        bytes: env.number("RELAY_OUTBOX_BYTES", 262_144..=1_073_741_824)?,
        ephemeral: env.number("RELAY_OUTBOX_EPHEMERAL", 1..=1_048_576)?,
    })
}

fn tls_records(text: &str) -> Option<Records> {
    match text {
        "relay" => Some(Records::Relay),
        "rustls" => Some(Records::Rustls),
        _ => None,
    }
}

fn path(env: &Reader<'_>) -> Result<String, ConfigError> {
    let is_path = |text: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        text.starts_with('/') && text.bytes().all(is_plain) && !INTERNAL_PATHS.contains(&text)
    };
    env.parsed_or_default("WEBSOCKET_PATH", |text| is_path(text).then(|| text.to_owned()))
}

/// Origins as browsers send them: scheme, host and port, in lower case, without a path.
fn origins(env: &Reader<'_>) -> Result<Vec<String>, ConfigError> {
    env.list("ALLOWED_ORIGINS", |item| {
        let host = item.strip_prefix("https://").or(item.strip_prefix("http://"))?;
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        (!host.is_empty() && host.bytes().all(is_host)).then(|| item.to_ascii_lowercase())
    })
}

fn networks(env: &Reader<'_>) -> Result<Networks, ConfigError> {
    let Some(text) = env.raw("PROXY_NETWORKS") else { return Ok(Networks::default()) };
    text.parse().map_err(|why: crate::transport::networks::NetworksError| {
        env.malformed("PROXY_NETWORKS", &text, Some(why.to_string()))
    })
}

fn redis_url(env: &Reader<'_>) -> Result<Option<Redacted>, ConfigError> {
    let is_known = |url: &str| url.starts_with("redis://") || url.starts_with("rediss://");
    env.secret("REDIS_URL", |url| is_known(url).then(|| Redacted::new(url.into())))
}
