//! Indexes are dropped before rows come in by the million, and made again afterwards as the schema had them.

use tokio_postgres::{Client, Error};

/// Those that no constraint stands on, of the tables that get many rows; what makes them again.
pub async fn drop_them(client: &Client) -> Result<Vec<String>, Error> {
    let found = client
        .query(
            "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
             FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
             WHERE n.nspname = 'public' AND NOT t.relispartition AND NOT i.indisprimary
               AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
               AND t.relname IN ('users', 'devices', 'refresh_tokens', 'conversation_members', 'messages', 'reports',
                 'flags', 'moderation_cases', 'moderation_decisions', 'moderation_actions', 'audit_logs')",
            &[],
        )
        .await?;
    let mut made_by = Vec::new();
    for row in &found {
        let (name, definition): (&str, &str) = (row.get(0), row.get(1));
        client.batch_execute(&format!("DROP INDEX {name}")).await?;
        // Of a partitioned table, on all its parts.
        made_by.push(definition.replace(" ON ONLY ", " ON "));
    }
    Ok(made_by)
}

/// Makes them again.
pub async fn make_again(client: &Client, made_by: &[String]) -> Result<(), Error> {
    for statement in made_by {
        client.batch_execute(statement).await?;
    }
    Ok(())
}
