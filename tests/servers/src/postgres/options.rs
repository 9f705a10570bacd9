//! How a private PostgreSQL server is set up, and the two files that say so.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::machine;

/// TLS over TCP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tls {
    #[default]
    Off,
    /// For who wants it.
    Offered,
    /// Nobody gets in without.
    Required,
}

/// What differs from an ordinary server for tests.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Waits for its disk as a server that must keep what it said.
    pub fsync: bool,
    /// Its files on a disk all the same, and nothing else out of the ordinary: what it costs is measured.
    pub on_disk: bool,
    pub tls: Tls,
    /// Asked for over TCP.
    pub password: Option<String>,
    /// Names and values, as in `postgresql.conf`; later ones win.
    pub settings: Vec<(String, String)>,
    /// A file in the form of `postgresql.conf`, read before `settings`.
    pub settings_file: Option<PathBuf>,
    /// Its files on a small filesystem of their own. A new server needs 40 MiB.
    pub disk_mib: Option<u32>,
    /// Of a segment of its log; 16 when not given.
    pub segment_mib: Option<u32>,
    /// On a machine of its own, whose power can be lost.
    pub machine: Option<machine::Sync>,
}

impl Options {
    /// One more setting.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    /// Whether its files are to be on a disk.
    pub(super) fn is_on_disk(&self) -> bool {
        self.on_disk || self.fsync || self.disk_mib.is_some() || self.machine.is_some()
    }

    /// `pg_hba.conf`: its own account comes in through the socket, everybody else as the options say.
    pub(super) fn rules(&self) -> String {
        let method = if self.password.is_some() { "scram-sha-256" } else { "trust" };
        let host = if self.tls == Tls::Required { "hostssl" } else { "host" };
        format!(
            "local all all trust\nlocal replication all trust\n\
             {host} all all 127.0.0.1/32 {method}\n{host} replication all 127.0.0.1/32 {method}\n"
        )
    }

    /// What is added to `postgresql.conf`.
    pub(super) fn settings(&self, folder: &Path) -> String {
        let mut text = String::from("\n");
        let mut line = |name: &str, value: &str| {
            writeln!(text, "{name} = '{}'", value.replace('\'', "''")).expect("a string takes everything");
        };
        line("listen_addresses", "127.0.0.1");
        line("fsync", if self.fsync { "on" } else { "off" });
        // Small, as many run beside each other.
        line("shared_buffers", "16MB");
        line("wal_retrieve_retry_interval", "100ms");
        // In its own folder, which goes: in the machine's shared memory a killed server leaves it behind. A machine of its own
        // sees what is written, not what is mapped; and on a disk it costs.
        if self.machine.is_none() && !self.on_disk {
            line("dynamic_shared_memory_type", "mmap");
        }
        line("ssl", if self.tls == Tls::Off { "off" } else { "on" });
        line("ssl_cert_file", &folder.join("server.pem").display().to_string());
        line("ssl_key_file", &folder.join("server.key").display().to_string());
        if let Some(file) = &self.settings_file {
            let shipped = std::fs::read_to_string(file);
            text.push_str(&shipped.unwrap_or_else(|e| panic!("{} is readable: {e}", file.display())));
            text.push('\n');
        }
        for (name, value) in &self.settings {
            writeln!(text, "{name} = '{}'", value.replace('\'', "''")).expect("a string takes everything");
        }
        text
    }
}
