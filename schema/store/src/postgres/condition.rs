//! How the server does, read from its own views. What this account may not see is missing, never invented.

use tokio_postgres::Row;

use super::fault::Failed;
use super::transaction::Tx;
use super::value::{uint, uint_opt};
use crate::accounts::Answer;
use crate::rows::condition::{
    EndedStatement, PostgresCondition, Replica, RunningStatement, STATEMENTS_LISTED, Slowest,
};
use crate::statement::without_values;

const SERVER: &str = "SELECT current_setting('server_version'), current_setting('max_connections')::bigint,
  (SELECT sum(numbackends)::bigint FROM pg_stat_database), pg_database_size(current_database()),
  d.xact_commit, d.xact_rollback, d.blks_hit, d.blks_read, d.deadlocks
  FROM pg_stat_database d WHERE d.datname = current_database()";

const CONNECTIONS: &str = "SELECT coalesce(state, 'unknown'), count(*) FROM pg_stat_activity
  WHERE datname = current_database() AND backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC, 1";

/// On a standby there is no current place in the log.
const REPLICAS: &str = "SELECT coalesce(application_name, ''), coalesce(state, ''), coalesce(sync_state, ''),
  CASE WHEN pg_is_in_recovery() THEN NULL
    ELSE greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint END,
  (extract(epoch FROM replay_lag) * 1000)::bigint
  FROM pg_stat_replication ORDER BY 1, 4 DESC NULLS LAST LIMIT 32";

/// The schema of a view that can be read: installed, new enough, allowed, and its library loaded (only then has it settings).
const STATEMENTS_VIEW: &str = "SELECT quote_ident(n.nspname) FROM pg_extension e
  JOIN pg_namespace n ON n.oid = e.extnamespace
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'pg_stat_statements'
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'mean_exec_time'
  WHERE e.extname = 'pg_stat_statements' AND has_table_privilege(c.oid, 'SELECT')
    AND EXISTS (SELECT 1 FROM pg_settings WHERE name = 'pg_stat_statements.max')";

const RUNNING: &str = "SELECT left(query, 2000), coalesce(state, ''),
  greatest(extract(epoch FROM clock_timestamp() - query_start) * 1000, 0)::bigint
  FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
    AND state <> 'idle' AND pid <> pg_backend_pid() AND query_start IS NOT NULL
  ORDER BY query_start LIMIT $1";

/// Reads it.
pub async fn condition(tx: &Tx) -> Answer<PostgresCondition> {
    let server = tx.query_one(SERVER, &[]).await?;
    let connections = tx.query(CONNECTIONS, &[]).await?;
    let connections =
        connections.iter().map(|row| Ok((row.try_get(0)?, uint(row, 1)?))).collect::<Result<_, Failed>>()?;
    let replicas = tx.query(REPLICAS, &[]).await?.iter().map(replica).collect::<Result<_, Failed>>()?;
    Ok(PostgresCondition {
        version: server.try_get(0).map_err(Failed::Sql)?,
        connections,
        connections_used: uint_opt(&server, 2)?.unwrap_or(0),
        connections_max: uint(&server, 1)?,
        database_bytes: uint(&server, 3)?,
        commits: uint(&server, 4)?,
        rollbacks: uint(&server, 5)?,
        blocks_hit: uint(&server, 6)?,
        blocks_read: uint(&server, 7)?,
        deadlocks: uint(&server, 8)?,
        replicas,
        statements: slowest(tx).await?,
    })
}

fn replica(row: &Row) -> Result<Replica, Failed> {
    Ok(Replica {
        name: row.try_get(0)?,
        state: row.try_get(1)?,
        sync: row.try_get(2)?,
        lag_bytes: uint_opt(row, 3)?,
        lag_ms: uint_opt(row, 4)?,
    })
}

async fn slowest(tx: &Tx) -> Answer<Slowest> {
    let limit = i64::from(STATEMENTS_LISTED);
    let Some(view) = tx.query_opt(STATEMENTS_VIEW, &[]).await? else {
        let rows = tx.query(RUNNING, &[&limit]).await?;
        let running = rows.iter().map(running).collect::<Result<_, Failed>>()?;
        return Ok(Slowest::Running(running));
    };
    let schema: String = view.try_get(0).map_err(Failed::Sql)?;
    let find = format!(
        "SELECT left(query, 2000), calls, mean_exec_time, max_exec_time, total_exec_time
         FROM {schema}.pg_stat_statements
         WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
         ORDER BY mean_exec_time DESC LIMIT $1"
    );
    let rows = tx.query(&find, &[&limit]).await?;
    Ok(Slowest::Ended(rows.iter().map(ended).collect::<Result<_, Failed>>()?))
}

fn ended(row: &Row) -> Result<EndedStatement, Failed> {
    let text: Option<String> = row.try_get(0)?;
    Ok(EndedStatement {
        text: without_values(text.as_deref().unwrap_or("")),
        calls: uint(row, 1)?,
        mean_ms: row.try_get(2)?,
        max_ms: row.try_get(3)?,
        total_ms: row.try_get(4)?,
    })
}

fn running(row: &Row) -> Result<RunningStatement, Failed> {
    let text: Option<String> = row.try_get(0)?;
    let text = without_values(text.as_deref().unwrap_or(""));
    Ok(RunningStatement { text, state: row.try_get(1)?, since_ms: uint(row, 2)? })
}
