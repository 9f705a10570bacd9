//! The archive of a server's log: sealed in pieces as it is written, chained, and given back when a server recovers.

mod archive;
mod chain;
pub mod erasures;
mod fetch;
mod keep;
mod piece;
mod spool;
pub mod stream;

pub use archive::{Archive, Archived, check, newest};
pub use fetch::fetch;
pub use keep::{Dropped, prune};
pub use piece::{Piece, ROOT, Stretch, rekey};
