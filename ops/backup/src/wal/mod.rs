//! The archive of a server's log: sealed in pieces as it is written, chained, and given back when a server recovers.

mod archive;
mod branch;
mod chain;
mod claim;
pub mod erasures;
mod fetch;
mod fork;
mod keep;
mod left;
mod note;
mod piece;
mod receiver;
mod safe;
mod sealing;
mod spool;
pub mod stream;

pub use archive::{Archive, Archived, check, newest};
pub use branch::Branch;
pub use claim::claim;
pub use fetch::fetch;
pub use keep::{Dropped, prune};
pub use left::seal_left;
pub use piece::{Piece, ROOT, Stretch, rekey};
