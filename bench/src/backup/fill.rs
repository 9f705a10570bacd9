//! A database of the wanted size in the product's own schema: people, conversations, and messages as the store keeps them,
//! whose bodies nobody can compress.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::SinkExt;
use servers::Postgres;

/// Bytes of a message's body: seven rows fill a page.
const BODY_BYTES: usize = 1_000;
/// What a message takes in the database, with its indexes and its publish key; measured.
const MESSAGE_BYTES: u64 = 1_450;
/// Each of two people.
const CONVERSATIONS: u64 = 200;
/// Ids of conversations begin above those of people.
const CONVERSATION_ID: u64 = 1_000_000;
/// Rows sent at once.
const ROWS: u64 = 1_000;
/// How PostgreSQL's binary copy begins and ends.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: &[u8] = &(-1_i16).to_be_bytes();
/// From 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_US: i64 = 946_684_800_000_000;

const MESSAGES: &str =
    "messages (id, conversation_id, log_offset, generation, kind, sender_id, device_id, created_at,
  publish_key, members_version, body)";
const KEYS: &str = "publish_keys (sender_id, publish_key, conversation_id, log_offset, generation)";

/// Fills a migrated, empty database.
pub fn fill(server: &Postgres, megabytes: u64) -> Result<()> {
    let each = (megabytes * 1_000_000 / MESSAGE_BYTES / CONVERSATIONS).max(1);
    server.sql(&format!(
        "INSERT INTO users (id, name, status)
           SELECT lpad(to_hex(n), 32, '0')::uuid, 'user ' || n, 'ACTIVE' FROM generate_series(1, 2 * {CONVERSATIONS}) n;
         INSERT INTO conversations (id, kind, name, last_at, next_offset, members_version, member_count)
           SELECT lpad(to_hex({CONVERSATION_ID} + n), 32, '0')::uuid, 'GROUP', 'group ' || n, now(), {each} + 1, 2, 2
           FROM generate_series(1, {CONVERSATIONS}) n;
         INSERT INTO conversation_members
             (conversation_id, user_id, joined_version, members_version, joined_offset, joined_at, role)
           SELECT lpad(to_hex({CONVERSATION_ID} + (n + 1) / 2), 32, '0')::uuid, lpad(to_hex(n), 32, '0')::uuid, 2, 2, 1,
             now(), 1 FROM generate_series(1, 2 * {CONVERSATIONS}) n"
    ));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is past 1970")?;
    let now = i64::try_from(now.as_micros())? - EPOCH_US;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::try_join!(
            copy(server, MESSAGES, each, |rows, at| message(rows, at, now)),
            copy(server, KEYS, each, publish_key)
        )
    })?;
    // Done now, or the server does it by itself while something is measured.
    server.sql("VACUUM (ANALYZE)");
    Ok(())
}

/// One message's place.
#[derive(Clone, Copy)]
struct At {
    conversation: u64,
    offset: u64,
}

impl At {
    /// Both members write.
    fn sender(self) -> [u8; 16] {
        id(self.conversation * 2 - self.offset % 2)
    }

    fn conversation(self) -> [u8; 16] {
        id(CONVERSATION_ID + self.conversation)
    }

    /// The same in both tables, and like nothing else.
    fn publish_key(self) -> [u8; 16] {
        let mut random = Random(self.conversation << 32 | self.offset);
        let mut key = [0; 16];
        random.fill(&mut key);
        key
    }
}

fn id(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            part.copy_from_slice(&z.to_le_bytes()[..part.len()]);
        }
    }
}

/// Rows of PostgreSQL's binary copy.
struct Rows(Vec<u8>);

impl Rows {
    fn begin(&mut self, fields: i16) {
        self.0.extend(fields.to_be_bytes());
    }

    fn field(&mut self, value: &[u8]) {
        self.0.extend((value.len() as u32).to_be_bytes());
        self.0.extend(value);
    }

    fn number(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }
}

fn message(rows: &mut Rows, at: At, now: i64) {
    let mut random = Random(at.conversation << 33 | at.offset << 1 | 1);
    let (mut own, mut body) = ([0; 16], [0; BODY_BYTES]);
    random.fill(&mut own);
    random.fill(&mut body);
    rows.begin(11);
    rows.field(&own);
    rows.field(&at.conversation());
    rows.number(at.offset as i64);
    rows.number(1);
    rows.number(0);
    rows.field(&at.sender());
    rows.field(&at.sender());
    rows.number(now);
    rows.field(&at.publish_key());
    rows.number(2);
    rows.field(&body);
}

fn publish_key(rows: &mut Rows, at: At) {
    rows.begin(5);
    rows.field(&at.sender());
    rows.field(&at.publish_key());
    rows.field(&at.conversation());
    rows.number(at.offset as i64);
    rows.number(1);
}

/// Copies `each` rows of every conversation into a table.
async fn copy(server: &Postgres, table: &str, each: u64, row: impl Fn(&mut Rows, At)) -> Result<()> {
    let client = server.connect().await;
    let statement = format!("COPY {table} FROM STDIN (FORMAT binary)");
    let sink = client.copy_in::<_, Bytes>(statement.as_str()).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(Bytes::from_static(HEAD)).await?;
    for conversation in 1..=CONVERSATIONS {
        for first in (1..=each).step_by(ROWS as usize) {
            let mut rows = Rows(Vec::new());
            for offset in first..=each.min(first + ROWS - 1) {
                row(&mut rows, At { conversation, offset });
            }
            sink.send(rows.0.into()).await?;
        }
    }
    sink.send(Bytes::from_static(END)).await?;
    sink.finish().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_are_the_stores_own() {
        let server = Postgres::start();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let url = server.url("postgres");
        let migrated = runtime.expect("a runtime").block_on(schema_store::PostgresStore::migrate(
            &url,
            &schema_store::postgres::Options::default(),
        ));
        migrated.expect("an empty database takes the schema");
        fill(&server, 1).expect("the rows fit the tables");
        let each = 1_000_000 / MESSAGE_BYTES / CONVERSATIONS;
        let dense = "SELECT count(*), min(c.next_offset) FROM conversations c WHERE c.next_offset - 1 =
          (SELECT count(DISTINCT log_offset) FROM messages m WHERE m.conversation_id = c.id)";
        assert_eq!(server.sql(dense), format!("{CONVERSATIONS}|{}", each + 1));
        let known =
            "SELECT count(*) FROM messages JOIN publish_keys USING (sender_id, publish_key, log_offset)";
        assert_eq!(server.sql(known), (CONVERSATIONS * each).to_string());
        assert_eq!(server.sql("SELECT count(*) FROM messages_other"), "0");
    }
}
