//! A private PostgreSQL server in a temporary folder, reached by its socket only, stopped by its process id.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

/// Account that runs the server when the tests run as root, which PostgreSQL refuses.
const NOBODY: u32 = 65_534;
/// How often, with `PAUSE` between, a connection is tried before the server counts as broken.
const TRIES_MAX: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

pub struct Server {
    process: Child,
    folder: tempfile::TempDir,
}

impl Server {
    /// Panics with what to install when there is no server.
    pub fn start() -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        let as_root =
            std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
        if as_root {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let command = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.env("LC_ALL", "C.UTF-8").current_dir(folder.path());
            if as_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let data = folder.path().join("data");
        let made = command("initdb")
            .args(["-U", "test", "-A", "trust", "-N", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        let process = command("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, folder }
    }

    /// A connection of its own.
    pub async fn connect(&self) -> Client {
        let config = format!("host={} user=test dbname=postgres", self.folder.path().display());
        for _ in 0..TRIES_MAX {
            if let Ok((client, connection)) = tokio_postgres::connect(&config, NoTls).await {
                tokio::spawn(connection);
                return client;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the PostgreSQL server did not come up");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT is PostgreSQL's immediate shutdown: its children end with it.
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

/// The newest installed server.
fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    found.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths).filter(|p| is_server(p)));
    found.sort();
    found.pop().expect("PostgreSQL 15 or newer must be installed (Debian: apt-get install postgresql-15)")
}

fn is_server(folder: &Path) -> bool {
    folder.join("initdb").exists() && folder.join("postgres").exists()
}
