//! The nodes of the installation, and what they lean on, as the console sees them: asked now and then, added up without
//! loss. No page in here.

pub mod ask;
pub mod consumers;
pub mod figures;
pub mod heat;
pub mod history;
pub mod live;
pub mod past;
pub mod servers;
pub mod times;
pub mod watch;
