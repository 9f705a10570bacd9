//! Where accounts are kept: in a file of this process, or on a server that it shares with others.

use std::path::PathBuf;

use schema_store::postgres::{Options, Statements};

/// A store that can be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Database {
    /// In a file.
    Sqlite(PathBuf),
    /// On a server.
    Postgres(Server),
}

/// A server, and how it is spoken to.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// May hold a password.
    url: String,
    /// Most connections.
    pub pool_size: usize,
    /// Whether a pooler in transaction mode stands before it.
    pub is_pooled: bool,
    /// The operator's word that only a synchronous standby is ever promoted.
    pub standby_is_synchronous: bool,
}

impl Server {
    /// For whoever connects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How the store is opened.
    pub fn options(&self) -> Options {
        Options {
            pool_size: self.pool_size,
            statements: if self.is_pooled { Statements::Unnamed } else { Statements::Named },
            standby_is_synchronous: self.standby_is_synchronous,
            ..Options::default()
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("pool_size", &self.pool_size).finish_non_exhaustive()
    }
}

impl Database {
    /// The database of that URL, or what is wrong with it; the URL itself is not repeated.
    pub fn parse(url: String) -> Result<Self, &'static str> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let usual = Options::default();
            return Ok(Self::Postgres(Server {
                url,
                pool_size: usual.pool_size,
                is_pooled: usual.statements == Statements::Unnamed,
                standby_is_synchronous: usual.standby_is_synchronous,
            }));
        }
        match url.strip_prefix("sqlite:") {
            Some(path) if !path.trim_start_matches("//").is_empty() => {
                Ok(Self::Sqlite(PathBuf::from(path.strip_prefix("//").unwrap_or(path))))
            }
            _ => Err("must be sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_file_or_a_server() {
        let parse = |url: &str| Database::parse(url.to_owned());
        assert_eq!(parse("sqlite:/var/lib/m.db"), Ok(Database::Sqlite("/var/lib/m.db".into())));
        assert_eq!(parse("sqlite://m.db"), Ok(Database::Sqlite("m.db".into())));
        let server = parse("postgresql://user:hunter2@localhost:5432/securemessenger").unwrap();
        assert!(matches!(&server, Database::Postgres(server) if server.url().contains("hunter2")));
        assert!(!format!("{server:?}").contains("hunter2"));
        for wrong in ["sqlite:", "sqlite://", "mysql://x", "postgres", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
