//! What a shape needs before its first cell: a folder, and for the relay people with tokens in a store of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use super::cell::Folder;
use super::crowd::{self, Crowd, Mint};
use super::pin::Pin;
use super::server::{Relay, Server};
use super::shape::Shape;
use crate::plan::{Kind, Room};

/// The set of one shape.
pub struct Stage {
    folder: Folder,
    /// Rooms with tokens, for the relay.
    pub rooms: Vec<Room>,
    /// The same rooms without, for floors.
    pub floor_rooms: Vec<Room>,
    ca: PathBuf,
    program: Option<PathBuf>,
    env: &'static [(&'static str, &'static str)],
    kind: Kind,
}

impl Stage {
    /// Writes people into a store, and lets a relay start on it once, so that its keys exist.
    pub fn set(shape: &Shape, program: Option<PathBuf>, runtime: &Runtime) -> Result<Self> {
        let folder = Folder::new(shape.name)?;
        let data = folder.path().join("data");
        let crowd = runtime.block_on(Crowd::prepare(&data, shape.seats)).context("seat the crowd")?;
        let (rooms, floor_rooms, ca) = (Vec::new(), Vec::new(), PathBuf::new());
        let mut stage = Self { folder, rooms, floor_rooms, ca, program, env: shape.env, kind: shape.kind };
        let server = stage.relay(1)?;
        stage.ca = server.ca.clone();
        let mint = Mint::of(server.signing_key.as_deref().context("the relay names its key")?)?;
        stage.rooms = crowd::rooms(&crowd, shape.seats, &mint)?;
        let without = |room: &Room| Room {
            conversation: String::new(),
            subscribers: vec![String::new(); room.subscribers.len()],
            publishers: vec![String::new(); room.publishers.len()],
        };
        stage.floor_rooms = stage.rooms.iter().map(without).collect();
        drop(server);
        copy(&stage.data(), &stage.pristine())?;
        Ok(stage)
    }

    /// A relay on this stage's store as it was set: a floor begins with an empty one too, and a tree of keys that
    /// grew in earlier turns costs more.
    pub fn relay(&self, shards: u16) -> Result<Server> {
        let data = self.data();
        if self.pristine().is_dir() {
            std::fs::remove_dir_all(&data)?;
            copy(&self.pristine(), &data)?;
        }
        Server::relay(&Relay {
            data: &data,
            shards,
            pin: Pin::server(usize::from(shards), self.kind),
            env: self.env,
            program: self.program.as_deref(),
        })
    }

    /// A relay on this stage's store whose allocations are counted.
    pub fn counted(&self) -> Result<Server> {
        Server::counted(&self.data(), self.ca.clone(), &Pin::server(1, self.kind))
    }

    /// The relay's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the folder is set back to.
    fn pristine(&self) -> PathBuf {
        self.folder.path().join("pristine")
    }

    /// Where floors may write.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Copies a folder with everything in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
