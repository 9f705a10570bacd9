//! Numbers of relay nodes: a row is its holder's as long as it beats, and goes to who asks once it stopped.

use schema_wire::NodeId;
use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::Failed;
use super::value::{At, time};
use crate::accounts::Answer;
use crate::nodes::Nodes;
use crate::rows::node::{NODE_KEPT_MS, NODE_LEASE_MS, NODES_MAX, NodeLease, NodeRow, NodeState};

/// Takes number $1, or $7 if it still is as this machine took it at $8, or the lowest free one, unless a living process
/// has it. The machine's name is asked for because a data folder may have been copied to another.
const CLAIM: &str = "
INSERT INTO relay_nodes (id, name, address, version, state, started_at, seen_at)
SELECT wanted.id, $2, '', $3, 'READY', $4, $4
FROM (SELECT coalesce($1, (SELECT n.id FROM relay_nodes n WHERE n.id = $7 AND n.started_at = $8 AND n.name = $2), (
    SELECT min(free.id) FROM generate_series(1, $6) free (id)
    WHERE NOT EXISTS (SELECT 1 FROM relay_nodes n WHERE n.id = free.id AND n.state <> 'GONE' AND n.seen_at >= $5)
  )) AS id) wanted
WHERE wanted.id IS NOT NULL
ON CONFLICT (id) DO UPDATE
  SET name = excluded.name, address = '', version = excluded.version, state = excluded.state, seen_at = excluded.seen_at,
    started_at = greatest(excluded.started_at, relay_nodes.started_at + interval '1 millisecond')
  WHERE relay_nodes.state = 'GONE' OR relay_nodes.seen_at < $5
    OR (relay_nodes.id = $7 AND relay_nodes.started_at = $8 AND relay_nodes.name = $2)
RETURNING id, started_at";

/// The server's clock was set back: from here on, who lives says so within a beat.
const SET_BACK: &str = "UPDATE relay_nodes SET seen_at = $1 WHERE seen_at > $1 + interval '5 seconds'";

impl Nodes for PostgresStore {
    async fn claim_node(
        &self,
        name: String,
        version: String,
        wanted: Option<NodeId>,
        previous: Option<NodeLease>,
    ) -> Answer<Option<NodeLease>> {
        self.write(async move |tx, now| {
            let old = At(now.saturating_sub(NODE_KEPT_MS));
            tx.execute("DELETE FROM relay_nodes WHERE seen_at < $1", &[&old]).await?;
            tx.execute(SET_BACK, &[&At(now)]).await?;
            let wanted = wanted.map(|node| i64::from(node.0));
            let alive = At(now.saturating_sub(NODE_LEASE_MS));
            let most = i64::from(NODES_MAX);
            let (mine, since) = previous.map(|lease| (i64::from(lease.node.0), At(lease.since))).unzip();
            let row = tx
                .query_opt(CLAIM, &[&wanted, &name, &version, &At(now), &alive, &most, &mine, &since])
                .await?;
            let lease = |row: Row| Ok::<_, Failed>(NodeLease { node: number(&row)?, since: time(&row, 1)? });
            Ok(row.map(lease).transpose()?)
        })
        .await
    }

    async fn beat(&self, lease: NodeLease, address: String, state: NodeState) -> Answer<bool> {
        self.write(async move |tx, now| {
            let node = i64::from(lease.node.0);
            let updated = tx
                .execute(
                    "UPDATE relay_nodes SET address = $3, state = $4, seen_at = $5
                     WHERE id = $1 AND started_at = $2",
                    &[&node, &At(lease.since), &address, &state.name(), &At(now)],
                )
                .await?;
            Ok(updated == 1)
        })
        .await
    }

    async fn nodes(&self) -> Answer<Vec<NodeRow>> {
        self.read(async move |tx, _| {
            let rows = tx
                .query(
                    "SELECT id, name, address, version, state, started_at, seen_at FROM relay_nodes ORDER BY id",
                    &[],
                )
                .await?;
            Ok(rows.iter().map(node).collect::<Result<_, Failed>>()?)
        })
        .await
    }
}

fn number(row: &Row) -> Result<NodeId, Failed> {
    Ok(NodeId(u16::try_from(row.try_get::<_, i64>(0)?).unwrap_or(u16::MAX)))
}

fn node(row: &Row) -> Result<NodeRow, Failed> {
    Ok(NodeRow {
        node: number(row)?,
        name: row.try_get(1)?,
        address: row.try_get(2)?,
        version: row.try_get(3)?,
        // A state that a newer version knows is one of a node that is there.
        state: NodeState::parse(row.try_get(4)?).unwrap_or(NodeState::Ready),
        started_at: time(row, 5)?,
        seen_at: time(row, 6)?,
    })
}
