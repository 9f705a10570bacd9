//! The audit trail of half a year, each entry chained to the one before as the product does it.

use std::net::{IpAddr, Ipv4Addr};

use schema_store::audit_chain::{EMPTY, Sealed, seal};
use schema_wire::UserId;
use tokio_postgres::{Client, Error};

use crate::copy::Rows;
use crate::people::user;
use crate::random::{below, skewed};
use crate::{DAY_MS, Shape};

const EVENTS: [&str; 8] = [
    "LOGIN",
    "LOGIN",
    "LOGIN",
    "LOGIN_FAILED",
    "REGISTERED",
    "DECISION_MADE",
    "DECISION_APPLIED",
    "KEY_CHANGE",
];
const SPREAD_MS: u64 = 180 * DAY_MS;
const AGENT: &str = "messenger/0.1 linux";

/// Loads it.
pub async fn load(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, event_type, user_id, actor_id, ip_address, user_agent, detail, created_at, hash";
    let mut rows = Rows::begin(client, "audit_logs", columns).await?;
    let mut hash = EMPTY.hash;
    for n in 0..shape.entries() {
        let address = [203, 0, 113, skewed(250, shape.seed, n, 60) as u8];
        let somebody = user(shape, below(shape.users, shape.seed, n, 61));
        let entry = Sealed {
            id: n + 1,
            event: EVENTS[below(EVENTS.len() as u64, shape.seed, n, 62) as usize],
            subject: Some(somebody),
            actor: Some(somebody),
            address: Some(IpAddr::V4(Ipv4Addr::from(address))),
            user_agent: Some(AGENT),
            detail: "from a list",
            created_at: shape.now_ms - SPREAD_MS + SPREAD_MS / shape.entries() * n,
        };
        hash = seal(&hash, &entry);
        write(rows.row().await?, &entry, somebody, address, &hash);
    }
    rows.end().await
}

fn write(row: &mut Rows, entry: &Sealed<'_>, somebody: UserId, address: [u8; 4], hash: &[u8; 32]) {
    row.big(entry.id).text(entry.event).id(somebody.0).id(somebody.0).address(address).text(AGENT);
    row.text(entry.detail).time(entry.created_at).bytes(hash);
}
