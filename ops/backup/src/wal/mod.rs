//! The archive of a server's log: sealed in pieces as it is written, chained, and given back when a server recovers.

mod archive;
mod branch;
mod chain;
pub mod erasures;
mod fetch;
mod fork;
mod keep;
mod note;
mod piece;
mod safe;
mod sealing;
mod spool;
pub mod stream;

pub use archive::{Archive, Archived, check, newest};
pub use branch::Branch;
pub use fetch::fetch;
pub use keep::{Dropped, prune};
pub use piece::{Piece, ROOT, Stretch, rekey};
