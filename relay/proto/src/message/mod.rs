//! The life of a message, one file per step.

pub(crate) mod ack;
pub(crate) mod admit;
pub(crate) mod append;
pub(crate) mod authorise;
pub(crate) mod deliver;
pub(crate) mod fan_out;
pub(crate) mod forward;
