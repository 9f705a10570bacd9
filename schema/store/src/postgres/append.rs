//! Appending: a batch in one transaction of two round trips. First rows are locked and read, then the outcome of each
//! append is decided as the embedded store decides it, then all is written and committed at once.

use schema_wire::publication::kind;
use schema_wire::record::{Append, Appended, StoreFault, UserStatus};
use schema_wire::v1::Role;
use schema_wire::{ConversationId, Offset, Refused, UserId};

use super::account::request;
use super::fault::Trouble;
use super::found::{Asked, Finding, Found, Known, Place, Target};
use super::server::{Server, Tried, lost};
use super::transaction::{Access, Tx};
use super::written::{Fresh, Written};
use crate::accounts::{AccountError, Answer};

/// How long an invitation to a call is kept.
const RING_MS: u64 = 60_000;
/// `last_active_at` is written at most this often.
const ACTIVE_STEP_MS: u64 = 60_000;
/// Longest life of a message that expires, in seconds.
const EXPIRES_S_MAX: u64 = 366 * 24 * 3600;

/// What to do about a conversation that another transaction holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// Wait for it.
    Wait,
    /// Leave its appends undone.
    Skip,
}

/// In the order asked; `None`: left undone.
pub type Outcomes = Vec<Option<Appended>>;

/// Appends a batch whole or not at all, what is left undone aside.
pub async fn append(server: &Server, batch: &[Append], patience: Patience) -> Answer<Outcomes> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let asked = Asked::of(batch);
    let outcomes = server.retry(async || once(server, batch, &asked, patience).await).await?;
    for (append, outcome) in batch.iter().zip(&outcomes) {
        server.replicas().stored(append.conversation, outcome.as_ref());
    }
    Ok(outcomes)
}

async fn once(server: &Server, batch: &[Append], asked: &Asked, patience: Patience) -> Tried<Outcomes> {
    // A message to be emptied may be in any partition: which way to it is best depends on how many there are.
    let access = if asked.deletes() { Access::Write } else { Access::Append };
    let tx = match server.open(access).await {
        Ok(tx) => tx,
        Err(failed) => return Tried::Done(Err(failed.into())),
    };
    let found = async {
        let finding = Finding::prepare(&tx, asked, patience).await?;
        finding.find(&tx, asked).await
    };
    let (begun, found) = match found.await {
        Ok(found) => found,
        Err(failed) => return lost(tx, &failed).await,
    };
    if !begun.known {
        tx.rollback().await;
        return Tried::Stranger;
    }
    let mut deciding = Deciding { found, written: Written::default(), accepted: Vec::new(), now: begun.now };
    let outcomes: Outcomes = batch.iter().map(|a| deciding.append(a)).collect();
    if patience == Patience::Wait && outcomes.contains(&None) {
        // Created between the lock and the look: the next try finds it.
        tx.rollback().await;
        return Tried::Again(StoreFault::Unavailable);
    }
    store(tx, &deciding, outcomes).await
}

/// Written and committed in one round trip. Only the server's own word that the statement failed means that nothing
/// was committed.
async fn store(tx: Tx, decided: &Deciding<'_>, outcomes: Outcomes) -> Tried<Outcomes> {
    let Deciding { found, written, accepted, now } = decided;
    for (conversation, sides) in accepted {
        if let Err(error) = request::accept(&tx, *conversation, *sides, *now).await {
            let met = tx.trouble() == Some(Trouble::Collision);
            tx.rollback().await;
            return if met { Tried::Again(StoreFault::Unavailable) } else { Tried::Done(Err(error)) };
        }
    }
    match written.store(&tx, found.generation, *now).await {
        Ok(()) => {
            tx.release();
            Tried::Done(Ok(outcomes))
        }
        // A key that another transaction used elsewhere meanwhile is known to the next try.
        Err(failed) if failed.is_taken() => {
            tx.rollback().await;
            Tried::Again(StoreFault::Unavailable)
        }
        Err(failed) if failed.trouble() == Trouble::Collision => lost(tx, &failed).await,
        Err(failed) => {
            tx.rollback().await;
            Tried::Done(Err(AccountError::from(failed)))
        }
    }
}

/// What is known of a batch and what has become of it so far.
struct Deciding<'a> {
    found: Found,
    written: Written<'a>,
    /// First contacts that were answered, with who opened them and who answered.
    accepted: Vec<(ConversationId, (UserId, UserId))>,
    now: u64,
}

fn refuse(refused: Refused) -> Appended {
    Appended::Refused { refused, retry_after_ms: 0 }
}

impl<'a> Deciding<'a> {
    fn append(&mut self, a: &'a Append) -> Option<Appended> {
        let verdict = self.judge(a);
        // Whatever is refused now was not when it was stored.
        if let Some(known) = self.found.keys.get(&(a.sender, a.publish_key)) {
            return Some(self.known(a, *known));
        }
        let held = self.found.places.get(&a.conversation).copied();
        let there = self.found.senders.get(&(a.conversation, a.sender)).is_some_and(|s| s.there);
        if held.is_none() && there {
            return None;
        }
        Some(match (verdict, held) {
            (Err(refused), _) => refused,
            (Ok(_), None) => refuse(Refused::NotMember),
            (Ok(role), Some(place)) => self.insert(a, role, place),
        })
    }

    fn known(&self, a: &Append, known: Known) -> Appended {
        if known.conversation != a.conversation {
            return refuse(Refused::PublishKeyReused);
        }
        Appended::Duplicate { offset: known.offset, generation: self.found.generation, at: known.at }
    }

    /// The sender's role, or why they may not write there.
    fn judge(&mut self, a: &Append) -> Result<Role, Appended> {
        let sender = self.found.senders.get(&(a.conversation, a.sender)).copied();
        let sender = sender.ok_or(refuse(Refused::AccountGone))?;
        match sender.status {
            Some(UserStatus::Active) => {}
            Some(UserStatus::Suspended { .. }) => return Err(refuse(Refused::Suspended)),
            Some(UserStatus::Banned) => return Err(refuse(Refused::Banned)),
            Some(UserStatus::Deleted) | None => return Err(refuse(Refused::AccountGone)),
            Some(UserStatus::Pending) => return Err(refuse(Refused::NotAllowed)),
        }
        if self.now >= sender.last_active.saturating_add(ACTIVE_STEP_MS) {
            self.written.active(a.sender);
        }
        let role = sender.role.ok_or(refuse(Refused::NotMember))?;
        if let Some(until) = sender.muted_until.filter(|until| *until > self.now) {
            let retry_after_ms = u32::try_from(until - self.now).unwrap_or(u32::MAX);
            return Err(Appended::Refused { refused: Refused::Muted, retry_after_ms });
        }
        let place = self.found.places.get(&a.conversation);
        if a.expected_epoch.is_some_and(|expected| Some(expected) != place.map(|place| place.epoch)) {
            return Err(refuse(Refused::EpochConflict));
        }
        if sender.blocked {
            return Err(refuse(Refused::Blocked));
        }
        let full =
            |place: &Place| place.requested_by == Some(a.sender) && place.next_offset > sender.first_messages;
        if a.kind != kind::DELETE && place.is_some_and(full) {
            return Err(refuse(Refused::RequestWaiting));
        }
        Ok(role)
    }

    fn insert(&mut self, a: &'a Append, role: Role, place: Place) -> Appended {
        if a.kind == kind::DELETE
            && let Err(refused) = self.delete_target(a, role)
        {
            return refuse(refused);
        }
        // Whoever answers a first contact accepts it.
        let place = match place.requested_by.filter(|by| *by != a.sender) {
            Some(by) => {
                self.accepted.push((a.conversation, (by, a.sender)));
                Place { requested_by: None, members_version: place.members_version + 1, ..place }
            }
            None => place,
        };
        // A clock set back must not put a message before the one it follows.
        let at = self.now.max(place.last_at);
        let offset = Offset(place.next_offset);
        let expires_at = expiry(a, place.ttl, at);
        let members_version = place.members_version;
        self.written.message(Fresh { append: a, offset, at, expires_at, members_version });
        let known = Known { conversation: a.conversation, offset, at };
        self.found.keys.insert((a.sender, a.publish_key), known);
        let expired = expires_at.is_some_and(|until| until <= self.now);
        let target = Target { author: a.sender, deletable: a.kind != kind::DELETE && !expired };
        self.found.targets.insert((a.conversation, offset.0), target);
        let moved = Place { next_offset: offset.0 + 1, last_at: at, ..place };
        self.found.places.insert(a.conversation, moved);
        Appended::Stored { generation: self.found.generation, offset, at, expires_at, members_version }
    }

    /// Empties the message a delete names, if the sender may.
    fn delete_target(&mut self, a: &Append, role: Role) -> Result<(), Refused> {
        let named = a.relates_to.ok_or(Refused::NoSuchMessage)?;
        let target = self.found.targets.get_mut(&(a.conversation, named.0));
        let target = target.filter(|t| t.deletable).ok_or(Refused::NoSuchMessage)?;
        if target.author != a.sender && !matches!(role, Role::Admin | Role::Owner) {
            return Err(Refused::NotAllowed);
        }
        target.deletable = false;
        self.written.empty(a.conversation, named);
        Ok(())
    }
}

fn expiry(a: &Append, ttl: Option<u64>, at: u64) -> Option<u64> {
    let asked = a.expires_in.map(u64::from);
    let seconds = match (asked, ttl) {
        (Some(asked), Some(ttl)) => Some(asked.min(ttl)),
        (one, other) => one.or(other),
    };
    let until = seconds.map(|s| at + s.min(EXPIRES_S_MAX) * 1000);
    if a.kind == kind::RING { Some(until.map_or(at + RING_MS, |u| u.min(at + RING_MS))) } else { until }
}
