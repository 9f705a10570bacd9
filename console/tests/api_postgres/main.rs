//! The account API over real sockets, on a private PostgreSQL server: the tests of `tests/api`, every one.

#![allow(clippy::unwrap_used)]

#[path = "../api/admission.rs"]
mod admission;
#[path = "../api/appeals.rs"]
mod appeals;
#[path = "../api/automation.rs"]
mod automation;
#[path = "../api/bans.rs"]
mod bans;
mod condition;
#[path = "../api/conversations.rs"]
mod conversations;
#[path = "../api/enumeration.rs"]
mod enumeration;
#[path = "../api/front.rs"]
mod front;
mod ground;
mod kept;
#[path = "../api/keys.rs"]
mod keys;
#[path = "../api/killed.rs"]
mod killed;
#[path = "../api/limits.rs"]
mod limits;
#[path = "../api/links.rs"]
mod links;
#[path = "../api/me.rs"]
mod me;
#[path = "../api/privacy.rs"]
mod privacy;
mod process;
#[path = "../api/reports.rs"]
mod reports;
#[path = "../api/session.rs"]
mod session;
#[path = "../api/support.rs"]
mod support;
#[path = "../api/walk.rs"]
mod walk;
