//! People: most of them active, some out, some gone; their devices and sessions. The first ones are the staff.

use schema_wire::UserId;
use tokio_postgres::{Client, Error};

use crate::copy::Rows;
use crate::random::{below, id, mix};
use crate::{DAY_MS, LIFE_MS, Shape};

const FIRST: [&str; 16] = [
    "Ada",
    "Zoë",
    "Marie",
    "José",
    "Noor",
    "Yuki",
    "Oluwaseun",
    "Ingrid",
    "Mehmet",
    "Chloé",
    "Ivan",
    "Linh",
    "Sam",
    "Fatima",
    "Lars",
    "Ana",
];
const LAST: [&str; 16] = [
    "Lovelace", "Müller", "Okafor", "Nguyen", "García", "Tanaka", "Haddad", "Larsen", "Rossi", "O'Brien",
    "Petrov", "Smith", "Diallo", "Kowalski", "Dubois", "Silva",
];
const ROLES: [&str; 4] = ["ADMIN", "MODERATOR", "AUDITOR", "SRE"];

/// How somebody stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Active,
    Pending,
    Suspended,
    Banned,
    Deleted,
}

pub fn standing(shape: &Shape, n: u64) -> Standing {
    if n < shape.staff() {
        return Standing::Active;
    }
    match below(1000, shape.seed, n, 1) {
        0..5 => Standing::Pending,
        5..15 => Standing::Suspended,
        15..25 => Standing::Banned,
        25..40 => Standing::Deleted,
        _ => Standing::Active,
    }
}

/// When somebody came: the later the higher the number.
pub fn came_at(shape: &Shape, n: u64) -> u64 {
    shape.now_ms - LIFE_MS + (u128::from(LIFE_MS - 1) * u128::from(n) / u128::from(shape.users)) as u64
}

/// Somebody's id.
pub fn user(shape: &Shape, n: u64) -> UserId {
    UserId(id(came_at(shape, n), shape.seed, n, 2))
}

/// Somebody's address.
pub fn email(shape: &Shape, n: u64) -> String {
    let (first, last) = words(shape, n);
    let plain =
        |word: &str| word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    format!("{}.{}.{n}@people-{}.example", plain(first), plain(last), n % 7)
}

fn words(shape: &Shape, n: u64) -> (&'static str, &'static str) {
    let of = |list: [&'static str; 16], purpose| list[below(16, shape.seed, n, purpose) as usize];
    (of(FIRST, 3), of(LAST, 4))
}

/// Loads them.
pub async fn load(client: &Client, shape: &Shape) -> Result<(), Error> {
    users(client, shape).await?;
    devices(client, shape).await?;
    refresh_tokens(client, shape).await
}

async fn users(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, email, name, about, password_hash, role, status, email_verified_at, suspended_at, suspended_until,
        suspension_reason, banned_at, ban_reason, created_at, updated_at, last_active_at, deleted_at";
    let mut rows = Rows::begin(client, "users", columns).await?;
    for n in 0..shape.users {
        let (first, last) = words(shape, n);
        let (at, standing) = (came_at(shape, n), standing(shape, n));
        let when = |wanted| (standing == wanted).then(|| at + (shape.now_ms - at) / 2);
        let role = if n < shape.staff() { ROLES[n as usize % ROLES.len()] } else { "USER" };
        let row = rows.row().await?.id(user(shape, n).0);
        match standing {
            Standing::Deleted => row.null().text("").text("").null(),
            _ => row.text(&email(shape, n)).text(&format!("{first} {last}")).text("").text("none"),
        };
        row.text(role).text(name(standing)).time(at).time_opt(when(Standing::Suspended));
        row.time_opt((standing == Standing::Suspended).then_some(shape.now_ms + 7 * DAY_MS));
        reason(row, standing == Standing::Suspended).time_opt(when(Standing::Banned));
        reason(row, standing == Standing::Banned).time(at).time(at);
        row.time_opt((standing == Standing::Active).then(|| active_at(shape, n)));
        row.time_opt(when(Standing::Deleted));
    }
    rows.end().await
}

fn reason(row: &mut Rows, is_out: bool) -> &mut Rows {
    if is_out { row.text("spam") } else { row.null() }
}

fn name(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "ACTIVE",
        Standing::Pending => "PENDING",
        Standing::Suspended => "SUSPENDED",
        Standing::Banned => "BANNED",
        Standing::Deleted => "DELETED",
    }
}

/// Most came by in the last weeks; a few thousandths just now.
fn active_at(shape: &Shape, n: u64) -> u64 {
    let ago = match below(1000, shape.seed, n, 5) {
        0..5 => below(60_000, shape.seed, n, 6),
        5..600 => below(14 * DAY_MS, shape.seed, n, 6),
        _ => below(LIFE_MS, shape.seed, n, 6),
    };
    (shape.now_ms - ago).max(came_at(shape, n))
}

/// Everybody has one device, every fifth another.
pub fn device(shape: &Shape, n: u64, other: bool) -> [u8; 16] {
    id(came_at(shape, n), shape.seed, n, if other { 8 } else { 7 })
}

async fn devices(client: &Client, shape: &Shape) -> Result<(), Error> {
    let mut rows = Rows::begin(client, "devices", "id, user_id, name, created_at, last_seen_at").await?;
    for n in (0..shape.users).filter(|n| standing(shape, *n) != Standing::Deleted) {
        for other in [false, true].into_iter().take(1 + usize::from(n % 5 == 0)) {
            let row = rows.row().await?.id(device(shape, n, other)).id(user(shape, n).0);
            row.text(if other { "laptop" } else { "phone" })
                .time(came_at(shape, n))
                .time(active_at(shape, n));
        }
    }
    rows.end().await
}

async fn refresh_tokens(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "token_hash, family_id, user_id, device_id, created_at, expires_at";
    let mut rows = Rows::begin(client, "refresh_tokens", columns).await?;
    for n in (0..shape.users).filter(|n| n % 3 == 0 && standing(shape, *n) == Standing::Active) {
        let mut hash = [0u8; 32];
        for (at, part) in hash.chunks_exact_mut(8).enumerate() {
            part.copy_from_slice(&mix(shape.seed, n, 20 + at as u64).to_be_bytes());
        }
        let at = active_at(shape, n);
        let row = rows.row().await?.bytes(&hash).id(id(at, shape.seed, n, 9)).id(user(shape, n).0);
        row.id(device(shape, n, false)).time(at).time(at + 7 * DAY_MS);
    }
    rows.end().await
}
