//! Connections to one place: the pool, its deadlines, and one clear line when there is nothing to connect to.

use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::error::SqlState;

use super::fault::Failed;
use super::options::Options;
use super::{tls, url};
use crate::redis::RedisFault;

/// A dead server is noticed by probes after about this long, also when nothing is asked of it.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Why the store could not be opened. The text is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the database's URL is not understood; write it as postgres://USER:PASSWORD@HOST/NAME")]
    Url,
    #[error("sslmode is not understood; use disable, prefer, require or verify-full")]
    SslMode,
    #[error("no certificate authority is known for TLS; install ca-certificates or add sslrootcert=FILE")]
    NoCertificates,
    #[error("{path}: not readable as certificates ({why}); name a PEM file in sslrootcert", path = .path.display())]
    Certificates { path: PathBuf, why: String },
    #[error("{host}: cannot be reached ({why}); check that PostgreSQL runs there and listens")]
    Unreachable { host: String, why: String },
    #[error(
        "{host}: no TLS ({why}); turn it on there, name its authority by sslrootcert, or use sslmode=disable"
    )]
    Tls { host: String, why: String },
    #[error("{host}: {why}; check the user, the password and pg_hba.conf")]
    Refused { host: String, why: String },
    #[error("{host}: {why}; create the database and run `messenger migrate`")]
    NoDatabase { host: String, why: String },
    #[error("{host}: a read replica or read-only; give the primary's address")]
    ReadOnly { host: String },
    #[error("{host}: {why}; grant the user its rights on the schema")]
    NotAllowed { host: String, why: String },
    #[error(
        "the schema is older (version {found}) than this program needs ({known}); run `messenger migrate`"
    )]
    Older { found: u32, known: u32 },
    #[error(
        "the schema (version {found}) is too new for this program, which knows {known}; update this program"
    )]
    Newer { found: u32, known: u32 },
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error("{host}: {why}")]
    Failed { host: String, why: String },
    #[error("no thread could be started for the store: {0}")]
    Thread(std::io::Error),
}

/// A pool and the name of what it leads to.
#[derive(Debug)]
pub struct Connections {
    pool: Pool,
    pub host: String,
}

impl Connections {
    /// To the server that takes writes.
    pub fn to_primary(url: &str, options: &Options) -> Result<Self, OpenError> {
        Self::to(url, options, TargetSessionAttrs::ReadWrite)
    }

    /// To a server that may only be read.
    pub fn to_replica(url: &str, options: &Options) -> Result<Self, OpenError> {
        Self::to(url, options, TargetSessionAttrs::Any)
    }

    fn to(url: &str, options: &Options, target: TargetSessionAttrs) -> Result<Self, OpenError> {
        let mut place = url::parse(url)?;
        let connector = tls::connector(&place)?;
        let config = &mut place.config;
        config.target_session_attrs(target).connect_timeout(options.connect_timeout);
        config
            .keepalives_idle(KEEPALIVE)
            .keepalives_interval(KEEPALIVE)
            .keepalives_retries(KEEPALIVE_RETRIES);
        // Sent bytes that nobody acknowledges: the statement's deadline is over by then.
        config.tcp_user_timeout(options.statement_timeout);
        if config.get_application_name().is_none() {
            config.application_name("messenger");
        }
        let host = host(config);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(place.config, connector, recycling);
        let wait = Some(options.connect_timeout);
        let pool = Pool::builder(manager)
            .max_size(options.pool_size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait, create: wait, recycle: wait })
            .build()
            .expect("a runtime is given");
        Ok(Self { pool, host })
    }

    /// A connection that nobody else uses meanwhile.
    pub async fn get(&self) -> Result<Object, Failed> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Failed::Sql(error),
            other => Failed::NoConnection(other.to_string()),
        })
    }
}

fn host(config: &tokio_postgres::Config) -> String {
    let names = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    names.collect::<Vec<_>>().join(",")
}

/// What the operator is told of a first connection that failed.
pub fn explain(host: &str, failed: &Failed) -> OpenError {
    let host = host.to_owned();
    let Failed::Sql(error) = failed else { return OpenError::Unreachable { host, why: failed.to_string() } };
    let why = cause(error);
    match error.code() {
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            OpenError::Refused { host, why }
        }
        Some(&SqlState::INVALID_CATALOG_NAME) => OpenError::NoDatabase { host, why },
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => OpenError::NotAllowed { host, why },
        Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => OpenError::ReadOnly { host },
        Some(_) => OpenError::Failed { host, why },
        None if error.to_string().contains("TLS") => OpenError::Tls { host, why },
        None if why.contains("does not allow writes") => OpenError::ReadOnly { host },
        None => OpenError::Unreachable { host, why },
    }
}

/// The innermost reason, which names no value of ours.
pub fn cause(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().replace('\n', " ");
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().replace('\n', " ")
}
