//! The life of a session, one file per step.

pub(crate) mod attach;
pub(crate) mod block;
pub(crate) mod cursor;
pub(crate) mod detach;
pub(crate) mod heartbeat;
pub(crate) mod history;
pub(crate) mod membership;
pub(crate) mod presence;
pub(crate) mod recover;
pub(crate) mod refresh;
pub(crate) mod share;
pub(crate) mod signal;
pub(crate) mod stream;
pub(crate) mod subscribe;
pub(crate) mod typing;
pub(crate) mod watch;
