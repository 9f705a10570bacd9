//! Who takes part: users, their devices, and the conversations between them, made through the API.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use relay_client::account::{Account, Api};
use relay_client::{ConversationId, UserId};
use serde_json::json;

use crate::history::{History, Who};
use crate::http::{Http, Verb};

/// People who take part.
pub const USERS: usize = 6;
/// Members who are there from beginning to end, and those who come and go.
const CASTING: [(&str, &[usize], &[usize]); 3] =
    [("g1", &[0, 1, 2, 3], &[4, 5]), ("g2", &[1, 2, 3, 4], &[0, 5]), ("dm", &[0, 1], &[])];

/// One of the three conversations. The first of `steady` owns it.
#[derive(Clone, Debug)]
pub struct Talk {
    pub name: &'static str,
    pub id: ConversationId,
    pub steady: Vec<String>,
    pub changing: Vec<String>,
}

/// A logged-in device.
#[derive(Clone)]
pub struct Seat {
    pub who: Who,
    pub account: Account,
}

/// Everybody and everything.
pub struct Cast {
    pub seats: Vec<Seat>,
    pub talks: Arc<Vec<Talk>>,
    /// Names of the run, by the ids of the server.
    pub names: Arc<HashMap<UserId, String>>,
    pub ids: HashMap<String, UserId>,
}

impl Cast {
    /// Registers, logs in and begins the conversations, with `devices` devices in all. Each `troupe` is other people.
    pub async fn assemble(api: &str, devices: usize, troupe: u64, history: &History) -> Result<Self> {
        let http = Http::new(api);
        for user in 0..USERS {
            register(&http, troupe, user).await?;
        }
        let mut seats = Vec::new();
        for index in 0..devices.max(USERS) {
            let (user, device) = (format!("u{}", index % USERS), format!("d{}", index / USERS));
            let account =
                Account::login(Api::new(api, None)?, email(troupe, &user), password(&user), device.clone())
                    .await?;
            seats.push(Seat { who: Who { user, device }, account });
        }
        let mut ids = HashMap::new();
        for seat in seats.iter().take(USERS) {
            let id = seat.account.current().await.user().context("a user has an id")?;
            ids.insert(seat.who.user.clone(), id);
        }
        let mut talks = Vec::new();
        for (name, steady, changing) in CASTING {
            let tags = |users: &[usize]| users.iter().map(|user| format!("u{user}")).collect::<Vec<_>>();
            let (steady, changing) = (tags(steady), tags(changing));
            let owner = seats.iter().find(|seat| seat.who.user == steady[0]).context("everybody is here")?;
            let t0 = history.now();
            let id = begin(&http, owner, name, &steady, &ids).await?;
            if name == "dm" {
                // The other one asks as well, so that nothing waits between them.
                let other =
                    seats.iter().find(|seat| seat.who.user == steady[1]).context("everybody is here")?;
                let back: Vec<_> = steady.iter().rev().cloned().collect();
                begin(&http, other, name, &back, &ids).await?;
            }
            let t = history.now();
            for user in &steady {
                history.write(&json!({"e": "join", "conv": name, "u": user, "t0": t0, "t": t}));
            }
            talks.push(Talk { name, id, steady, changing });
        }
        let names = ids.iter().map(|(name, id)| (*id, name.clone())).collect();
        Ok(Self { seats, talks: Arc::new(talks), names: Arc::new(names), ids })
    }

    /// A device of a user.
    pub fn seat(&self, user: &str) -> &Seat {
        self.seats.iter().find(|seat| seat.who.user == user).expect("everybody has a device")
    }
}

fn email(troupe: u64, user: &str) -> String {
    format!("{user}@drill-{troupe}.example")
}

fn password(user: &str) -> String {
    format!("correct horse of {user}")
}

async fn register(http: &Http, troupe: u64, user: usize) -> Result<()> {
    let user = format!("u{user}");
    let body = json!({"email": email(troupe, &user), "name": user, "password": password(&user)});
    match http.call(Verb::Post, "/api/v1/auth/register", None, body).await? {
        (202, _) => Ok(()),
        (status, answer) => bail!("registering {user}: {status} {answer}"),
    }
}

async fn begin(
    http: &Http,
    owner: &Seat,
    name: &str,
    members: &[String],
    ids: &HashMap<String, UserId>,
) -> Result<ConversationId> {
    let others: Vec<_> = members[1..].iter().map(|user| ids[user].to_string()).collect();
    let body = match name {
        "dm" => json!({"kind": "direct", "peer": others[0]}),
        _ => json!({"kind": "group", "name": name, "members": others}),
    };
    let (status, answer) = http.insist(&owner.account, Verb::Post, "/api/v1/conversations", body).await?;
    let id = answer["id"].as_str().and_then(ConversationId::parse);
    id.with_context(|| format!("beginning {name}: {status} {answer}"))
}
