//! People for a server under load: users, devices and conversations written straight into the store of a server that
//! does not run, and the access tokens their devices show.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::conversation::{GroupDraft, HistoryPolicy};
use schema_store::rows::device::NewSession;
use schema_store::token::NewToken;
use schema_store::{Accounts, SqliteStore};
use schema_wire::{ConversationId, DeviceId, UserId};
use serde_json::{Value, json};

/// Devices of one user; the store allows a few more.
const DEVICES_EACH: usize = 25;
/// Store requests under way.
const WRITING: usize = 64;
/// How long tokens hold.
const HOUR: Duration = Duration::from_secs(3_600);

/// Who may write and who only reads in each conversation.
#[derive(Clone, Copy, Debug)]
pub struct Seats {
    pub rooms: usize,
    pub subscribers: usize,
    pub publishers: usize,
}

impl Seats {
    /// Devices of one conversation.
    #[must_use]
    pub fn each(&self) -> usize {
        self.subscribers + self.publishers
    }
}

/// Devices by room.
pub struct Crowd {
    rooms: Vec<(ConversationId, Vec<(UserId, DeviceId)>)>,
}

impl Crowd {
    /// Writes everybody into `data`. In a conversation with few seats each has a user of its own; a large one is
    /// filled with all devices of its users.
    pub async fn prepare(data: &Path, seats: Seats) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let store = SqliteStore::open(&data.join("messenger.db"))?;
        let stride = if seats.rooms == 1 { 1 } else { seats.rooms.div_ceil(DEVICES_EACH) };
        let user_of = |room: usize, seat: usize| {
            if seats.rooms == 1 { seat / DEVICES_EACH } else { seat * stride + room / DEVICES_EACH }
        };
        let users = (0..seats.rooms)
            .flat_map(|room| (0..seats.each()).map(move |seat| user_of(room, seat)))
            .max()
            .map_or(0, |last| last + 1);
        let users = register(&store, users).await?;
        let mut rooms = Vec::new();
        for room in 0..seats.rooms {
            let seated: Vec<UserId> = (0..seats.each()).map(|seat| users[user_of(room, seat)]).collect();
            let devices = open_sessions(&store, &seated).await?;
            let mut members = seated.clone();
            members.sort_unstable();
            members.dedup();
            members.retain(|user| *user != seated[0]);
            let draft = GroupDraft {
                name: format!("r{room}"),
                members,
                history: HistoryPolicy::SinceJoin,
                ttl: None,
            };
            rooms.push((store.create_group(seated[0], draft).await?, devices));
        }
        Ok(Self { rooms })
    }

    /// The conversations, each with the tokens of its devices: those of subscribers, then those of publishers.
    pub fn tokens(&self, mint: &Mint) -> Result<Vec<(ConversationId, Vec<String>)>> {
        let room = |(conversation, devices): &(ConversationId, Vec<(UserId, DeviceId)>)| {
            Ok((*conversation, devices.iter().map(|who| mint.token(*who)).collect::<Result<_>>()?))
        };
        self.rooms.iter().map(room).collect()
    }
}

async fn register(store: &SqliteStore, users: usize) -> Result<Vec<UserId>> {
    let all = (0..users).map(|user| {
        let new = Registration {
            email: format!("u{user}@measure.example"),
            name: format!("u{user}"),
            password_hash: "nobody logs in".to_owned(),
            invite: None,
            activation: Activation::Immediate,
        };
        store.register(new, Origin::system())
    });
    Ok(stream::iter(all.collect::<Vec<_>>()).buffered(WRITING).try_collect().await?)
}

async fn open_sessions(store: &SqliteStore, users: &[UserId]) -> Result<Vec<(UserId, DeviceId)>> {
    let grants = users.iter().enumerate().map(|(seat, user)| {
        let (_, refresh) = NewToken::generate((now() + HOUR).as_millis() as u64);
        let new =
            NewSession { user: *user, device: None, device_name: format!("d{seat}"), refresh, rehash: None };
        store.open_session(new, Origin::system())
    });
    let grants: Vec<_> = stream::iter(grants.collect::<Vec<_>>()).buffered(WRITING).try_collect().await?;
    Ok(grants.into_iter().map(|grant| (grant.user, grant.device)).collect())
}

/// Signs access tokens as the account API does.
pub struct Mint {
    key: EncodingKey,
    header: Header,
}

impl Mint {
    /// With the key that a ready server names, and the name its key set gives it.
    pub fn of(signing_key: &Path) -> Result<Self> {
        let key = EncodingKey::from_rsa_pem(&std::fs::read(signing_key)?)?;
        let folder = signing_key.parent().context("a key lies in a folder")?;
        let published: Value = serde_json::from_slice(&std::fs::read(folder.join("jwks.json"))?)?;
        let kid = published["keys"][0]["kid"].as_str().context("a published key has a name")?;
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(kid.to_owned());
        Ok(Self { key, header })
    }

    fn token(&self, (user, device): (UserId, DeviceId)) -> Result<String> {
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
