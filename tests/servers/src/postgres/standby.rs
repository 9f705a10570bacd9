//! Streaming standbys of a private PostgreSQL server, and what makes one of them the primary.

use std::net::SocketAddr;

use super::{Options, Postgres, USER, run};

/// Whether a commit on the primary waits for the standby.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    /// It waits: nothing acknowledged is lost when the standby takes over.
    Synchronous,
    /// It does not.
    Asynchronous,
}

impl Postgres {
    /// A standby that streams from this server, `through` a proxy if given. Returns when it has all there is.
    pub fn standby(&self, sync: Sync, through: Option<SocketAddr>) -> Postgres {
        assert!(through.is_none() || self.options.password.is_none(), "a standby shows no password");
        let options = Options { disk_mib: None, machine: None, ..self.options.clone() };
        let folder = Self::folder(&options);
        let mut standby = Self::prepare(options, folder);
        let name = format!("standby_{}", standby.port.number);
        let mut command = standby.command("pg_basebackup");
        command.args(["-X", "stream", "-c", "fast", "-N", "-U", USER, "-h"]).arg(self.socket());
        command.args(["-p", &self.port.number.to_string(), "-D"]).arg(standby.data());
        run(&mut command);
        let (host, port) = match through {
            None => (self.socket().display().to_string(), self.port.number),
            Some(address) => (address.ip().to_string(), address.port()),
        };
        let source = format!(
            "\nprimary_conninfo = 'host={host} port={port} user={USER} application_name={name}'\n\
             synchronous_standby_names = ''\n"
        );
        let settings = standby.read("postgresql.conf") + &source;
        standby.write("postgresql.conf", &settings);
        // A copy of ALTER SYSTEM on the primary would win over the lines above.
        standby.write("postgresql.auto.conf", "");
        standby.write("standby.signal", "");
        standby.start_again();
        if sync == Sync::Synchronous {
            self.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'"));
            self.sql("SELECT pg_reload_conf()");
        }
        self.until_streaming(&name, sync);
        standby
    }

    fn until_streaming(&self, name: &str, sync: Sync) {
        let state = if sync == Sync::Synchronous { "sync" } else { "async" };
        let query = format!(
            "SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}'
             AND state = 'streaming' AND sync_state = '{state}'"
        );
        self.until(&query, "1");
    }

    /// Waits until a query answers `expected`.
    pub fn until(&self, query: &str, expected: &str) {
        let began = std::time::Instant::now();
        while self.try_sql(query).as_deref() != Some(expected) {
            assert!(began.elapsed() < crate::process::PATIENCE, "{query} is {expected} in time");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Makes a standby the primary; returns when it takes writes.
    pub fn promote(&self) {
        self.sql("SELECT pg_promote(true, 60)");
        self.until("SELECT pg_is_in_recovery()", "f");
    }
}
