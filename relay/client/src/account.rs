//! The account API over HTTP: log in, refresh, list conversations. Runs in client programs.
