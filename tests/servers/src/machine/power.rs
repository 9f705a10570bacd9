//! The end of a machine's power: its disk is replaced by what is durable, as the shadow has it. Runs in the harness, while
//! no server is on the disk.

use std::collections::HashMap;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::shadow::{Shadow, fill, identity};

/// What a disk writes whole or not at all, here.
const PAGE: usize = 4096;

/// Where files and folders are, by what identifies them.
type Alive = HashMap<String, PathBuf>;

/// One name in a folder: what kind of thing, which one, and how it is protected.
struct Entry<'a> {
    kind: &'a str,
    /// For a link where it leads.
    identity: &'a str,
    mode: u32,
    name: &'a str,
}

impl Shadow {
    /// Everything on the disk is durable, as after a long quiet time.
    pub fn keep_all(&self) -> io::Result<()> {
        self.walk(&self.disk, &mut |path, _| self.keep(&File::open(path)?).map(drop))?;
        let owner = self.disk.metadata()?;
        for kept in self.all_kept()? {
            chown(kept, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(())
    }

    /// The shadow's own files.
    fn all_kept(&self) -> io::Result<Vec<PathBuf>> {
        let folders = [&self.files, &self.folders].map(std::fs::read_dir);
        folders.into_iter().try_fold(Vec::new(), |mut all, folder| {
            for kept in folder? {
                all.push(kept?.path());
            }
            Ok(all)
        })
    }

    /// Calls `each` for the folder and all files and folders in it.
    fn walk(
        &self,
        folder: &Path,
        each: &mut impl FnMut(&Path, &Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        each(folder, &folder.metadata()?)?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let of = entry.metadata()?;
            if of.is_dir() {
                self.walk(&entry.path(), each)?;
            } else if of.is_file() {
                each(&entry.path(), &of)?;
            }
        }
        Ok(())
    }

    /// Replaces the disk by what is durable. Of each page written since, `survives` says whether it got through.
    pub fn lose_power(&self, mut survives: impl FnMut() -> bool) -> io::Result<()> {
        let mut alive = Alive::new();
        self.walk(&self.disk, &mut |path, of| {
            alive.insert(identity(of)?, path.to_owned());
            Ok(())
        })?;
        let found = self.disk.with_extension("found");
        self.restore(&identity(&self.disk.metadata()?)?, &found, &alive, &mut survives)?;
        let of = self.disk.metadata()?;
        std::fs::set_permissions(&found, of.permissions())?;
        chown(&found, Some(of.uid()), Some(of.gid()))?;
        std::fs::remove_dir_all(&self.disk)?;
        std::fs::rename(found, &self.disk)?;
        self.all_kept()?.into_iter().try_for_each(std::fs::remove_file)?;
        self.keep_all()
    }

    fn restore(
        &self,
        folder: &str,
        to: &Path,
        alive: &Alive,
        survives: &mut impl FnMut() -> bool,
    ) -> io::Result<()> {
        std::fs::create_dir(to)?;
        let names = match std::fs::read_to_string(self.folders.join(folder)) {
            // Its own name is durable, nothing in it is.
            Err(none) if none.kind() == ErrorKind::NotFound => String::new(),
            names => names?,
        };
        let owner = self.disk.metadata()?;
        for entry in names.lines().filter_map(Entry::parse) {
            let path = to.join(entry.name);
            match entry.kind {
                "link" => {
                    symlink(entry.identity, path)?;
                    continue;
                }
                "folder" => self.restore(entry.identity, &path, alive, survives)?,
                _ => self.restore_file(entry.identity, &path, alive, survives)?,
            }
            std::fs::set_permissions(&path, Permissions::from_mode(entry.mode))?;
            chown(&path, Some(owner.uid()), Some(owner.gid()))?;
        }
        Ok(())
    }

    fn restore_file(
        &self,
        identity: &str,
        to: &Path,
        alive: &Alive,
        survives: &mut impl FnMut() -> bool,
    ) -> io::Result<()> {
        match std::fs::copy(self.files.join(identity), to) {
            // A name, and nothing behind it.
            Err(none) if none.kind() == ErrorKind::NotFound => std::fs::write(to, "")?,
            copied => drop(copied?),
        }
        let Some(written) = alive.get(identity) else { return Ok(()) };
        let (written, found) = (File::open(written)?, File::options().read(true).write(true).open(to)?);
        let (mut new, mut old) = ([0; PAGE], [0; PAGE]);
        for at in (0..written.metadata()?.len()).step_by(PAGE) {
            let bytes = fill(&written, &mut new, at)?;
            let known = fill(&found, &mut old[..bytes], at)?;
            if new[..bytes] != old[..known] && survives() {
                found.write_all_at(&new[..bytes], at)?;
            }
        }
        Ok(())
    }
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.splitn(4, '\t');
        let (kind, identity, mode) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Self { kind, identity, mode: u32::from_str_radix(mode, 8).ok()?, name: fields.next()? })
    }
}
