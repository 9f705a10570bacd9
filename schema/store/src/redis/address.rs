//! Where Redis is and how one gets in: a URL becomes connections, each within a deadline, and every reason why not says
//! what to do.

use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisError,
};

use super::slots::Primary;

/// A connection, with TLS and password, is there after this or not at all.
const CONNECT: Duration = Duration::from_secs(1);
/// The oldest release that is served: sharded pub/sub came with it.
const MAJOR_MIN: u32 = 7;
/// Keys looked at for those of others.
const KEYS_LOOKED_AT: usize = 1_000;
/// Requests that wait on one connection before its user waits too.
const PIPELINE: usize = 64;

/// Why Redis cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RedisFault {
    #[error("REDIS_URL is not an address of Redis; write redis://:PASSWORD@HOST:PORT, or rediss:// for TLS")]
    Url,
    #[error("Redis refuses the password; correct the one in REDIS_URL")]
    Password,
    #[error("Redis refuses a command to this account; allow it pub/sub and keys that begin with relay:")]
    Permission,
    #[error("Redis is of version {0}; install 7 or newer")]
    TooOld(u32),
    #[error("Redis does not answer at {0}; start it, or write rediss:// if it wants TLS")]
    Away(String),
    #[error("Redis answers what no Redis should; look whether REDIS_URL names another service")]
    Answer,
    #[error(
        "Redis holds data of another program (keys that do not begin with relay:); give this one a Redis of its own"
    )]
    Foreign,
    #[error("Redis belongs to another installation, with another database; give this one a Redis of its own")]
    Another,
}

impl RedisFault {
    /// Whether waiting may help.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Away(_))
    }

    pub(crate) fn of(error: &RedisError) -> Self {
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => Self::Password,
            (_, Some("NOPERM")) => Self::Permission,
            (ErrorKind::Parse | ErrorKind::UnexpectedReturnType, _) => Self::Answer,
            _ => Self::Away("its address".into()),
        }
    }
}

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisAddress {
    info: ConnectionInfo,
    seed: Primary,
}

impl RedisAddress {
    /// From a URL, which may hold a password.
    ///
    /// # Errors
    /// It is none of Redis.
    pub fn parse(url: &str) -> Result<Self, RedisFault> {
        let info = url.into_connection_info().map_err(|_| RedisFault::Url)?;
        let (ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }) = info.addr()
        else {
            return Err(RedisFault::Url);
        };
        let seed = Primary { host: host.clone(), port: *port };
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // What is asked waits for no answer to what was asked before.
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(Self { info: info.set_redis_settings(settings).set_tcp_settings(tcp), seed })
    }

    /// The server the URL names; of a Cluster, one of them.
    pub fn seed(&self) -> &Primary {
        &self.seed
    }

    /// A connection to one server, whose answers come within `answer`. Pushed messages go to `push`.
    ///
    /// # Errors
    /// It is away, refuses, or does not answer within the deadline.
    pub async fn connect(
        &self,
        to: &Primary,
        answer: Duration,
        push: Option<impl AsyncPushSender>,
    ) -> Result<MultiplexedConnection, RedisFault> {
        let client = Client::open(self.at(to)).map_err(|_| RedisFault::Url)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(answer))
            .set_pipeline_buffer_size(PIPELINE);
        let config = match push {
            Some(push) => config.set_push_sender(push),
            None => config,
        };
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let away = || RedisFault::Away(format!("{}:{}", to.host, to.port));
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(match RedisFault::of(&error) {
                RedisFault::Away(_) => away(),
                fault => fault,
            }),
            Err(_) => Err(away()),
        }
    }

    /// Looks once whether Redis is there, lets us in, is new enough, and holds nothing of others.
    ///
    /// # Errors
    /// The reason why it is of no use; see [`RedisFault::may_pass`].
    pub async fn check(&self) -> Result<(), RedisFault> {
        let mut connection = self.connect(&self.seed, CONNECT, None::<Unheard>).await?;
        let info: Result<String, _> = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
        match info {
            Ok(info) => match major(&info) {
                Some(major) if major < MAJOR_MIN => Err(RedisFault::TooOld(major)),
                Some(_) => alone(&mut connection).await,
                None => Err(RedisFault::Answer),
            },
            // An account may be kept from asking.
            Err(error) if error.code() == Some("NOPERM") => Ok(()),
            Err(error) => Err(RedisFault::of(&error)),
        }
    }

    fn at(&self, to: &Primary) -> ConnectionInfo {
        let (host, port) = (to.host.clone(), to.port);
        let address = match self.info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.info.clone().set_addr(address)
    }
}

/// Looks at some keys: what others keep here would be lost when memory runs out, and ours would.
async fn alone(connection: &mut MultiplexedConnection) -> Result<(), RedisFault> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(0).arg("COUNT").arg(KEYS_LOOKED_AT);
    match scan.query_async::<(String, Vec<Vec<u8>>)>(connection).await {
        Ok((_, keys)) if keys.iter().any(|key| !key.starts_with(b"relay:")) => Err(RedisFault::Foreign),
        Ok(_) => Ok(()),
        // An account may be kept from asking.
        Err(error) if error.code() == Some("NOPERM") => Ok(()),
        Err(error) => Err(RedisFault::of(&error)),
    }
}

/// For connections without pushed messages.
pub(crate) type Unheard = tokio::sync::mpsc::UnboundedSender<redis::PushInfo>;

fn major(info: &str) -> Option<u32> {
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"))?;
    version.split('.').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_understood_or_refused_without_their_password() {
        let address = RedisAddress::parse("redis://:hunter2@cache.example:6380/0").expect("a URL");
        assert_eq!(address.seed(), &Primary { host: "cache.example".into(), port: 6_380 });
        let other = Primary { host: "10.0.0.2".into(), port: 7 };
        assert_eq!(address.at(&other).redis_settings().password(), Some("hunter2"));
        assert!(RedisAddress::parse("rediss://cache.example").is_ok(), "TLS is built in");
        for bad in ["", "cache:6379", "http://cache", "redis+unix:///tmp/hunter2", "redis://"] {
            let refused = RedisAddress::parse(bad).map(|_| ()).err();
            assert!(refused.is_none_or(|fault| !fault.to_string().contains("hunter2")), "{bad}");
        }
        assert!(RedisAddress::parse("http://cache").is_err());
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(major("# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n"), Some(7));
        assert_eq!(major("valkey_version:8"), None);
    }
}
