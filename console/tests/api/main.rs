//! The account API over real sockets, on a real SQLite store in a folder of its own.

#![allow(clippy::unwrap_used)]

mod admission;
mod appeals;
mod automation;
mod bans;
mod conversations;
mod enumeration;
mod front;
mod ground;
mod kept;
mod keys;
mod killed;
mod limits;
mod links;
mod me;
mod privacy;
mod reports;
mod requests;
mod session;
mod support;
mod walk;
