//! Every question a shard may ask the store, answered from the truth as the contract in `schema_wire::record` says.

use schema_wire::record::{
    Attachment, Entry, MemberChange, MembersDelta, Page, Standing, StoreReply, StoreRequest, UserEventPage,
};
use schema_wire::v1::{self, GoneReason, user_event};
use schema_wire::{ConversationId, DeviceId, Offset, Position, UserId};

use super::{Log, MEMBER_CHANGES_MAX, Member, SimStore};

impl SimStore {
    /// Answers any request at a time in unix milliseconds.
    pub fn ask(&mut self, request: &StoreRequest, unix_ms: u64) -> StoreReply {
        match request {
            StoreRequest::Attach { user, device, .. } => StoreReply::Attach(self.attach(*user, *device)),
            StoreRequest::Append(append) => StoreReply::Append(self.append(append, unix_ms)),
            StoreRequest::Standing { user, conversation, after } => {
                StoreReply::Standing(self.standing(*user, *conversation, *after))
            }
            StoreRequest::Recover { user, conversation, from, limit, backwards } => {
                StoreReply::Recover(self.recover(*user, *conversation, from.0, *limit, *backwards, unix_ms))
            }
            StoreRequest::Read { conversation, from, limit } => {
                StoreReply::Read(self.read(*conversation, from.0, *limit, unix_ms))
            }
            StoreRequest::Members { conversation, since } => {
                StoreReply::Members(self.members(*conversation, *since))
            }
            StoreRequest::Heads { conversations } => {
                let head = |c| Offset(self.logs.get(c).map_or(0, Log::head));
                StoreReply::Heads {
                    generation: self.generation,
                    heads: conversations.iter().map(head).collect(),
                }
            }
            StoreRequest::UserEvents { user, after, limit } => {
                StoreReply::UserEvents(self.user_events(*user, *after, *limit))
            }
            StoreRequest::MoveCursor { user, conversation, offset, .. } => {
                self.move_cursor(*user, *conversation, offset.0, unix_ms)
            }
            StoreRequest::Acquaintances { user, others } => StoreReply::Acquaintances(
                others.iter().copied().filter(|other| self.acquainted(*user, *other)).collect(),
            ),
        }
    }

    fn attach(&self, user: UserId, device: DeviceId) -> Attachment {
        let account = self.accounts.get(&user).expect("tokens are only made for accounts that exist");
        Attachment {
            status: account.status,
            device_active: account.devices.get(&device).is_some_and(|active| *active),
            address_banned: false,
            tokens_not_before: account.tokens_not_before,
            generation: self.generation,
            user_head: Offset(account.events.len() as u64),
        }
    }

    fn standing(&self, user: UserId, id: ConversationId, after: Option<Position>) -> Option<Standing> {
        let log = self.logs.get(&id)?;
        let member = log.members.get(&user)?;
        let rewound = after.and_then(|after| {
            let cut = log.cut_since(after.generation).unwrap_or(u64::MAX).min(log.head());
            (after.offset.0 > cut).then_some(Offset(cut))
        });
        let last = member.intervals.last().expect("a member has an interval");
        Some(Standing {
            generation: self.generation,
            head: Offset(log.head()),
            members_version: log.version,
            member_count: log.present_count(),
            epoch: log.epoch,
            role: member.present().then_some(member.role),
            first: Offset(member.intervals[0].joined),
            last: last.left.map(Offset),
            muted_until: None,
            cursor: Offset(self.cursors.get(&(user, id)).copied().unwrap_or(0)),
            rewound,
            waiting: log.waiting.is_some(),
            apart: self.apart(user, log).collect(),
        })
    }

    /// Members, former ones too, with a block between them and the user.
    fn apart<'a>(&'a self, user: UserId, log: &'a Log) -> impl Iterator<Item = UserId> + 'a {
        log.members.keys().copied().filter(move |other| self.blocked(user, *other))
    }

    fn page(&self, log: Option<&Log>, readable: bool) -> Page {
        Page {
            generation: self.generation,
            entries: Vec::new(),
            head: Offset(log.map_or(0, Log::head)),
            next: Offset(0),
            members_version: log.map_or(0, |l| l.version),
            readable,
        }
    }

    fn recover(
        &self,
        user: UserId,
        id: ConversationId,
        from: u64,
        limit: u32,
        backwards: bool,
        unix_ms: u64,
    ) -> Page {
        let log = self.logs.get(&id);
        let Some((log, member)) = log.and_then(|l| Some((l, l.members.get(&user)?))) else {
            return self.page(None, false);
        };
        let mut page = self.page(Some(log), true);
        let entry = |offset: u64| match (member.reads(offset), log.gone(offset, unix_ms)) {
            (false, _) => gone(offset, GoneReason::NotMember),
            (true, Some(reason)) => gone(offset, reason),
            (true, None) => Entry::Message(log.slots[offset as usize - 1].message.clone()),
        };
        fill(&mut page, from, limit, backwards, entry);
        page
    }

    fn read(&self, id: ConversationId, from: u64, limit: u32, unix_ms: u64) -> Page {
        let Some(log) = self.logs.get(&id) else { return self.page(None, true) };
        let mut page = self.page(Some(log), true);
        let entry = |offset: u64| match log.gone(offset, unix_ms) {
            Some(reason) => gone(offset, reason),
            None => Entry::Message(log.slots[offset as usize - 1].message.clone()),
        };
        fill(&mut page, from, limit, false, entry);
        page
    }

    fn members(&self, id: ConversationId, since: u64) -> MembersDelta {
        let Some(log) = self.logs.get(&id) else { return MembersDelta::default() };
        let mut users: Vec<UserId> =
            log.versions.iter().filter(|(v, _)| *v > since).map(|(_, user)| *user).collect();
        users.sort();
        users.dedup();
        let overflow = users.len() > MEMBER_CHANGES_MAX;
        if overflow {
            users.clear();
        }
        let change = |user: UserId| {
            let member: &Member = &log.members[&user];
            let newest = member.intervals.last().expect("a member has an interval");
            MemberChange {
                user,
                joined: Offset(newest.joined),
                left: newest.left.map(Offset),
                role: member.role,
            }
        };
        let apart =
            users.iter().flat_map(|user| self.apart(*user, log).map(|other| (*user, other))).collect();
        let changes = users.into_iter().map(change).collect();
        let waiting = log.waiting.is_some();
        let (version, member_count) = (log.version, log.present_count());
        MembersDelta { version, member_count, changes, waiting, apart, overflow }
    }

    fn user_events(&self, user: UserId, after: Position, limit: u32) -> UserEventPage {
        let events = &self.accounts[&user].events;
        let head = events.len() as u64;
        let page = events.iter().skip(after.offset.0 as usize).take(limit as usize).cloned().collect();
        let rewound = (after.offset.0 > head).then_some(Offset(head));
        UserEventPage { generation: self.generation, head: Offset(head), events: page, rewound }
    }

    fn move_cursor(&mut self, user: UserId, id: ConversationId, offset: u64, unix_ms: u64) -> StoreReply {
        let member = self.is_member(user, id);
        let head = self.logs.get(&id).map_or(0, Log::head);
        let cursor = self.cursors.entry((user, id)).or_default();
        let moved = member && offset > *cursor && offset <= head;
        if moved {
            *cursor = offset;
            let event = v1::CursorMoved { conversation: id.to_bytes(), offset, ..Default::default() };
            self.push_event(user, unix_ms, user_event::Event::from(event));
        }
        let members_version = member.then(|| self.logs[&id].version);
        StoreReply::MoveCursor { moved, members_version }
    }
}

fn gone(offset: u64, reason: GoneReason) -> Entry {
    Entry::Gone { from: Offset(offset), to: Offset(offset), reason }
}

/// Fills a page densely and merges neighbouring empty places.
fn fill(page: &mut Page, from: u64, limit: u32, backwards: bool, entry: impl Fn(u64) -> Entry) {
    let head = page.head.0;
    let limit = u64::from(limit.max(1));
    if backwards {
        let from = from.min(head);
        let stop = from.saturating_sub(limit);
        (stop + 1..=from).rev().for_each(|o| push(&mut page.entries, entry(o)));
        page.next = Offset(stop);
    } else {
        let from = from.max(1);
        let end = (from + limit - 1).min(head);
        (from..=end).for_each(|o| push(&mut page.entries, entry(o)));
        page.next = Offset((end + 1).max(from));
    }
}

fn push(entries: &mut Vec<Entry>, entry: Entry) {
    if let (Some(Entry::Gone { from, to, reason }), Entry::Gone { from: f, to: t, reason: r }) =
        (entries.last_mut(), &entry)
        && reason == r
    {
        *from = (*from).min(*f);
        *to = (*to).max(*t);
        return;
    }
    entries.push(entry);
}
