//! A machine of a server's own, as far as its disk and its clock go: it can lose its power, and what was not made durable
//! with it, and its wall clock can be set. Nothing of the kind is done to this machine.

mod power;
mod shadow;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use shadow::{CLOCK, DISK, IGNORED, SHADOW, SYNC, Shadow};

use crate::account;
use crate::folder::Folder;

/// What is loaded before the C library.
const PRELOADED: &str = concat!(env!("OUT_DIR"), "/libmachine.so");

/// What a disk does when it is told to make something durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sync {
    /// It does.
    #[default]
    Honest,
    /// It says that it did: what a server sees that never asks.
    Ignored,
}

/// A folder as the disk of a machine, and a clock.
pub struct Machine {
    folder: Folder,
    shadow: Shadow,
    clock: File,
    sync: Sync,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("disk", &self.shadow.disk).field("sync", &self.sync).finish()
    }
}

impl Machine {
    /// With `disk` as its disk, all that is there durable. Panics where it can't be done, with what is missing.
    pub fn with(disk: &Path, sync: Sync) -> Self {
        let folder = Folder::new("machine");
        for name in ["files", "folders"] {
            let kept = folder.join(name);
            std::fs::create_dir(&kept).expect("the folder is new");
            account::hand_over(&kept, 0o777);
        }
        // The account must be able to load it.
        let preloaded = folder.join("libmachine.so");
        std::fs::copy(PRELOADED, &preloaded).expect("it was built with this crate");
        account::hand_over(&preloaded, 0o644);
        let clock = folder.write("clock", "\0\0\0\0\0\0\0\0");
        let clock = File::options().write(true).open(clock).expect("it was just written");
        let disk = disk.canonicalize().unwrap_or_else(|e| panic!("{} is there: {e}", disk.display()));
        let shadow = Shadow::new(disk, folder.path(), false);
        let machine = Self { folder, shadow, clock, sync };
        machine.settle();
        machine.must_work();
        machine
    }

    /// A program asks for what it wrote to be durable, and the shadow must have it.
    fn must_work(&self) {
        let mark = self.shadow.disk.join(".machine");
        std::fs::write(&mark, "durable").expect("the disk is writable");
        let mut sync = std::process::Command::new("sync");
        let done = sync.arg(&mark).envs(self.variables()).status().expect("sync is installed");
        let kept = std::fs::read_dir(&self.shadow.files).expect("ours").filter_map(Result::ok);
        let found =
            kept.filter(|file| std::fs::read(file.path()).is_ok_and(|text| text == b"durable")).count();
        std::fs::remove_file(mark).expect("it was just written");
        let expected = usize::from(self.sync == Sync::Honest);
        assert!(
            done.success() && found == expected,
            "no power can be lost here: programs are linked without a C library that loads {}, or {} does not say when its files were made",
            self.folder.join("libmachine.so").display(),
            self.shadow.disk.display(),
        );
        self.settle();
    }

    /// What makes a program run on it.
    pub fn variables(&self) -> Vec<(&'static str, PathBuf)> {
        let sync = if self.sync == Sync::Ignored { IGNORED } else { "honest" };
        vec![
            ("LD_PRELOAD", self.folder.join("libmachine.so")),
            (DISK, self.shadow.disk.clone()),
            (SHADOW, self.folder.path().to_owned()),
            (SYNC, sync.into()),
            (CLOCK, self.folder.join("clock")),
        ]
    }

    /// Everything written so far is durable, as after a long quiet time.
    pub fn settle(&self) {
        self.shadow.keep_all().expect("the disk and its shadow are ours");
    }

    /// The power goes and comes back. No program may run on it. What was not made durable is gone, except the pages
    /// that `survives` lets through: a disk writes in an order of its own.
    pub fn lose_power(&self, survives: impl FnMut() -> bool) {
        self.shadow.lose_power(survives).expect("the disk and its shadow are ours");
    }

    /// Its wall clock goes wrong by so many seconds, at once and for all programs on it.
    pub fn set_clock(&self, wrong_by: i64) {
        self.clock.write_all_at(&wrong_by.to_ne_bytes(), 0).expect("the file is ours");
    }
}
