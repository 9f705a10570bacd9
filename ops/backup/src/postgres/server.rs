//! A server on a restored folder that nobody else reaches: it listens on a socket in a folder of its own only, recovers,
//! and ends with the value.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::tools::Running;
use super::{Base, Tools, ToolsError};
use crate::error::BackupError;
use crate::run::on_thread;

/// Between two looks at whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The number in its socket's name.
const PORT: &str = "5432";
/// Longest wait for its end.
const STOP_SECONDS: &str = "600";
/// Whoever reaches the socket is let in.
const RULES: &str = "local all all trust\n";
/// What a restored server's own settings may not change: no archive, no standby, no network, no file elsewhere.
const FIXED: [(&str, &str); 12] = [
    ("listen_addresses", ""),
    ("port", PORT),
    ("ssl", "off"),
    ("archive_mode", "off"),
    ("hot_standby", "off"),
    ("primary_conninfo", ""),
    ("primary_slot_name", ""),
    ("synchronous_standby_names", ""),
    ("recovery_target_action", "promote"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("shared_buffers", "128MB"),
];

/// A folder that goes when this does.
struct Private(PathBuf);

impl Private {
    fn new() -> std::io::Result<Self> {
        let random = getrandom::u64().expect("the operating system has randomness");
        // Short: a socket's path has 107 bytes at most.
        let path = std::env::temp_dir().join(format!("messenger-{random:016x}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> std::io::Result<PathBuf> {
        let path = self.0.join(name);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // What stays holds nothing but rules.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The running server.
pub struct Server {
    running: Option<Running>,
    tools: Tools,
    data: PathBuf,
    _private: Private,
    url: String,
}

impl Server {
    /// Starts it on `data` with further settings, and waits until it takes connections, which is after recovery.
    pub async fn start(
        tools: &Tools,
        data: &Path,
        base: &Base,
        settings: &[(&str, String)],
        environment: &[(&'static str, std::ffi::OsString)],
    ) -> Result<Self, BackupError> {
        let file = |why| BackupError::file(data, why);
        let private = Private::new().map_err(file)?;
        let rules = private.write("rules", RULES).map_err(file)?;
        let mut command = tools.command("postgres")?;
        command.arg("-D").arg(data).arg("-k").arg(&private.0);
        let mut set = |name: &str, value: &str| {
            command.arg("-c").arg(format!("{name}={value}"));
        };
        FIXED.iter().for_each(|(name, value)| set(name, value));
        settings.iter().for_each(|(name, value)| set(name, value));
        set("hba_file", &rules.display().to_string());
        // Debian keeps it elsewhere, where it is not part of the backup.
        if !data.join("postgresql.conf").exists() {
            let conf = private.write("postgresql.conf", "").map_err(file)?;
            set("config_file", &conf.display().to_string());
        }
        command.envs(environment.iter().map(|(name, value)| (*name, value))).stdout(Stdio::null());
        let running = Some(Running::start("postgres", &mut command)?);
        let url = url(&base.user, &base.database, &private.0);
        let mut server =
            Self { running, tools: tools.clone(), data: data.to_owned(), _private: private, url };
        server.until_ready().await?;
        Ok(server)
    }

    /// Where it is reached by this account.
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn until_ready(&mut self) -> Result<(), BackupError> {
        let mark = self.data.join("postmaster.pid");
        loop {
            let text = std::fs::read_to_string(&mark).unwrap_or_default();
            if text.lines().nth(7).is_some_and(|state| state.trim() == "ready") {
                return Ok(());
            }
            let running = self.running.as_mut().ok_or(BackupError::Thread)?;
            if !matches!(running.child.try_wait(), Ok(None)) {
                let running = self.running.take().ok_or(BackupError::Thread)?;
                let ended = on_thread(move || running.finish()).await?;
                let why = "it ended before it was ready".to_owned();
                return Err(ended.err().unwrap_or(ToolsError::Failed { program: "postgres", why }).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends it in order: its folder is whole afterwards.
    pub async fn stop(mut self) -> Result<(), BackupError> {
        let (tools, data) = (self.tools.clone(), self.data.clone());
        on_thread(move || stop(&tools, &data, "fast")).await??;
        let running = self.running.take().ok_or(BackupError::Thread)?;
        on_thread(move || running.finish()).await??;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.running.is_some() {
            // Its folder goes as well.
            let _ = stop(&self.tools, &self.data, "immediate");
        }
    }
}

/// Whether a server runs on the folder.
pub fn runs(tools: &Tools, data: &Path) -> bool {
    data.join("postmaster.pid").exists()
        && tools
            .run("pg_ctl", |command| {
                command.arg("-D").arg(data).arg("status");
            })
            .is_ok()
}

/// Ends whichever server runs on the folder.
pub fn stop(tools: &Tools, data: &Path, how: &str) -> Result<(), ToolsError> {
    let stopped = tools.run("pg_ctl", |command| {
        command.arg("-D").arg(data).args(["-w", "-t", STOP_SECONDS, "-m", how, "stop"]);
    });
    stopped.map(drop)
}

fn url(user: &str, database: &str, socket: &Path) -> String {
    let [user, database, socket] = [user, database, &socket.display().to_string()].map(escape);
    format!("postgres://{user}@/{database}?host={socket}&port={PORT}")
}

/// Percent-encoded but for what never needs it.
fn escape(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_kind_fit_into_a_url() {
        assert_eq!(
            url("a b", "d/e", Path::new("/tmp/x")),
            "postgres://a%20b@/d%2Fe?host=%2Ftmp%2Fx&port=5432"
        );
    }
}
