//! What running the product leaves behind: backups and drills, statistics, banned addresses, media, who may come in.

use tokio_postgres::{Client, Error};

use crate::copy::Rows;
use crate::people::{email, user};
use crate::random::{below, id, mix};
use crate::{DAY_MS, Shape};

/// Backups noted: as many as are kept.
const BACKUPS: u64 = 4_096;
const BACKUP_EVERY_MS: u64 = 300_000;
const DRILLS: u64 = 30;
const INVITES: u64 = 500;
const TOKENS: u64 = 50;
const ADDRESSES: u64 = 3_000;

/// Loads it.
pub async fn load(client: &Client, shape: &Shape) -> Result<(), Error> {
    backups(client, shape).await?;
    drills(client, shape).await?;
    statistics(client, shape).await?;
    addresses(client, shape).await?;
    invites(client, shape).await?;
    tokens(client, shape).await?;
    media(client, shape).await
}

async fn backups(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns =
        "kind, location, status, size, sha256, generation, audit_id, audit_hash, started_at, finished_at";
    let mut rows = Rows::begin(client, "backups", columns).await?;
    for n in 0..BACKUPS {
        let at = shape.now_ms - (n + 1) * BACKUP_EVERY_MS;
        let row =
            rows.row().await?.text("SCHEDULED").text("s3:backups/base").text("DONE").big(400_000_000 + n);
        row.bytes(&[1; 32]).big(1).big(BACKUPS - n).bytes(&[2; 32]).time(at).time(at + 20_000);
    }
    rows.end().await
}

async fn drills(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "status, started_at, finished_at, detail";
    let mut rows = Rows::begin(client, "restore_drills", columns).await?;
    for n in 0..DRILLS {
        let at = shape.now_ms - (n + 1) * 7 * DAY_MS;
        rows.row()
            .await?
            .text("PASSED")
            .time(at)
            .time(at + 600_000)
            .text("base-1: 5000000 messages came back");
    }
    rows.end().await
}

/// Counted just now, so that nobody counts while something is measured.
async fn statistics(client: &Client, shape: &Shape) -> Result<(), Error> {
    let mut rows = Rows::begin(client, "statistics", "name, place, user_id, number, taken_at").await?;
    for (name, number) in [("ACTIVE", shape.users / 2), ("NEW", shape.users / 700)] {
        rows.row().await?.text(name).int(0).null().big(number).time(shape.now_ms);
    }
    for (name, places) in [("MESSAGES", 10), ("STORAGE", 20)] {
        for place in 1..=places {
            let row = rows.row().await?.text(name).int(place).id(user(shape, u64::from(place) * 31).0);
            row.big(100_000 / u64::from(place)).time(shape.now_ms);
        }
    }
    rows.end().await
}

async fn addresses(client: &Client, shape: &Shape) -> Result<(), Error> {
    let mut rows = Rows::begin(client, "banned_ips", "ip_address, reason, created_at, created_by").await?;
    for n in 0..ADDRESSES {
        // 198.18.0.0/15 is for measurements.
        let row = rows.row().await?.address([198, 18 + (n >> 16) as u8, (n >> 8) as u8, n as u8]);
        row.text("spam").time(shape.now_ms - n * 60_000).id(user(shape, 1).0);
    }
    rows.end().await
}

async fn invites(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, token_hash, email, created_by, created_at, expires_at";
    let mut rows = Rows::begin(client, "invites", columns).await?;
    for n in 0..INVITES {
        let at = shape.now_ms - n * 3_600_000;
        let row = rows.row().await?.id(id(at, shape.seed, n, 70)).bytes(&hash(shape, n, 71));
        row.text(&email(shape, n)).id(user(shape, 0).0).time(at).time(at + 7 * DAY_MS);
    }
    rows.end().await
}

async fn tokens(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, token_hash, name, role, created_by, created_at, expires_at";
    let mut rows = Rows::begin(client, "service_tokens", columns).await?;
    for n in 0..TOKENS {
        let at = shape.now_ms - n * DAY_MS;
        let row = rows.row().await?.id(id(at, shape.seed, n, 72)).bytes(&hash(shape, n, 73));
        row.text("a program").text("AUDITOR").id(user(shape, 0).0).time(at).time(at + 90 * DAY_MS);
    }
    rows.end().await
}

async fn media(client: &Client, shape: &Shape) -> Result<(), Error> {
    let mut rows =
        Rows::begin(client, "media_files", "id, user_id, s3_key, size, status, created_at").await?;
    for n in 0..shape.users / 20 {
        let at = shape.now_ms - below(300 * DAY_MS, shape.seed, n, 74);
        let row = rows.row().await?.id(id(at, shape.seed, n, 75)).id(user(shape, n * 20).0);
        row.text(&format!("media/{n}")).big(mix(shape.seed, n, 76) % 5_000_000).text("READY").time(at);
    }
    rows.end().await
}

fn hash(shape: &Shape, n: u64, purpose: u64) -> [u8; 32] {
    let mut hash = [0u8; 32];
    for (at, part) in hash.chunks_exact_mut(8).enumerate() {
        part.copy_from_slice(&mix(shape.seed, n, purpose * 10 + at as u64).to_be_bytes());
    }
    hash
}
