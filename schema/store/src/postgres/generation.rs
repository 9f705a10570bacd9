//! Generations: a restore or a failover that may have lost commits begins a new one and writes down where every log
//! stood. A server that no generation was seen on is recognised by its cluster and timeline.

use schema_wire::{ConversationId, Generation, UserId};

use super::PostgresStore;
use super::account::audit::record;
use super::begin::life;
use super::fault::Failed;
use super::transaction::{Access, Tx};
use super::value::{At, Id, uint, uint_opt};
use crate::accounts::{AccountError, Answer};
use crate::rows::account::{Origin, audit_event};
use crate::sqlite::GENERATION_REASON_BYTES_MAX;

/// Key of the advisory lock that keeps two nodes from beginning one at once.
const GENERATION_LOCK: i64 = 0x5345_4355_5245_4745;

/// The present generation. In a transaction that writes: after the locks were taken, since it may change until then.
pub async fn current(tx: &Tx) -> Result<Generation, Failed> {
    let row = tx.query_one("SELECT max(generation) FROM store_generation", &[]).await?;
    Ok(Generation(u32::try_from(uint(&row, 0)?).unwrap_or(u32::MAX)))
}

/// The smallest head recorded for the conversation by any generation newer than `known`.
pub async fn cut_after(
    tx: &Tx,
    conversation: ConversationId,
    known: Generation,
) -> Result<Option<u64>, Failed> {
    let find = "SELECT min(head) FROM generation_heads WHERE conversation_id = $1 AND generation > $2";
    uint_opt(&tx.query_one(find, &[&Id(conversation.0), &i64::from(known.0)]).await?, 0)
}

/// The same for the user's own stream.
pub async fn user_cut_after(tx: &Tx, user: UserId, known: Generation) -> Result<Option<u64>, Failed> {
    let find = "SELECT min(head) FROM generation_user_heads WHERE user_id = $1 AND generation > $2";
    uint_opt(&tx.query_one(find, &[&Id(user.0), &i64::from(known.0)]).await?, 0)
}

/// Makes the server known, with a new generation unless nothing acknowledged can be missing on it.
pub async fn adopt(tx: &Tx, standby_is_synchronous: bool, now: u64) -> Answer<()> {
    tx.query("SELECT pg_advisory_xact_lock($1)", &[&GENERATION_LOCK]).await?;
    let row = tx
        .query_one(
            concat!(
                "SELECT here.life, EXISTS (SELECT 1 FROM store_lives l WHERE l.life = here.life)
                 FROM (SELECT ",
                life!(),
                " AS life) here"
            ),
            &[],
        )
        .await?;
    let (life, known) =
        (row.try_get::<_, String>(0).map_err(Failed::Sql)?, row.try_get(1).map_err(Failed::Sql)?);
    if known {
        return Ok(());
    }
    let generation = match standby_is_synchronous {
        true => current(tx).await?,
        false => begin(tx, &format!("not seen before: server/timeline {life}"), now).await?,
    };
    let number = i64::from(generation.0);
    tx.execute("INSERT INTO store_lives (life, generation) VALUES ($1, $2)", &[&life, &number]).await?;
    tracing::warn!(life, generation = generation.0, standby_is_synchronous, "another server or timeline");
    Ok(())
}

/// The number is at least the unix time in seconds, so that restoring the same backup twice never gives two lives the
/// same number.
async fn begin(tx: &Tx, reason: &str, now: u64) -> Answer<Generation> {
    // What is being appended commits first, and what comes then finds the new generation: each log is cut once. In the
    // order in which others lock rows, or each would wait for the other.
    tx.execute("LOCK TABLE conversations, users IN EXCLUSIVE MODE", &[]).await?;
    let by_clock = u32::try_from(now / 1000).unwrap_or(u32::MAX);
    let generation = Generation(current(tx).await?.0.saturating_add(1).max(by_clock));
    let number = i64::from(generation.0);
    tx.execute(
        "INSERT INTO store_generation (generation, reason, begun_at) VALUES ($1, $2, $3)",
        &[&number, &reason, &At(now)],
    )
    .await?;
    tx.execute(
        "INSERT INTO generation_heads (conversation_id, generation, head)
         SELECT id, $1, next_offset - 1 FROM conversations",
        &[&number],
    )
    .await?;
    tx.execute(
        "INSERT INTO generation_user_heads (user_id, generation, head) SELECT id, $1, event_head FROM users",
        &[&number],
    )
    .await?;
    tx.execute(
        "INSERT INTO change_log (kind, number, created_at) VALUES ('GENERATION', $1, $2)",
        &[&number, &At(now)],
    )
    .await?;
    record(tx, audit_event::GENERATION_BEGUN, None, reason, &Origin::system(), now).await?;
    Ok(generation)
}

impl PostgresStore {
    /// Begins a new generation. To be called once after a restore, before clients come back; a promoted standby and
    /// a restored server are also recognised without it.
    pub async fn begin_generation(&self, reason: String) -> Answer<Generation> {
        if reason.len() > GENERATION_REASON_BYTES_MAX {
            return Err(AccountError::Invalid { field: "reason", problem: "too long" });
        }
        self.transact(Access::Long, async move |tx, now| begin(tx, &reason, now).await).await
    }

    /// The present generation.
    pub async fn generation(&self) -> Answer<Generation> {
        self.read(async move |tx, _| Ok(current(tx).await?)).await
    }
}
