//! Where backups lie, with which key, and of which database: flags over environment over what the data folder has.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ::backup::key::{KeyError, Keyring, MasterKey};
use ::backup::place::{BucketAccess, Location, Place};
use clap::Args;

use crate::failure::{Code, Failure};

/// The key that `up` makes in the data folder when none is given.
pub const GENERATED_KEY: &str = "backup.key";
/// The folder that `up` makes in the data folder when no place is given.
pub const LOCAL_FOLDER: &str = "backups";

/// Flags of every command about backups. There is none for the key: other processes read arguments.
#[derive(Args, Debug, Clone)]
pub struct PlaceOptions {
    /// The data folder.
    #[arg(long, value_name = "DIR", default_value = ".data", env = "DATA_DIR")]
    pub data: PathBuf,
    /// Where backups lie: s3://BUCKET[/PREFIX] or a folder; `backups` in the data folder when not given.
    #[arg(long, value_name = "PLACE", env = "BACKUP_LOCATION")]
    pub location: Option<String>,
    /// File of the key, one per line, the first seals; `backup.key` in the data folder when not given.
    #[arg(long, value_name = "FILE", env = "BACKUP_KEY_FILE")]
    pub key_file: Option<PathBuf>,
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl PlaceOptions {
    /// As the environment alone says it, for `up`.
    pub fn from_env(data: &Path) -> Self {
        let (location, key_file) = (set("BACKUP_LOCATION"), set("BACKUP_KEY_FILE").map(PathBuf::from));
        Self { data: data.to_owned(), location, key_file }
    }

    /// The place.
    pub fn location(&self) -> Result<Location, Failure> {
        let Some(text) = self.location.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(Location::Folder(self.data.join(LOCAL_FOLDER)));
        };
        let bad = |why| Failure::new(Code::Settings, format!("BACKUP_LOCATION={text}: {why}"));
        text.parse().map_err(bad)
    }

    /// Opens the place. Must run where io_uring is.
    pub fn open(&self) -> Result<Place, Failure> {
        let access = BucketAccess {
            endpoint: set("S3_ENDPOINT"),
            region: set("S3_REGION"),
            access_key: set("S3_ACCESS_KEY"),
            secret_key: set("S3_SECRET_KEY"),
            patience: None,
        };
        Place::open(&self.location()?, &access).map_err(|error| Failure::backup(error.into()))
    }

    /// The keys: the file named, else the variable, else the file in the data folder.
    pub fn keys(&self) -> Result<Keyring, Failure> {
        self.find_keys().map_err(|error| Failure::backup(error.into()))
    }

    fn find_keys(&self) -> Result<Keyring, KeyError> {
        if let Some(file) = self.key_file.as_ref().filter(|file| !file.as_os_str().is_empty()) {
            return Keyring::from_file(file);
        }
        if let Some(text) = set("BACKUP_KEY") {
            return Keyring::parse(&text, "BACKUP_KEY");
        }
        let kept = self.data.join(GENERATED_KEY);
        if kept.exists() { Keyring::from_file(&kept) } else { Err(KeyError::Missing) }
    }

    /// The same, making a key in the data folder when there is none; says where it made one.
    pub fn keys_or_new(&self) -> Result<(Keyring, Option<PathBuf>), Failure> {
        match self.find_keys() {
            Ok(keys) => Ok((keys, None)),
            Err(KeyError::Missing) => {
                let path = self.data.join(GENERATED_KEY);
                let key = MasterKey::generate();
                write_key(&path, &key)
                    .map_err(|error| Failure::new(Code::Folder, format!("{}: {error}", path.display())))?;
                Ok((Keyring::of(key), Some(path)))
            }
            Err(error) => Err(Failure::backup(error.into())),
        }
    }
}

/// Whole or not at all: half a key would be refused at the next start.
fn write_key(path: &Path, key: &MasterKey) -> std::io::Result<()> {
    let aside = path.with_extension("key.new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(key.to_text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(aside, path)
}
