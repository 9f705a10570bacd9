//! Between files, sealing and a place: each stage on its own, with a few blocks between them, so that memory stays
//! bounded and the disk, the processor and the network work at once.

use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures_util::future::join;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_uring::fs::File;

use crate::error::BackupError;
use crate::hex;
use crate::key::{Keyring, MasterKey};
use crate::manifest::Object;
use crate::place::{Place, PlaceError, Reader, Writer};
use crate::run::on_thread;
use crate::seal::{Opener, Sealed, Sealer};

/// Blocks waiting between two stages.
const BLOCKS_MAX: usize = 4;
/// Bytes of a block read from a file.
const BLOCK_BYTES: u64 = 1024 * 1024;

/// A stretch of a file.
pub struct Stretch<'a> {
    pub file: &'a File,
    pub path: &'a Path,
    pub from: u64,
    pub to: u64,
}

/// Seals bytes from a file into an object of that path.
pub async fn seal_file(
    place: &Place,
    path: &str,
    key: &MasterKey,
    stretch: Stretch<'_>,
) -> Result<Sealed, BackupError> {
    seal_stretch(place, path, key, stretch, &mut |_| {}).await
}

/// The same; gives back the object's hash too.
pub async fn seal_file_hashed(
    place: &Place,
    path: &str,
    key: &MasterKey,
    stretch: Stretch<'_>,
) -> Result<(Sealed, [u8; 32]), BackupError> {
    let mut hash = Sha256::new();
    let sealed = seal_stretch(place, path, key, stretch, &mut |block| hash.update(block)).await?;
    Ok((sealed, hash.finalize().into()))
}

async fn seal_stretch(
    place: &Place,
    path: &str,
    key: &MasterKey,
    stretch: Stretch<'_>,
    seen: &mut dyn FnMut(&[u8]),
) -> Result<Sealed, BackupError> {
    let (plain, taken) = mpsc::channel(BLOCKS_MAX);
    let (ready, sealed) = mpsc::channel(BLOCKS_MAX);
    let (key, name) = (key.clone(), path.to_owned());
    let sealing = std::thread::spawn(move || seal_blocks(&key, &name, taken, &ready));
    let (read, written) = join(read_stretch(stretch, plain), write_object(place, path, sealed, seen)).await;
    let sealed = sealing.join().map_err(|_| BackupError::Thread)?;
    // The stage that failed by itself says why; the others only noticed that it ended.
    let writer = written?;
    match (read, sealed) {
        (Ok(()), Ok(Some(sealed))) => {
            writer.finish().await?;
            Ok(sealed)
        }
        (read, sealed) => {
            writer.abandon().await;
            read?;
            sealed?;
            Err(BackupError::Thread)
        }
    }
}

/// Seals bytes from a stream, until it ends or so many were read, into an object of that path, which appears once its
/// writer is finished. The stream is read by the thread that seals. `told` hears of the plain bytes.
pub async fn seal_stream<R: Read + Send + 'static>(
    place: &Place,
    path: &str,
    key: &MasterKey,
    plain: Arc<Mutex<R>>,
    bytes_max: u64,
    told: &mut dyn FnMut(u64),
) -> Result<(Sealed, Writer), BackupError> {
    let (ready, mut sealed) = mpsc::channel::<(u64, Vec<u8>)>(BLOCKS_MAX);
    let (key, name) = (key.clone(), path.to_owned());
    let sealing = std::thread::spawn(move || seal_read(&key, &name, &plain, bytes_max, &ready));
    let mut writer = place.begin(path).await?;
    let mut written = Ok(());
    while let Some((done, block)) = sealed.recv().await {
        told(done);
        written = writer.push(block).await;
        if written.is_err() {
            break;
        }
    }
    // Who writes no more takes no more either.
    drop(sealed);
    let sealed = on_thread(move || sealing.join()).await?.map_err(|_| BackupError::Thread)?;
    match (written, sealed) {
        (Ok(()), Ok(Some(sealed))) => Ok((sealed, writer)),
        (written, sealed) => {
            writer.abandon().await;
            written?;
            sealed?;
            Err(BackupError::Thread)
        }
    }
}

fn seal_read<R: Read>(
    key: &MasterKey,
    name: &str,
    plain: &Mutex<R>,
    bytes_max: u64,
    ready: &Sender<(u64, Vec<u8>)>,
) -> Result<Option<Sealed>, BackupError> {
    let mut plain = plain.lock().map_err(|_| BackupError::Thread)?;
    let mut sealer = Sealer::begin(key, name)?;
    let (mut done, mut block) = (0, Vec::with_capacity(BLOCK_BYTES as usize));
    while done < bytes_max {
        block.clear();
        let wanted = (bytes_max - done).min(BLOCK_BYTES);
        let read = Read::take(&mut *plain, wanted).read_to_end(&mut block);
        let count = read.map_err(BackupError::Stream)? as u64;
        done += count;
        let sealed = sealer.push(&block)?;
        if !sealed.is_empty() && ready.blocking_send((done, sealed)).is_err() {
            return Ok(None);
        }
        if count < wanted {
            break;
        }
    }
    let (rest, sealed) = sealer.finish()?;
    Ok(ready.blocking_send((done, rest)).is_ok().then_some(sealed))
}

/// Seals a few bytes into an object of that path; gives back its hash too.
pub async fn seal_bytes(
    place: &Place,
    path: &str,
    key: &MasterKey,
    plain: &[u8],
) -> Result<(Sealed, [u8; 32]), BackupError> {
    let (object, sealed) = crate::seal::seal_all(key, path, plain)?;
    let hash = Sha256::digest(&object).into();
    let mut writer = place.begin(path).await?;
    writer.push(object).await?;
    writer.finish().await?;
    Ok((sealed, hash))
}

fn seal_blocks(
    key: &MasterKey,
    name: &str,
    mut plain: Receiver<Vec<u8>>,
    ready: &Sender<Vec<u8>>,
) -> Result<Option<Sealed>, BackupError> {
    let mut sealer = Sealer::begin(key, name)?;
    while let Some(block) = plain.blocking_recv() {
        let sealed = sealer.push(&block)?;
        if !sealed.is_empty() && ready.blocking_send(sealed).is_err() {
            return Ok(None);
        }
    }
    let (rest, sealed) = sealer.finish()?;
    Ok(ready.blocking_send(rest).is_ok().then_some(sealed))
}

async fn read_stretch(stretch: Stretch<'_>, plain: Sender<Vec<u8>>) -> Result<(), BackupError> {
    let mut at = stretch.from;
    while at < stretch.to {
        let wanted = (stretch.to - at).min(BLOCK_BYTES) as usize;
        let (read, block) = stretch.file.read_exact_at(Vec::with_capacity(wanted), at).await;
        read.map_err(|why| BackupError::file(stretch.path, why))?;
        at += wanted as u64;
        if plain.send(block).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn write_object(
    place: &Place,
    path: &str,
    mut sealed: Receiver<Vec<u8>>,
    seen: &mut dyn FnMut(&[u8]),
) -> Result<Writer, PlaceError> {
    let mut writer = place.begin(path).await?;
    while let Some(block) = sealed.recv().await {
        seen(&block);
        if let Err(error) = writer.push(block).await {
            writer.abandon().await;
            return Err(error);
        }
    }
    Ok(writer)
}

/// Where plain bytes go.
pub enum Sink<'a> {
    /// Nowhere: the object is only checked.
    Nowhere,
    /// Into a file, from a place on.
    File { file: &'a File, path: &'a Path, at: u64 },
    /// Into memory.
    Memory(&'a mut Vec<u8>),
    /// To a thread that reads.
    Thread(Sender<Vec<u8>>),
}

/// Opens an object: checks size, hash, every tag and the order, and hands on only what is authentic. What it wrote
/// counts once this returns well.
pub async fn open_object(
    place: &Place,
    path: &str,
    object: &Object,
    keys: &Keyring,
    sink: Sink<'_>,
) -> Result<(), BackupError> {
    let envelope = object.envelope();
    let envelope = envelope.map_err(|why| BackupError::Manifest { name: path.to_owned(), why })?;
    let refuse = |why| BackupError::Object { object: path.to_owned(), why };
    let opener = Opener::begin(keys, path, &envelope).map_err(refuse)?;
    let reader = place.read(path).await?;
    let (sealed, taken) = mpsc::channel(BLOCKS_MAX);
    let (ready, plain) = mpsc::channel(BLOCKS_MAX);
    let opening = std::thread::spawn(move || open_blocks(opener, taken, &ready));
    let (read, written) =
        join(read_object(reader, sealed, object.sha256.is_some()), write_plain(plain, sink)).await;
    let opened = opening.join().map_err(|_| BackupError::Thread)?;
    let (bytes, hash) = read?;
    let plain_bytes = written?;
    opened.map_err(refuse)?;
    for (bytes, expected) in [(bytes, object.bytes), (plain_bytes, object.plain_bytes)] {
        if bytes != expected {
            return Err(BackupError::Size { object: path.to_owned(), bytes, expected });
        }
    }
    if hash.is_some() && hash != object.sha256 {
        return Err(BackupError::Hash { object: path.to_owned() });
    }
    Ok(())
}

fn open_blocks(
    mut opener: Opener,
    mut sealed: Receiver<bytes::Bytes>,
    ready: &Sender<Vec<u8>>,
) -> Result<(), crate::seal::OpenError> {
    // When nobody takes the plain bytes any more, their side says why.
    let mut hand_on = |piece: &[u8]| {
        if !piece.is_empty() {
            let _ = ready.blocking_send(piece.to_vec());
        }
    };
    while let Some(block) = sealed.blocking_recv() {
        opener.push(&block, &mut hand_on)?;
    }
    opener.finish(&mut hand_on)
}

async fn read_object(
    mut reader: Reader,
    sealed: Sender<bytes::Bytes>,
    is_hashed: bool,
) -> Result<(u64, Option<String>), BackupError> {
    let (mut bytes, mut hash) = (0, is_hashed.then(Sha256::new));
    while let Some(block) = reader.next().await? {
        bytes += block.len() as u64;
        if let Some(hash) = &mut hash {
            hash.update(&block);
        }
        if sealed.send(block).await.is_err() {
            break;
        }
    }
    Ok((bytes, hash.map(|hash| hex::encode(&hash.finalize()))))
}

async fn write_plain(mut plain: Receiver<Vec<u8>>, mut sink: Sink<'_>) -> Result<u64, BackupError> {
    let mut bytes = 0;
    while let Some(block) = plain.recv().await {
        let count = block.len() as u64;
        match &mut sink {
            Sink::Nowhere => {}
            Sink::Memory(memory) => memory.extend(block),
            Sink::Thread(reader) => reader.send(block).await.map_err(|_| BackupError::Thread)?,
            Sink::File { file, path, at } => {
                let (written, _) = file.write_all_at(block, *at + bytes).await;
                written.map_err(|why| BackupError::file(path, why))?;
            }
        }
        bytes += count;
    }
    Ok(bytes)
}
