//! What happens to the truth outside the data plane: membership, sanctions, revocations, erasure. Each is told in the
//! change log.

use schema_wire::record::{Change, UserStatus};
use schema_wire::v1::{self, GoneReason, Role, user_event};
use schema_wire::{ConversationId, DeviceId, UserId};

use super::{Interval, Member, SimStore};

impl SimStore {
    /// Adds a member, who may read from the start or from now on.
    pub fn add_member(
        &mut self,
        id: ConversationId,
        user: UserId,
        role: Role,
        from_start: bool,
        unix_ms: u64,
    ) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let head = log.head();
        let member = log.members.entry(user).or_insert(Member { intervals: Vec::new(), role });
        if member.present() {
            return;
        }
        let from_start = from_start && member.intervals.is_empty();
        let joined = if from_start { 1 } else { head + 1 };
        member.intervals.push(Interval { joined, left: None });
        member.role = role;
        self.members_changed(id, user);
        let event = v1::AddedTo {
            conversation: id.to_bytes(),
            by: user.to_bytes(),
            role: role.into(),
            first: joined,
            ..Default::default()
        };
        self.push_event(user, unix_ms, user_event::Event::from(event));
    }

    /// Ends a membership; what was said before stays readable.
    pub fn remove_member(&mut self, id: ConversationId, user: UserId, unix_ms: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let head = log.head();
        let Some(member) = log.members.get_mut(&user).filter(|m| m.present()) else { return };
        member.intervals.last_mut().expect("present means an open interval").left = Some(head);
        self.members_changed(id, user);
        let event = v1::RemovedFrom {
            conversation: id.to_bytes(),
            by: user.to_bytes(),
            last: head,
            ..Default::default()
        };
        self.push_event(user, unix_ms, user_event::Event::from(event));
    }

    fn members_changed(&mut self, id: ConversationId, user: UserId) {
        let log = self.logs.get_mut(&id).expect("the caller found it");
        log.version += 1;
        log.versions.push((log.version, user));
        self.changes.push(Change::Members { conversation: id, version: log.version });
    }

    /// Whoever was asked accepts a first contact.
    pub fn accept(&mut self, id: ConversationId, by: UserId, unix_ms: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let Some(opener) = log.waiting.take() else { return };
        log.version += 1;
        self.changes.push(Change::Members { conversation: id, version: log.version });
        for user in [opener, by] {
            let (conversation, answer) = (id.to_bytes(), v1::RequestAnswer::Accepted.into());
            let event = v1::RequestAnswered { conversation, answer, ..Default::default() };
            self.push_event(user, unix_ms, user_event::Event::from(event));
        }
    }

    /// One user blocks or unblocks another.
    pub fn set_block(&mut self, user: UserId, other: UserId, blocked: bool, unix_ms: u64) {
        let changed =
            if blocked { self.blocks.insert((user, other)) } else { self.blocks.remove(&(user, other)) };
        if !changed {
            return;
        }
        self.changes.push(Change::Block { user, other, stands: self.blocked(user, other) });
        let event = v1::BlockChanged { user: other.to_bytes(), blocked, ..Default::default() };
        self.push_event(user, unix_ms, user_event::Event::from(event));
    }

    /// Sets the life of an account.
    pub fn set_status(&mut self, user: UserId, status: UserStatus) {
        let Some(account) = self.accounts.get_mut(&user) else { return };
        account.status = status;
        self.changes.push(Change::UserStatus { user, status });
    }

    /// Revokes a device for good.
    pub fn revoke_device(&mut self, user: UserId, device: DeviceId) {
        let Some(account) = self.accounts.get_mut(&user) else { return };
        account.devices.insert(device, false);
        self.changes.push(Change::DeviceRevoked { user, device });
    }

    /// Voids every token issued before a time in unix seconds.
    pub fn revoke_tokens(&mut self, user: UserId, not_before: u64) {
        let Some(account) = self.accounts.get_mut(&user) else { return };
        account.tokens_not_before = not_before;
        self.changes.push(Change::TokensRevoked { user, not_before });
    }

    /// Empties a place outside the log, as moderation does.
    pub fn erase(&mut self, id: ConversationId, offset: u64) {
        let Some(log) = self.logs.get_mut(&id) else { return };
        let Some(slot) = log.slots.get_mut(offset as usize - 1).filter(|s| s.gone.is_none()) else { return };
        slot.gone = Some(GoneReason::Erased);
        self.changes.push(Change::Erased { conversation: id });
    }
}
