//! The one node of an embedded store: whoever opened the file has every number.

use rusqlite::{Row, params};
use schema_wire::NodeId;

use super::SqliteStore;
use super::value::{int, uint};
use crate::accounts::Answer;
use crate::nodes::Nodes;
use crate::rows::node::{NODE_KEPT_MS, NodeLease, NodeRow, NodeState};

impl Nodes for SqliteStore {
    async fn claim_node(
        &self,
        name: String,
        version: String,
        wanted: Option<NodeId>,
        _previous: Option<NodeLease>,
    ) -> Answer<Option<NodeLease>> {
        let node = wanted.unwrap_or(NodeId(1));
        self.write(move |tx, now| {
            let old = int(now.saturating_sub(NODE_KEPT_MS));
            tx.execute("DELETE FROM relay_nodes WHERE seen_at < ?1", [old])?;
            tx.execute(
                "INSERT OR REPLACE INTO relay_nodes (id, name, address, version, state, started_at, seen_at)
                 VALUES (?1, ?2, '', ?3, ?4, ?5, ?5)",
                params![node.0, name, version, NodeState::Ready.name(), int(now)],
            )?;
            Ok(Some(NodeLease { node, since: now }))
        })
        .await
    }

    async fn beat(&self, lease: NodeLease, address: String, state: NodeState) -> Answer<bool> {
        self.write(move |tx, now| {
            let updated = tx.execute(
                "UPDATE relay_nodes SET address = ?3, state = ?4, seen_at = ?5
                 WHERE id = ?1 AND started_at = ?2",
                params![lease.node.0, int(lease.since), address, state.name(), int(now)],
            )?;
            Ok(updated == 1)
        })
        .await
    }

    async fn nodes(&self) -> Answer<Vec<NodeRow>> {
        self.read(|tx, _| {
            let mut find = tx.prepare_cached(
                "SELECT id, name, address, version, state, started_at, seen_at FROM relay_nodes ORDER BY id",
            )?;
            let rows = find.query_map([], node)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }
}

fn node(row: &Row<'_>) -> rusqlite::Result<NodeRow> {
    Ok(NodeRow {
        node: NodeId(row.get(0)?),
        name: row.get(1)?,
        address: row.get(2)?,
        version: row.get(3)?,
        // A state that a newer version knows is one of a node that is there.
        state: NodeState::parse(&row.get::<_, String>(4)?).unwrap_or(NodeState::Ready),
        started_at: uint(row, 5)?,
        seen_at: uint(row, 6)?,
    })
}
