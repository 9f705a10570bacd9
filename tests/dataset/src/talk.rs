//! What people write: conversations of two and of more, their members, and messages of the last months, most of them in few
//! conversations. The keys by which retries are found are left out: they are forgotten after a while, and no page reads them.

use tokio_postgres::{Client, Error};

use crate::copy::Rows;
use crate::people::{came_at, device, user};
use crate::random::{below, id, mix};
use crate::{DAY_MS, Shape};

/// Months before this one that hold messages.
const MONTHS: u32 = 2;
/// Days over which messages spread; within those months and this one.
const DAYS: u64 = 50;
/// Messages of one conversation, on average.
const MESSAGES: u64 = 20;
/// Longest ciphertext, in bytes.
const BODY: usize = 96;

/// A conversation: who is in it, and how many messages.
struct Conversation {
    id: [u8; 16],
    members: Vec<u64>,
    messages: u64,
    begun_at: u64,
}

fn conversations(shape: &Shape) -> u64 {
    shape.messages / MESSAGES
}

fn conversation(shape: &Shape, n: u64) -> Conversation {
    let begun_at = shape.now_ms - DAYS * DAY_MS + below(DAY_MS, shape.seed, n, 30);
    let count = if n.is_multiple_of(10) { 3 + below(30, shape.seed, n, 31) } else { 2 };
    let mut members: Vec<u64> = (0..count).map(|at| below(shape.users, shape.seed, n, 40 + at)).collect();
    members.sort_unstable();
    members.dedup();
    // Half of all messages are in a tenth of the conversations; of ten, two hundred in all.
    let messages = match n % 10 {
        0 => 100,
        1 => 12,
        _ => 11,
    };
    Conversation { id: id(begun_at, shape.seed, n, 32), members, messages, begun_at }
}

impl Conversation {
    fn at(&self, shape: &Shape, offset: u64) -> u64 {
        self.begun_at + (shape.now_ms - self.begun_at) * offset / (self.messages + 1)
    }
}

/// Loads them.
pub async fn load(client: &Client, shape: &Shape) -> Result<(), Error> {
    partitions(client).await?;
    let columns =
        "id, kind, name, created_by, created_at, next_offset, last_at, members_version, member_count";
    let mut rows = Rows::begin(client, "conversations", columns).await?;
    for n in 0..conversations(shape) {
        let one = conversation(shape, n);
        let is_direct = one.members.len() == 2;
        let row = rows.row().await?.id(one.id).text(if is_direct { "DIRECT" } else { "GROUP" });
        row.text(if is_direct { "" } else { "group" }).id(user(shape, one.members[0]).0).time(one.begun_at);
        row.big(one.messages + 1).time(one.at(shape, one.messages)).big(1).int(one.members.len() as u32);
    }
    rows.end().await?;
    members(client, shape).await?;
    messages(client, shape).await
}

async fn partitions(client: &Client) -> Result<(), Error> {
    for ago in 1..=MONTHS {
        let begins = format!("date_trunc('month', now() AT TIME ZONE 'UTC') - interval '{ago} month'");
        let make = format!(
            "DO $$ DECLARE begins timestamp := {begins}; BEGIN
               EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF messages FOR VALUES FROM (%L) TO (%L)',
                 'messages_' || to_char(begins, 'YYYY_MM'), begins AT TIME ZONE 'UTC',
                 (begins + interval '1 month') AT TIME ZONE 'UTC');
             END $$"
        );
        client.batch_execute(&make).await?;
    }
    Ok(())
}

async fn members(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "conversation_id, user_id, joined_version, members_version, joined_offset, joined_at, role";
    let mut rows = Rows::begin(client, "conversation_members", columns).await?;
    for n in 0..conversations(shape) {
        let one = conversation(shape, n);
        for (at, member) in one.members.iter().enumerate() {
            let row = rows.row().await?.id(one.id).id(user(shape, *member).0).big(1).big(1).big(1);
            row.time(one.begun_at.max(came_at(shape, *member))).small(if at == 0 { 3 } else { 1 });
        }
    }
    rows.end().await
}

async fn messages(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns =
        "id, conversation_id, log_offset, generation, kind, sender_id, device_id, created_at, publish_key,
        members_version, body";
    let mut rows = Rows::begin(client, "messages", columns).await?;
    let body = [0x5a; BODY];
    let mut left = shape.messages;
    for n in 0..conversations(shape) {
        let one = conversation(shape, n);
        for offset in 1..=one.messages.min(left) {
            let place = n * 1_000 + offset;
            let sender = one.members[below(one.members.len() as u64, shape.seed, place, 33) as usize];
            let at = one.at(shape, offset);
            let row =
                rows.row().await?.id(id(at, shape.seed, place, 34)).id(one.id).big(offset).big(1).big(0);
            row.id(user(shape, sender).0).id(device(shape, sender, false)).time(at);
            row.id(id(at, shape.seed, place, 35)).big(1);
            row.bytes(&body[..16 + mix(shape.seed, place, 36) as usize % (BODY - 16)]);
        }
        left = left.saturating_sub(one.messages);
    }
    rows.end().await
}
