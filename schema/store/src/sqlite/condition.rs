//! How the file does: its size, its log, and what became of the checkpoints.

use rusqlite::Transaction;

use super::checkpoint::Passes;
use crate::accounts::Answer;
use crate::rows::condition::SqliteCondition;

/// Reads it.
pub fn condition(tx: &Transaction<'_>, passes: &Passes) -> Answer<SqliteCondition> {
    let number = |sql| -> rusqlite::Result<u64> {
        let found: i64 = tx.query_row(sql, [], |row| row.get(0))?;
        Ok(u64::try_from(found).unwrap_or(0))
    };
    let page = number("SELECT page_size FROM pragma_page_size")?;
    let file: String =
        tx.query_row("SELECT coalesce(file, '') FROM pragma_database_list WHERE name = 'main'", [], |row| {
            row.get(0)
        })?;
    let (checkpoints, checkpointed_at, pages_left) = passes.read();
    Ok(SqliteCondition {
        file_bytes: number("SELECT page_count FROM pragma_page_count")? * page,
        free_bytes: number("SELECT freelist_count FROM pragma_freelist_count")? * page,
        // None: whoever opened the file last has not written yet.
        log_bytes: std::fs::metadata(format!("{file}-wal")).map_or(0, |log| log.len()),
        checkpoints,
        checkpointed_at,
        pages_left,
    })
}
