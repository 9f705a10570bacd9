//! Appending as the store does it: the retry is recognised first, then everything is checked in the same
//! transaction, then the offset is assigned.

use schema_wire::publication::kind;
use schema_wire::record::{Append, Appended, Change, Message, UserStatus};
use schema_wire::v1::{GoneReason, Role};
use schema_wire::{Generation, Offset, Refused};

use super::{Member, SimStore, Slot};

/// Seconds a call invitation is kept.
const RING_S: u32 = 60;

fn refused(refused: Refused) -> Appended {
    Appended::Refused { refused, retry_after_ms: if refused.retriable() { 50 } else { 0 } }
}

impl SimStore {
    /// Appends one message at a time given in unix milliseconds.
    pub fn append(&mut self, append: &Append, unix_ms: u64) -> Appended {
        if let Some((conversation, offset)) = self.place_of(append.sender, append.publish_key) {
            if conversation != append.conversation {
                return refused(Refused::PublishKeyReused);
            }
            let first = &self.logs[&conversation].slots[offset.0 as usize - 1].message;
            return Appended::Duplicate { generation: self.generation, offset, at: first.at };
        }
        match self.check(append, unix_ms) {
            Ok(()) => self.store(append, unix_ms),
            Err(no) => refused(no),
        }
    }

    fn check(&self, append: &Append, unix_ms: u64) -> Result<(), Refused> {
        let account = self.accounts.get(&append.sender).ok_or(Refused::AccountGone)?;
        match account.status {
            UserStatus::Active => {}
            UserStatus::Suspended { .. } | UserStatus::Pending => return Err(Refused::Suspended),
            UserStatus::Banned => return Err(Refused::Banned),
            UserStatus::Deleted => return Err(Refused::AccountGone),
        }
        if !account.devices.get(&append.device).is_some_and(|active| *active) {
            return Err(Refused::DeviceRevoked);
        }
        let log = self.logs.get(&append.conversation).ok_or(Refused::NotMember)?;
        let member = log.members.get(&append.sender).filter(|m| m.present()).ok_or(Refused::NotMember)?;
        if append.expected_epoch.is_some_and(|epoch| epoch != log.epoch) {
            return Err(Refused::EpochConflict);
        }
        if append.kind != kind::DELETE {
            return Ok(());
        }
        let target = append.relates_to.filter(|o| (1..=log.head()).contains(&o.0));
        let target = target.ok_or(Refused::NoSuchMessage)?;
        if log.gone(target.0, unix_ms).is_some() {
            return Err(Refused::NoSuchMessage);
        }
        let author = log.slots[target.0 as usize - 1].message.sender;
        if author != append.sender && !matches!(member.role, Role::Admin | Role::Owner) {
            return Err(Refused::NotAllowed);
        }
        Ok(())
    }

    fn store(&mut self, append: &Append, unix_ms: u64) -> Appended {
        let generation = self.generation;
        let opener = self.logs[&append.conversation].waiting;
        if opener.is_some_and(|opener| opener != append.sender) {
            self.accept(append.conversation, append.sender, unix_ms);
        }
        let log = self.logs.get_mut(&append.conversation).expect("checked");
        let offset = Offset(log.head() + 1);
        let keep_s = append.expires_in.or((append.kind == kind::RING).then_some(RING_S));
        let expires_at = keep_s.map(|s| unix_ms + u64::from(s) * 1000);
        if append.kind == kind::DELETE {
            let target = append.relates_to.expect("checked");
            let slot = &mut log.slots[target.0 as usize - 1];
            slot.gone = Some(GoneReason::Deleted);
            slot.deleted_by = Some(offset.0);
        }
        let message = Message {
            conversation: append.conversation,
            generation,
            offset,
            kind: append.kind,
            sender: append.sender,
            device: append.device,
            at: unix_ms,
            relates_to: append.relates_to,
            expires_at,
            publish_key: append.publish_key,
            members_version: log.version,
            body: append.body.clone(),
        };
        log.slots.push(Slot { message, gone: None, deleted_by: None });
        let members_version = log.version;
        self.keys.insert((append.sender, append.publish_key), (append.conversation, offset));
        Appended::Stored { generation, offset, at: unix_ms, expires_at, members_version }
    }

    /// Begins a new generation: each log loses up to `lost` of its newest messages, as after a restore.
    pub fn rewind(&mut self, mut lost: impl FnMut() -> u64) {
        self.generation = Generation(self.generation.0 + 1);
        for (id, log) in &mut self.logs {
            let cut = log.head().saturating_sub(lost());
            log.slots.truncate(cut as usize);
            log.cuts.push((self.generation, cut));
            self.keys.retain(|_, (conversation, offset)| conversation != id || offset.0 <= cut);
            for slot in &mut log.slots {
                if slot.deleted_by.is_some_and(|by| by > cut) {
                    (slot.gone, slot.deleted_by) = (None, None);
                }
            }
            let users: Vec<_> = log.members.keys().copied().collect();
            log.members.values_mut().for_each(|m| clamp(m, cut));
            log.version += 1;
            log.versions.extend(users.into_iter().map(|u| (log.version, u)));
            self.changes.push(Change::Members { conversation: *id, version: log.version });
        }
        self.changes.push(Change::Generation { generation: self.generation });
    }
}

fn clamp(member: &mut Member, cut: u64) {
    for interval in &mut member.intervals {
        interval.joined = interval.joined.min(cut + 1);
        interval.left = interval.left.map(|l| l.min(cut));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id;

    #[test]
    fn a_retry_gets_the_first_offset_and_a_rewind_forgets_it() {
        let mut store = SimStore::new();
        let (user, device, conversation) = (id::user(0, 1), id::device(0, 1), id::conversation(0, 1));
        store.add_account(user, [device].into_iter());
        store.add_conversation(conversation);
        store.add_member(conversation, user, Role::Owner, true, 5);
        let append = Append {
            conversation,
            publish_key: id::key(0, 1, 1),
            sender: user,
            device,
            kind: 0,
            relates_to: None,
            expires_in: None,
            expected_epoch: None,
            notify: 0,
            body: bytes::Bytes::from_static(b"x"),
            commitment: None,
        };
        assert!(matches!(store.append(&append, 10), Appended::Stored { offset: Offset(1), .. }));
        assert!(matches!(store.append(&append, 11), Appended::Duplicate { offset: Offset(1), at: 10, .. }));
        store.rewind(|| 1);
        assert_eq!(store.logs[&conversation].cut_since(Generation(1)), Some(0));
        let again = store.append(&append, 12);
        assert!(matches!(again, Appended::Stored { offset: Offset(1), generation: Generation(2), .. }));
    }
}
