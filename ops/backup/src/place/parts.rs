//! An object on its way to a bucket, in parts, and on its way back: what was cut goes on where it was, and an answer that
//! was lost is asked for.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart,
};

use super::PlaceError;
use super::bucket::{Bucket, TRIES_MAX, is_unanswered, one_line};

/// Bytes of a part: with 10,000 parts an object may have 80 GB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts on their way at once.
const PARTS_MAX: usize = 3;
/// Bytes handed to a connection at once. It copies them, and keeps the room for as long as it lives.
const FRAME_BYTES: usize = 256 * 1024;

/// An object going up.
pub struct PartWriter {
    bucket: Bucket,
    path: Path,
    /// Everything, while it is less than a part.
    held: Vec<Bytes>,
    bytes: u64,
    upload: Option<Upload>,
}

/// One that is too large for a single request.
struct Upload {
    parts: WriteMultipart,
    /// What lay there before, which is not what was sent.
    before: Option<String>,
}

impl PartWriter {
    /// Asks nothing of the server yet: what fits in one part goes up in one request.
    pub(super) fn new(bucket: Bucket, path: Path) -> Self {
        Self { bucket, path, held: Vec::new(), bytes: 0, upload: None }
    }

    pub(super) async fn push(&mut self, bytes: Vec<u8>) -> Result<(), PlaceError> {
        self.bytes += bytes.len() as u64;
        self.held.extend(frames(bytes.into()));
        let sent = self.send().await;
        sent.map_err(|error| self.bucket.fail(&error))
    }

    /// Hands on what is held, unless it may still fit in one request.
    async fn send(&mut self) -> object_store::Result<()> {
        if self.upload.is_none() && self.bytes >= PART_BYTES as u64 {
            let before = tag(&self.bucket, &self.path).await?.map(|(tag, _)| tag);
            let parts = begin(&self.bucket, &self.path).await?;
            self.upload = Some(Upload { parts, before });
        }
        if let Some(Upload { parts, .. }) = &mut self.upload {
            parts.wait_for_capacity(PARTS_MAX).await?;
            self.held.drain(..).for_each(|frame| parts.put(frame));
        }
        Ok(())
    }

    pub(super) async fn finish(self) -> Result<(), PlaceError> {
        let Self { bucket, path, held, bytes, upload } = self;
        let Some(Upload { parts, before }) = upload else {
            let done = bucket.store.put(&path, PutPayload::from_iter(held)).await;
            return done.map(drop).map_err(|error| bucket.fail(&error));
        };
        let Err(error) = parts.finish().await else { return Ok(()) };
        // It may be whole, and only the word of it was lost: then there is no upload any more to be finished again.
        match tag(&bucket, &path).await {
            Ok(Some((tag, size))) if size == bytes && before.as_ref() != Some(&tag) => Ok(()),
            _ => Err(bucket.fail(&error)),
        }
    }

    pub(super) async fn abandon(self) {
        let Some(upload) = self.upload else { return };
        if let Err(error) = upload.parts.abort().await {
            tracing::warn!(
                why = one_line(&error),
                "an upload could not be aborted; the bucket's rules end it"
            );
        }
    }
}

fn frames(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let frame = bytes.split_to(bytes.len().min(FRAME_BYTES));
        (!frame.is_empty()).then_some(frame)
    })
}

/// One that was begun, and the word of it lost, stays without parts until the bucket's rules end it.
async fn begin(bucket: &Bucket, path: &Path) -> object_store::Result<WriteMultipart> {
    let mut tried = 1;
    loop {
        match bucket.store.put_multipart(path).await {
            Err(error) if tried < TRIES_MAX && is_unanswered(&error) => tried += 1,
            begun => return begun.map(|begun| WriteMultipart::new_with_chunk_size(begun, PART_BYTES)),
        }
    }
}

/// Entity tag and bytes of what lies there.
async fn tag(bucket: &Bucket, path: &Path) -> object_store::Result<Option<(String, u64)>> {
    match bucket.store.head(path).await {
        Ok(meta) => Ok(Some((meta.e_tag.unwrap_or_default(), meta.size))),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An object coming down.
pub struct PartReader {
    bucket: Bucket,
    path: Path,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    tag: Option<String>,
    at: u64,
    size: u64,
    /// Whether bytes came since it was opened last.
    moves: bool,
}

impl PartReader {
    pub(super) async fn open(bucket: Bucket, path: Path) -> Result<Self, PlaceError> {
        let found = bucket.store.get(&path).await.map_err(|error| bucket.fail(&error))?;
        let (tag, size) = (found.meta.e_tag.clone(), found.meta.size);
        Ok(Self { bucket, path, stream: found.into_stream(), tag, at: 0, size, moves: false })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, PlaceError> {
        loop {
            match self.stream.next().await.transpose() {
                Ok(Some(bytes)) => {
                    self.at += bytes.len() as u64;
                    self.moves = true;
                    return Ok(Some(bytes));
                }
                Ok(None) => return Ok(None),
                Err(_) if self.at == self.size => return Ok(None),
                // The client is patient once per request; a long object needs more than that in all.
                Err(error) if std::mem::take(&mut self.moves) => self.go_on(&error).await?,
                Err(error) => return Err(self.bucket.fail(&error)),
            }
        }
    }

    /// Opens it again where it was cut.
    async fn go_on(&mut self, cut: &Error) -> Result<(), PlaceError> {
        tracing::debug!(why = one_line(cut), at = self.at, "reading goes on after a cut");
        let range = Some(GetRange::Offset(self.at));
        let again = self.bucket.store.get_opts(&self.path, GetOptions { range, ..GetOptions::default() });
        let again: GetResult = again.await.map_err(|error| self.bucket.fail(&error))?;
        if again.meta.e_tag != self.tag {
            let why = format!("{} changed while it was read", self.path);
            return Err(PlaceError::Failed { place: self.bucket.to_string(), why });
        }
        self.stream = again.into_stream();
        Ok(())
    }
}
