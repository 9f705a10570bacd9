//! Private servers for tests: PostgreSQL with standbys, PgBouncer, Redis, Redis Cluster, two kinds of S3, a proxy that cuts
//! networks, and machines that lose their power.
//! Each runs in a folder of its own on free ports, as an account without rights, and ends with the value that holds it.

pub mod account;
pub mod bouncer;
pub mod disk;
mod folder;
pub mod machine;
mod moto;
mod port;
pub mod postgres;
mod process;
pub mod proxy;
pub mod redis;
pub mod s3;

pub use bouncer::Bouncer;
pub use disk::Disk;
pub use folder::Folder;
pub use machine::Machine;
pub use moto::Moto;
pub use port::Port;
pub use postgres::{Options, Postgres, Stop, Sync, Tls};
pub use proxy::Proxy;
pub use redis::{Cluster, Redis, RedisOptions};
pub use s3::S3;
