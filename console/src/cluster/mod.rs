//! The nodes of the installation as the console sees them: asked by their internal listeners, added up without loss.
//! No page in here.

pub mod ask;
pub mod figures;
pub mod history;
pub mod watch;
