//! Members come and go while messages flow: through the API, each change insisted on until the server confirms it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};
use serde_json::json;
use tokio::sync::watch;

use crate::cast::Cast;
use crate::history::History;
use crate::http::{Http, Verb};
use crate::random::Random;

/// Who is in now, by conversation name and user, of those who come and go.
pub type Guests = Arc<Mutex<HashSet<(&'static str, String)>>>;

/// Changes memberships until `stop`; never leaves one half-made.
pub async fn keep(
    cast: Arc<Cast>,
    api: String,
    history: History,
    guests: Guests,
    stop: watch::Receiver<bool>,
    mut random: Random,
) -> Result<u64> {
    let http = Http::new(&api);
    let mut changes = 0;
    while !*stop.borrow() {
        tokio::time::sleep(random.millis(400, 1_600)).await;
        let groups: Vec<_> = cast.talks.iter().filter(|talk| !talk.changing.is_empty()).collect();
        let Some(talk) = random.pick(&groups) else { continue };
        let Some(user) = random.pick(&talk.changing) else { continue };
        let owner = &cast.seat(&talk.steady[0]).account;
        let guest = (talk.name, user.clone());
        let is_in = guests.lock().expect("no holder panics").contains(&guest);
        let members = format!("/api/v1/conversations/{}/members", talk.id);
        let id = cast.ids[user].to_string();
        let t0 = history.now();
        let (status, answer) = if is_in {
            http.insist(owner, Verb::Delete, &format!("{members}/{id}"), json!(null)).await?
        } else {
            http.insist(owner, Verb::Post, &members, json!({"users": [id]})).await?
        };
        // A removal whose answer was lost finds nobody the second time.
        let done = (200..300).contains(&status) || (is_in && status == 404);
        if !done {
            bail!("a membership was not changed: {status} {answer}");
        }
        let e = if is_in { "leave" } else { "join" };
        history.write(&json!({"e": e, "conv": talk.name, "u": user, "t0": t0, "t": history.now()}));
        let mut guests = guests.lock().expect("no holder panics");
        if !guests.remove(&guest) {
            guests.insert(guest);
        }
        changes += 1;
    }
    Ok(changes)
}
