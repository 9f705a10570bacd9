//! A store in memory, with no more than the tests of the logic need: members as intervals, deletion, expiry, cuts.

use std::collections::{BTreeMap, BTreeSet};

use schema_wire::publication::kind;
use schema_wire::record::*;
use schema_wire::v1::{self, GoneReason, Role};
use schema_wire::{ConversationId, DeviceId, Generation, Offset, Position, PublishKey, Refused, UserId};

#[derive(Default)]
pub struct Log {
    pub messages: Vec<Message>,
    pub deleted: BTreeSet<u64>,
    /// User, first and last readable offset of one membership, version it changed at.
    pub members: Vec<(UserId, u64, Option<u64>, u64)>,
    pub version: u64,
    pub muted: BTreeMap<UserId, u64>,
    pub waiting: bool,
}

pub struct MemStore {
    pub generation: u32,
    /// Generation, and where the log of each conversation was cut when it ended.
    pub cuts: Vec<(u32, BTreeMap<ConversationId, u64>)>,
    pub logs: BTreeMap<ConversationId, Log>,
    pub keys: BTreeMap<(UserId, PublishKey), (ConversationId, u64)>,
    pub status: BTreeMap<UserId, UserStatus>,
    pub revoked: BTreeSet<DeviceId>,
    pub not_before: u64,
    pub cursors: BTreeMap<(UserId, ConversationId), u64>,
    pub events: BTreeMap<UserId, Vec<v1::UserEvent>>,
    pub now_ms: u64,
    pub fault: Option<StoreFault>,
    pub blocks: BTreeSet<(UserId, UserId)>,
    /// Most changes of members that one answer carries.
    pub changes_max: usize,
}

impl Default for MemStore {
    fn default() -> Self {
        Self {
            generation: 1,
            cuts: Vec::new(),
            logs: BTreeMap::new(),
            keys: BTreeMap::new(),
            status: BTreeMap::new(),
            revoked: BTreeSet::new(),
            not_before: 0,
            cursors: BTreeMap::new(),
            events: BTreeMap::new(),
            now_ms: 0,
            fault: None,
            blocks: BTreeSet::new(),
            changes_max: usize::MAX,
        }
    }
}

impl MemStore {
    pub fn join(&mut self, conversation: ConversationId, user: UserId) -> u64 {
        let log = self.logs.entry(conversation).or_default();
        log.version += 1;
        let first = log.messages.len() as u64 + 1;
        log.members.push((user, first, None, log.version));
        log.version
    }

    pub fn leave(&mut self, conversation: ConversationId, user: UserId) -> u64 {
        let log = self.logs.entry(conversation).or_default();
        log.version += 1;
        let head = log.messages.len() as u64;
        let version = log.version;
        let open = log.members.iter_mut().find(|m| m.0 == user && m.2.is_none()).expect("a member");
        (open.2, open.3) = (Some(head), version);
        version
    }

    /// A restore that keeps the first `head` messages of each log.
    pub fn cut(&mut self, head: usize) {
        let mut heads = BTreeMap::new();
        for (id, log) in &mut self.logs {
            log.messages.truncate(head);
            heads.insert(*id, log.messages.len() as u64);
        }
        let heads_of = |c: &ConversationId| heads[c];
        self.keys.retain(|_, (c, offset)| *offset <= heads_of(c));
        self.cuts.push((self.generation, heads));
        self.generation += 1;
    }

    pub fn add_event(&mut self, user: UserId) -> u64 {
        let events = self.events.entry(user).or_default();
        let offset = events.len() as u64 + 1;
        let event = v1::user_event::Event::SettingChanged(v1::SettingChanged {
            name: "n".into(),
            value: offset.to_string(),
            ..Default::default()
        });
        events.push(v1::UserEvent {
            offset,
            generation: self.generation,
            event: Some(event),
            ..Default::default()
        });
        offset
    }

    /// Whether one of two people blocked the other.
    pub fn blocked(&self, one: UserId, other: UserId) -> bool {
        self.blocks.contains(&(one, other)) || self.blocks.contains(&(other, one))
    }

    pub fn answer(&mut self, request: &StoreRequest) -> StoreReply {
        if let Some(fault) = self.fault {
            return StoreReply::Fault(fault);
        }
        match request {
            StoreRequest::Attach { user, device, .. } => StoreReply::Attach(self.attach(*user, *device)),
            StoreRequest::Append(append) => StoreReply::Append(self.append(append)),
            StoreRequest::Standing { user, conversation, after } => {
                StoreReply::Standing(self.standing(*user, *conversation, *after))
            }
            StoreRequest::Recover { user, conversation, from, limit, backwards } => {
                assert!(!backwards, "not in these tests");
                StoreReply::Recover(self.page(Some(*user), *conversation, *from, *limit))
            }
            StoreRequest::Read { conversation, from, limit } => {
                StoreReply::Read(self.page(None, *conversation, *from, *limit))
            }
            StoreRequest::Members { conversation, since } => {
                StoreReply::Members(self.members(*conversation, *since))
            }
            StoreRequest::Heads { conversations } => StoreReply::Heads {
                generation: Generation(self.generation),
                heads: conversations.iter().map(|c| Offset(self.head(*c))).collect(),
            },
            StoreRequest::UserEvents { user, after, limit } => self.user_events(*user, *after, *limit),
            StoreRequest::MoveCursor { user, conversation, offset, .. } => {
                let place = self.cursors.entry((*user, *conversation)).or_default();
                let moved = offset.0 > *place;
                *place = (*place).max(offset.0);
                let version = self.logs.get(conversation).map_or(0, |log| log.version);
                let members_version = self.is_member(*conversation, *user).then_some(version);
                StoreReply::MoveCursor { moved, members_version }
            }
            StoreRequest::Acquaintances { user, others } => {
                let shares = |other: &UserId| {
                    self.logs.keys().any(|c| self.is_member(*c, *user) && self.is_member(*c, *other))
                        && !self.blocked(*user, *other)
                };
                StoreReply::Acquaintances(others.iter().copied().filter(shares).collect())
            }
        }
    }

    fn attach(&self, user: UserId, device: DeviceId) -> Attachment {
        Attachment {
            status: self.status.get(&user).copied().unwrap_or(UserStatus::Active),
            device_active: !self.revoked.contains(&device),
            address_banned: false,
            tokens_not_before: self.not_before,
            generation: Generation(self.generation),
            user_head: Offset(self.events.get(&user).map_or(0, |e| e.len() as u64)),
        }
    }

    fn head(&self, conversation: ConversationId) -> u64 {
        self.logs.get(&conversation).map_or(0, |l| l.messages.len() as u64)
    }

    fn is_member(&self, conversation: ConversationId, user: UserId) -> bool {
        self.logs.get(&conversation).is_some_and(|l| l.members.iter().any(|m| m.0 == user && m.2.is_none()))
    }

    fn append(&mut self, a: &Append) -> Appended {
        let refuse = |refused| Appended::Refused { refused, retry_after_ms: 0 };
        let generation = Generation(self.generation);
        if let Some((conversation, offset)) = self.keys.get(&(a.sender, a.publish_key)) {
            if *conversation != a.conversation {
                return refuse(Refused::PublishKeyReused);
            }
            return Appended::Duplicate { generation, offset: Offset(*offset), at: 0 };
        }
        if !self.is_member(a.conversation, a.sender) {
            return refuse(Refused::NotMember);
        }
        let at = self.now_ms;
        let log = self.logs.get_mut(&a.conversation).expect("has members");
        if a.kind == kind::DELETE {
            log.deleted.insert(a.relates_to.expect("checked").0);
        }
        let offset = Offset(log.messages.len() as u64 + 1);
        let expires_at = a.expires_in.map(|s| at + u64::from(s) * 1_000);
        log.messages.push(Message {
            conversation: a.conversation,
            generation,
            offset,
            kind: a.kind,
            sender: a.sender,
            device: a.device,
            at,
            relates_to: a.relates_to,
            expires_at,
            publish_key: a.publish_key,
            members_version: log.version,
            body: a.body.clone(),
        });
        self.keys.insert((a.sender, a.publish_key), (a.conversation, offset.0));
        Appended::Stored { generation, offset, at, expires_at, members_version: log.version }
    }

    fn standing(&self, user: UserId, c: ConversationId, after: Option<Position>) -> Option<Standing> {
        let log = self.logs.get(&c)?;
        let mine: Vec<_> = log.members.iter().filter(|m| m.0 == user).collect();
        let newest = mine.last()?;
        let cut = after.and_then(|after| {
            let later = self.cuts.iter().filter(|(generation, _)| *generation >= after.generation.0);
            let cut = later.filter_map(|(_, heads)| heads.get(&c)).min().copied();
            cut.filter(|cut| after.offset.0 > *cut)
        });
        Some(Standing {
            generation: Generation(self.generation),
            head: Offset(log.messages.len() as u64),
            members_version: log.version,
            member_count: log.members.iter().filter(|m| m.2.is_none()).count() as u32,
            epoch: 0,
            role: newest.2.is_none().then_some(Role::Member),
            first: Offset(mine[0].1),
            last: newest.2.map(Offset),
            muted_until: log.muted.get(&user).copied(),
            cursor: Offset(self.cursors.get(&(user, c)).copied().unwrap_or(0)),
            rewound: cut.map(Offset),
            waiting: log.waiting,
            apart: log.members.iter().map(|m| m.0).filter(|other| self.blocked(user, *other)).collect(),
        })
    }

    fn page(&self, user: Option<UserId>, c: ConversationId, from: Offset, limit: u32) -> Page {
        let empty = Log::default();
        let log = self.logs.get(&c).unwrap_or(&empty);
        let may = |offset: u64| match user {
            None => true,
            Some(user) => {
                log.members.iter().any(|m| m.0 == user && m.1 <= offset && m.2.is_none_or(|l| offset <= l))
            }
        };
        let mut entries = Vec::new();
        let mut next = from.0.max(1);
        for message in log.messages.iter().skip(next as usize - 1).take(limit as usize) {
            let offset = message.offset;
            let gone = |reason| Entry::Gone { from: offset, to: offset, reason };
            entries.push(if !may(offset.0) {
                gone(GoneReason::NotMember)
            } else if log.deleted.contains(&offset.0) {
                gone(GoneReason::Deleted)
            } else if message.expires_at.is_some_and(|at| at <= self.now_ms) {
                gone(GoneReason::Expired)
            } else {
                Entry::Message(message.clone())
            });
            next = offset.0 + 1;
        }
        Page {
            generation: Generation(self.generation),
            entries,
            head: Offset(log.messages.len() as u64),
            next: Offset(next),
            members_version: log.version,
            readable: user.is_none_or(|user| log.members.iter().any(|m| m.0 == user)),
        }
    }

    fn members(&self, c: ConversationId, since: u64) -> MembersDelta {
        let Some(log) = self.logs.get(&c) else { return MembersDelta::default() };
        let changed: BTreeSet<UserId> = log.members.iter().filter(|m| m.3 > since).map(|m| m.0).collect();
        if changed.len() > self.changes_max {
            return MembersDelta { version: log.version, overflow: true, ..MembersDelta::default() };
        }
        let newest = |user: UserId| log.members.iter().rev().find(|m| m.0 == user).expect("changed");
        MembersDelta {
            version: log.version,
            member_count: log.members.iter().filter(|m| m.2.is_none()).count() as u32,
            changes: changed
                .into_iter()
                .map(|user| {
                    let (_, joined, left, _) = *newest(user);
                    MemberChange { user, joined: Offset(joined), left: left.map(Offset), role: Role::Member }
                })
                .collect(),
            apart: log
                .members
                .iter()
                .filter(|m| m.3 > since)
                .flat_map(|m| self.apart_from(m.0, log))
                .collect(),
            overflow: false,
            waiting: log.waiting,
        }
    }

    fn apart_from(&self, user: UserId, log: &Log) -> Vec<(UserId, UserId)> {
        log.members.iter().filter(|m| self.blocked(user, m.0)).map(|m| (user, m.0)).collect()
    }

    fn user_events(&self, user: UserId, after: Position, limit: u32) -> StoreReply {
        let none = Vec::new();
        let all = self.events.get(&user).unwrap_or(&none);
        let head = all.len() as u64;
        let rewound = (after.offset.0 > head).then_some(Offset(head));
        let events = all.iter().skip(after.offset.0 as usize).take(limit as usize).cloned().collect();
        StoreReply::UserEvents(UserEventPage {
            generation: Generation(self.generation),
            head: Offset(head),
            events,
            rewound,
        })
    }
}
