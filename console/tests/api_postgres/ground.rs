//! What a program that is killed leaves behind: a database, on a server whose processes are killed as well.

use std::process::Command;

use schema_store::PostgresStore;
use schema_store::postgres::{Options, migrate};
use servers::Postgres;

use crate::kept::Store;

/// The server.
pub struct Ground {
    server: Postgres,
}

impl Ground {
    /// An id as 32 hexadecimal digits.
    pub const HEX_ID: &str = "replace(id::text, '-', '')";
    pub const NOW: &str = "now()";

    pub async fn lay() -> Self {
        let server = Postgres::start();
        migrate(&mut server.connect().await).await.unwrap();
        Self { server }
    }

    pub fn url(&self) -> String {
        self.server.url("postgres")
    }

    pub async fn store(&self) -> Store {
        PostgresStore::open(&self.url(), Options::default()).await.unwrap()
    }

    pub fn sql(&self, statement: &str) -> String {
        self.server.sql(statement)
    }

    /// Nothing while the server is away.
    pub fn try_sql(&self, statement: &str) -> Option<String> {
        self.server.try_sql(statement)
    }

    /// Waits until a query says this.
    pub fn until(&self, query: &str, says: &str) {
        self.server.until(query, says);
    }

    /// Kills one that serves the program; the server begins anew.
    pub fn kill_a_process(&self) -> bool {
        let one = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                   ORDER BY random() LIMIT 1";
        if let Some(pid) = self.try_sql(one).filter(|pid| !pid.is_empty()) {
            // Of a program that was just killed it may have ended by itself.
            let _ = Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            self.until("SELECT 1", "1");
        }
        true
    }
}
