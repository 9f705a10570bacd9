//! What the clients saw, one JSON event per line, with times of one monotonic clock. The checker reads it afterwards.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Who writes: a user's device, by the names of the run.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Who {
    pub user: String,
    pub device: String,
}

/// Id and hash of what was deleted, by conversation and offset.
type Deleted = HashMap<(String, u64), (String, String)>;

/// The history of a run. Clones write to the same file.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    began: Instant,
    file: Mutex<BufWriter<File>>,
    last_ack: AtomicU64,
    surprises: Mutex<Vec<String>>,
    deleted: Mutex<Deleted>,
}

impl History {
    /// A new file.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(Arc::new(Inner {
            began: Instant::now(),
            file: Mutex::new(BufWriter::new(file)),
            last_ack: AtomicU64::new(0),
            surprises: Mutex::new(Vec::new()),
            deleted: Mutex::default(),
        })))
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.0.began.elapsed().as_nanos() as u64
    }

    /// Writes an event as it is.
    pub fn write(&self, event: &Value) {
        let mut file = self.0.file.lock().expect("no writer panics");
        writeln!(file, "{event}").expect("the history can be written");
    }

    /// A message is about to leave.
    pub fn send(&self, who: &Who, conversation: &str, id: &str, hash: &str) {
        let t = self.now();
        self.write(&json!({"e": "send", "u": who.user, "dev": who.device, "conv": conversation, "id": id, "h": hash, "t": t}));
    }

    /// It was acked.
    pub fn ack(&self, who: &Who, conversation: &str, id: &str, offset: u64) {
        let t = self.now();
        self.0.last_ack.store(t, Ordering::Relaxed);
        self.write(&json!({"e": "ack", "u": who.user, "dev": who.device, "conv": conversation, "id": id, "seq": offset, "t": t}));
    }

    /// It was definitely refused.
    pub fn nack(&self, who: &Who, conversation: &str, id: &str, code: &str) {
        let t = self.now();
        self.write(&json!({"e": "nack", "u": who.user, "dev": who.device, "conv": conversation, "id": id, "code": code, "t": t}));
    }

    /// It reached the application.
    pub fn recv(&self, who: &Who, conversation: &str, id: &str, (offset, hash, from): (u64, &str, &str)) {
        let t = self.now();
        self.write(&json!({"e": "recv", "u": who.user, "dev": who.device, "conv": conversation, "id": id, "seq": offset, "h": hash, "from": from, "t": t}));
    }

    /// A session of a device that began no earlier than `since`.
    pub fn open(&self, who: &Who, since: u64) {
        self.write(&json!({"e": "open", "u": who.user, "dev": who.device, "t": since}));
    }

    /// A deletion was acked.
    pub fn deleted(&self, conversation: &str, (offset, id, hash): (u64, String, String)) {
        self.write(&json!({"e": "del", "conv": conversation, "id": id, "t": self.now()}));
        let mut deleted = self.0.deleted.lock().expect("no writer panics");
        deleted.insert((conversation.to_owned(), offset), (id, hash));
    }

    /// What the run deleted at an offset.
    pub fn deleted_at(&self, conversation: &str, offset: u64) -> Option<(String, String)> {
        let deleted = self.0.deleted.lock().expect("no writer panics");
        deleted.get(&(conversation.to_owned(), offset)).cloned()
    }

    /// Something was done to the server or a client.
    pub fn fault(&self, kind: &str) {
        self.write(&json!({"e": "fault", "kind": kind, "t": self.now()}));
    }

    /// What must not happen in this drill and the checker can't see.
    pub fn surprise(&self, what: String) {
        self.0.surprises.lock().expect("no writer panics").push(what);
    }

    /// All of them.
    pub fn surprises(&self) -> Vec<String> {
        self.0.surprises.lock().expect("no writer panics").clone()
    }

    /// When the newest ack came.
    pub fn last_ack(&self) -> u64 {
        self.0.last_ack.load(Ordering::Relaxed)
    }

    /// Everything is on its way to the disk.
    pub fn flush(&self) -> Result<()> {
        self.0.file.lock().expect("no writer panics").flush().context("write the history")
    }
}

/// What the checker compares bodies by.
pub fn hash(body: &[u8]) -> String {
    Sha256::digest(body)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What stands for the body of a deletion.
pub fn deletion_hash(target: u64) -> String {
    hash(format!("delete {target}").as_bytes())
}
