//! Figures of the running server: CPU per delivered message, memory per idle connection. Printed, never judged.

pub mod fan_out;
pub mod idle;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::conversation::{GroupDraft, HistoryPolicy};
use schema_store::rows::device::NewSession;
use schema_store::token::NewToken;
use schema_store::{Accounts, SqliteStore};
use schema_wire::{ConversationId, DeviceId, UserId};
use serde_json::{Value, json};

use crate::server::Ready;

/// Devices of one user; the store allows a few more.
const DEVICES_EACH: usize = 25;
/// Connections being opened at once.
pub const OPENING: usize = 32;
/// How long tokens and refresh tokens hold.
const HOUR: Duration = Duration::from_secs(3_600);

/// Many devices of some users, all in one conversation.
pub struct Crowd {
    pub devices: Vec<(UserId, DeviceId)>,
    pub conversation: ConversationId,
}

/// Which transport carries a measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Carrier {
    Ws,
    Quic,
}

impl Crowd {
    /// Writes users, devices and their conversation straight into the store of a server that does not run.
    pub async fn prepare(data: &Path, devices: usize) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let store = SqliteStore::open(&data.join("messenger.db"))?;
        let users: Vec<usize> = (0..devices.div_ceil(DEVICES_EACH)).collect();
        let users: Vec<UserId> = stream::iter(users)
            .map(|user| {
                let new = Registration {
                    email: format!("u{user}@measure.example"),
                    name: format!("u{user}"),
                    password_hash: "nobody logs in".to_owned(),
                    invite: None,
                    activation: Activation::Immediate,
                };
                store.register(new, Origin::system())
            })
            .buffered(OPENING)
            .try_collect()
            .await?;
        let grants = stream::iter(0..devices).map(|index| {
            let (_, refresh) = NewToken::generate((now() + HOUR).as_millis() as u64);
            let new = NewSession {
                user: users[index / DEVICES_EACH],
                device: None,
                device_name: format!("d{index}"),
                refresh,
                rehash: None,
            };
            store.open_session(new, Origin::system())
        });
        let grants: Vec<_> = grants.buffered(OPENING).try_collect().await?;
        let members = users[1..].to_vec();
        let draft =
            GroupDraft { name: "crowd".into(), members, history: HistoryPolicy::SinceJoin, ttl: None };
        let conversation = store.create_group(users[0], draft).await?;
        Ok(Self { devices: grants.iter().map(|g| (g.user, g.device)).collect(), conversation })
    }
}

/// Signs access tokens as the account API does.
pub struct Mint {
    key: EncodingKey,
    header: Header,
}

impl Mint {
    /// With the key that a ready server names, and the name its key set gives it.
    pub fn of(ready: &Ready) -> Result<Arc<Self>> {
        let key = EncodingKey::from_rsa_pem(&std::fs::read(&ready.signing_key)?)?;
        let folder = ready.signing_key.parent().context("a key lies in a folder")?;
        let published: Value = serde_json::from_slice(&std::fs::read(folder.join("jwks.json"))?)?;
        let kid = published["keys"][0]["kid"].as_str().context("a published key has a name")?;
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(kid.to_owned());
        Ok(Arc::new(Self { key, header }))
    }

    /// A token of a device.
    pub fn token(&self, (user, device): (UserId, DeviceId)) -> Result<String> {
        let now = now().as_secs();
        let claims = json!({
            "iss": "https://api.secure-messenger.local", "aud": "https://secure-messenger.local",
            "sub": user.to_string(), "device": device.to_string(),
            "exp": now + HOUR.as_secs(), "nbf": now, "iat": now, "jti": device.to_string(),
        });
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key)?)
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// User and system time of a process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
    let after = stat.rsplit_once(')').context("a stat line")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let (Some(user), Some(system)) = (fields.get(11), fields.get(12)) else { bail!("a short stat line") };
    let ticks = user.parse::<u64>()? + system.parse::<u64>()?;
    // SAFETY: the call only reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a VmRSS line")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
