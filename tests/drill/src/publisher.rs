//! The sending half of a device: publishes all the time, keeps what is not settled over crashes, deletes now and then.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use relay_client::{Client, Error, Offset, PublishKey, PublishRequest, Publishing};

use crate::cast::Talk;
use crate::device::Desk;
use crate::history::{deletion_hash, hash};
use crate::random::Random;

/// Deletes in a hundred acked messages.
const DELETES_PERCENT: u64 = 3;
/// Publishes without a wait in between, at most.
const BURST: u64 = 6;

/// A message neither acked nor refused yet, as the device's disk would keep it.
#[derive(Clone, Debug)]
pub struct Draft {
    talk: usize,
    key: PublishKey,
    what: What,
    /// Times the link was lost before it was first sent.
    lost_before: u64,
}

#[derive(Clone, Debug)]
enum What {
    Message(Vec<u8>),
    Delete(Doomed),
}

/// An own message to delete.
#[derive(Clone, Debug)]
struct Doomed {
    offset: u64,
    id: String,
    hash: String,
}

/// What outlives a crash of the client.
#[derive(Default, Debug)]
pub struct Drafts {
    open: Mutex<BTreeMap<u64, Draft>>,
    serial: AtomicU64,
    /// Attempts that a client has not answered. Two lives of one device may both try the same draft: when one is refused,
    /// the other may still be appended.
    handed_over: AtomicUsize,
    /// How often the device lost its link.
    pub lost: AtomicU64,
    doomed: Mutex<Vec<(usize, Doomed)>>,
    /// No new messages from here on.
    pub silent: AtomicBool,
}

impl Drafts {
    /// How many are not settled or still tried.
    pub fn open(&self) -> usize {
        self.open.lock().expect("no holder panics").len().max(self.handed_over.load(Ordering::Relaxed))
    }

    /// A crash of a program without a disk: messages (never deletions) are forgotten.
    pub fn forget(&self) {
        self.open.lock().expect("no holder panics").retain(|_, draft| matches!(draft.what, What::Delete(_)));
    }

    fn add(&self, draft: Draft) -> u64 {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        self.open.lock().expect("no holder panics").insert(serial, draft);
        serial
    }

    /// Whether it was still open.
    fn settle(&self, serial: u64) -> bool {
        self.open.lock().expect("no holder panics").remove(&serial).is_some()
    }
}

/// Publishes until its client is gone: first what is left of an earlier one, then new messages.
pub async fn publish(desk: Arc<Desk>, client: Client, mut random: Random) {
    let left: Vec<_> =
        desk.drafts.open.lock().expect("no holder panics").iter().map(|(s, d)| (*s, d.clone())).collect();
    for (serial, draft) in left {
        if !hand_over(&desk, &client, serial, draft).await {
            return;
        }
    }
    loop {
        tokio::time::sleep(random.millis(desk.wait_ms.0, desk.wait_ms.1)).await;
        for _ in 0..=random.below(BURST) {
            let Some(draft) = next(&desk, &mut random) else { break };
            let serial = desk.drafts.add(draft.clone());
            if !hand_over(&desk, &client, serial, draft).await {
                return;
            }
        }
    }
}

/// What to publish next; `None`: nothing at this moment.
fn next(desk: &Desk, random: &mut Random) -> Option<Draft> {
    let lost_before = desk.drafts.lost.load(Ordering::Relaxed);
    if desk.drafts.silent.load(Ordering::Relaxed) {
        return None;
    }
    let key = PublishKey(random.key());
    let doomed = desk.drafts.doomed.lock().expect("no holder panics").pop();
    if let Some((talk, doomed)) = doomed {
        return Some(Draft { talk, key, what: What::Delete(doomed), lost_before });
    }
    let live: HashSet<usize> = desk.followed();
    let talks: Vec<usize> = live.into_iter().collect();
    let talk = *random.pick(&talks)?;
    let mut body = key.to_string().into_bytes();
    body.resize(body.len() + random.below(200) as usize, b'.');
    Some(Draft { talk, key, what: What::Message(body), lost_before })
}

async fn hand_over(desk: &Arc<Desk>, client: &Client, serial: u64, draft: Draft) -> bool {
    let talk = &desk.talks[draft.talk];
    let id = draft.key.to_string();
    let (hash, request) = match &draft.what {
        What::Message(body) => (hash(body), PublishRequest::message(body.clone())),
        What::Delete(Doomed { offset, .. }) => {
            (deletion_hash(*offset), PublishRequest::delete(Offset(*offset)))
        }
    };
    desk.history.send(&desk.who, talk.name, &id, &hash);
    match client.enqueue(talk.id, request.publish_key(draft.key)).await {
        Ok(publishing) => {
            desk.drafts.handed_over.fetch_add(1, Ordering::Relaxed);
            let desk = desk.clone();
            tokio::spawn(async move {
                settle(&desk, serial, draft, publishing).await;
                desk.drafts.handed_over.fetch_sub(1, Ordering::Relaxed);
            });
            true
        }
        Err(_) => false,
    }
}

async fn settle(desk: &Desk, serial: u64, draft: Draft, publishing: Publishing) {
    let talk: &Talk = &desk.talks[draft.talk];
    let id = draft.key.to_string();
    match publishing.await {
        Ok(ack) => {
            desk.history.ack(&desk.who, talk.name, &id, ack.position.offset.0);
            match draft.what {
                What::Delete(Doomed { offset, id, hash }) => {
                    desk.history.deleted(talk.name, (offset, id, hash));
                }
                What::Message(body) if desk.drafts.settle(serial) => {
                    doom(desk, draft.talk, Doomed { offset: ack.position.offset.0, id, hash: hash(&body) });
                }
                What::Message(_) => {}
            }
            desk.drafts.settle(serial);
        }
        // A publish that was repeated after a lost link may have been appended before the user was removed: then the
        // refusal is about the repetition only, and its fate is not known.
        Err(Error::Refused(refusal)) => {
            if desk.drafts.lost.load(Ordering::Relaxed) == draft.lost_before {
                desk.history.nack(&desk.who, talk.name, &id, refusal.name());
            }
            if let What::Delete(_) = draft.what {
                desk.history.surprise(format!("a deletion of an own message was refused: {refusal}"));
            }
            desk.drafts.settle(serial);
        }
        Err(Error::Protocol(what)) => desk.history.surprise(format!("protocol: {what}")),
        Err(Error::Closed) => {}
    }
}

/// Marks a message for deletion, now and then, where its author stays a member.
fn doom(desk: &Desk, talk: usize, doomed: Doomed) {
    let stays = desk.talks[talk].steady.contains(&desk.who.user);
    if stays
        && !desk.drafts.silent.load(Ordering::Relaxed)
        && Random::new(doomed.offset, 7).chance(DELETES_PERCENT)
    {
        desk.drafts.doomed.lock().expect("no holder panics").push((talk, doomed));
    }
}
