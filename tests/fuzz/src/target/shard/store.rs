//! A store that remembers just enough to answer as it should, and answers that have nothing to do with the question.

use bytes::Bytes;
use schema_wire::record::*;
use schema_wire::v1::{self, GoneReason, Role};
use schema_wire::{Generation, Offset, PublishKey, Refused};

use super::frames::{conversation, device, user};
use crate::script::Script;

/// Logs of the few conversations that scripts name: everybody is a member from the beginning.
#[derive(Default)]
pub struct Model {
    logs: [Vec<Append>; 4],
    events: u64,
}

impl Model {
    /// The right answer.
    pub fn answer(&mut self, request: &StoreRequest, unix_ms: u64) -> StoreReply {
        let generation = Generation(1);
        match request {
            StoreRequest::Attach { .. } => StoreReply::Attach(Attachment {
                status: UserStatus::Active,
                device_active: true,
                address_banned: false,
                tokens_not_before: 0,
                generation,
                user_head: Offset(self.events),
            }),
            StoreRequest::Append(append) => StoreReply::Append(self.append(append, unix_ms)),
            StoreRequest::Standing { conversation, .. } => StoreReply::Standing(Some(Standing {
                generation,
                head: self.head(conversation),
                members_version: 1,
                member_count: 3,
                epoch: 0,
                role: Some(Role::Member),
                first: Offset(1),
                last: None,
                muted_until: None,
                cursor: Offset(0),
                rewound: None,
                waiting: false,
                apart: Vec::new(),
            })),
            StoreRequest::Recover { conversation, from, limit, backwards, .. } => {
                StoreReply::Recover(self.page(conversation, *from, *limit, *backwards))
            }
            StoreRequest::Read { conversation, from, limit } => {
                StoreReply::Read(self.page(conversation, *from, *limit, false))
            }
            StoreRequest::Members { .. } => StoreReply::Members(MembersDelta {
                version: 1,
                member_count: 3,
                changes: Vec::new(),
                waiting: false,
                apart: Vec::new(),
                overflow: false,
            }),
            StoreRequest::Heads { conversations } => {
                StoreReply::Heads { generation, heads: conversations.iter().map(|c| self.head(c)).collect() }
            }
            StoreRequest::UserEvents { after, limit, .. } => {
                StoreReply::UserEvents(self.user_events(after.offset, *limit))
            }
            StoreRequest::MoveCursor { .. } => {
                StoreReply::MoveCursor { moved: true, members_version: Some(1) }
            }
            StoreRequest::Acquaintances { others, .. } => StoreReply::Acquaintances(others.clone()),
        }
    }

    fn log(&self, id: &schema_wire::ConversationId) -> &[Append] {
        let at = (0..4_u8).find(|n| conversation(*n) == *id);
        at.map_or(&[], |at| &self.logs[usize::from(at)])
    }

    fn head(&self, id: &schema_wire::ConversationId) -> Offset {
        Offset(self.log(id).len() as u64)
    }

    fn append(&mut self, append: &Append, unix_ms: u64) -> Appended {
        let generation = Generation(1);
        let known = self.log(&append.conversation).iter().position(|a| a.publish_key == append.publish_key);
        if let Some(at) = known {
            return Appended::Duplicate { generation, offset: Offset(at as u64 + 1), at: unix_ms };
        }
        let Some(at) = (0..4_u8).find(|n| conversation(*n) == append.conversation) else {
            return Appended::Refused { refused: Refused::NotMember, retry_after_ms: 0 };
        };
        self.logs[usize::from(at)].push(append.clone());
        self.events += 1;
        let expires_at = append.expires_in.map(|s| unix_ms + u64::from(s) * 1_000);
        Appended::Stored {
            generation,
            offset: self.head(&append.conversation),
            at: unix_ms,
            expires_at,
            members_version: 1,
        }
    }

    fn page(&self, id: &schema_wire::ConversationId, from: Offset, limit: u32, backwards: bool) -> Page {
        let head = self.head(id);
        let first = if backwards { from.0.saturating_sub(u64::from(limit)).max(1) } else { from.0.max(1) };
        let last = if backwards {
            from.0.min(head.0)
        } else {
            head.0.min(first.saturating_add(u64::from(limit)) - 1)
        };
        let entries: Vec<Entry> =
            (first..=last).map(|at| message(&self.log(id)[at as usize - 1], at)).collect();
        let next = if backwards { Offset(first - 1) } else { Offset(last.max(first - 1) + 1) };
        let entries = if backwards { entries.into_iter().rev().collect() } else { entries };
        Page { generation: Generation(1), entries, head, next, members_version: 1, readable: true }
    }

    fn user_events(&self, after: Offset, limit: u32) -> UserEventPage {
        let events = (after.0..self.events).take(limit as usize).map(|at| user_event(at + 1)).collect();
        UserEventPage { generation: Generation(1), head: Offset(self.events), events, rewound: None }
    }
}

fn message(append: &Append, offset: u64) -> Entry {
    if offset.is_multiple_of(5) {
        return Entry::Gone { from: Offset(offset), to: Offset(offset), reason: GoneReason::Expired };
    }
    Entry::Message(Message {
        conversation: append.conversation,
        generation: Generation(1),
        offset: Offset(offset),
        kind: append.kind,
        sender: append.sender,
        device: append.device,
        at: 0,
        relates_to: append.relates_to,
        expires_at: None,
        publish_key: append.publish_key,
        members_version: 1,
        body: append.body.clone(),
    })
}

fn user_event(offset: u64) -> v1::UserEvent {
    let changed = v1::SettingChanged { name: "n".into(), value: "v".into(), ..Default::default() };
    let event = Some(v1::user_event::Event::SettingChanged(changed));
    v1::UserEvent { offset, generation: 1, event, ..Default::default() }
}

/// Which question it is.
pub fn kind(request: &StoreRequest) -> u64 {
    match request {
        StoreRequest::Attach { .. } => 0,
        StoreRequest::Append(_) => 1,
        StoreRequest::Standing { .. } => 2,
        StoreRequest::Recover { .. } => 3,
        StoreRequest::Read { .. } => 4,
        StoreRequest::Members { .. } => 5,
        StoreRequest::Heads { .. } => 6,
        StoreRequest::UserEvents { .. } => 7,
        StoreRequest::MoveCursor { .. } => 8,
        StoreRequest::Acquaintances { .. } => 9,
    }
}

/// The store failed.
pub fn fault(script: &mut Script<'_>) -> StoreReply {
    StoreReply::Fault(if script.byte() & 1 == 0 { StoreFault::Unavailable } else { StoreFault::Full })
}

/// Whatever the script says, be it an answer to the question or not.
pub fn any(script: &mut Script<'_>) -> StoreReply {
    let generation = Generation(u32::from(script.byte() & 3));
    let mut offset = || Offset(u64::from(script.byte() & 31));
    let (first, second, third) = (offset(), offset(), offset());
    match script.byte() % 11 {
        0 => StoreReply::Attach(Attachment {
            status: status(script),
            device_active: first.0 & 1 == 0,
            address_banned: first.0 & 2 != 0,
            tokens_not_before: second.0 << 26,
            generation,
            user_head: third,
        }),
        1 => StoreReply::Append(Appended::Stored {
            generation,
            offset: first,
            at: second.0,
            expires_at: None,
            members_version: third.0,
        }),
        2 => StoreReply::Append(match first.0 & 1 {
            0 => Appended::Duplicate { generation, offset: second, at: third.0 },
            _ => Appended::Refused { refused: refused(script), retry_after_ms: 7 },
        }),
        3 => StoreReply::Standing(
            (first.0 != 31).then(|| standing(script, generation, (first, second, third))),
        ),
        4 | 5 => {
            let page = page(script, generation, (first, second, third));
            if script.byte() & 1 == 0 { StoreReply::Recover(page) } else { StoreReply::Read(page) }
        }
        6 => StoreReply::Members(MembersDelta {
            version: first.0,
            member_count: second.0 as u32 * 8,
            changes: vec![MemberChange {
                user: user(third.0 as u8),
                joined: second,
                left: (first.0 & 1 == 1).then_some(third),
                role: Role::Member,
            }],
            waiting: first.0 & 4 != 0,
            apart: vec![(user(second.0 as u8), user(third.0 as u8))],
            overflow: first.0 & 2 != 0,
        }),
        7 => StoreReply::Heads { generation, heads: vec![first, second, third][..script.below(4)].to_vec() },
        8 => StoreReply::UserEvents(UserEventPage {
            generation,
            head: first,
            events: (0..second.0 % 6).map(|n| user_event(third.0 + n)).collect(),
            rewound: (script.byte() & 1 == 1).then_some(third),
        }),
        9 => StoreReply::MoveCursor {
            moved: first.0 & 1 == 0,
            members_version: (second.0 & 1 == 0).then_some(second.0),
        },
        _ => StoreReply::Acquaintances(vec![user(first.0 as u8), user(second.0 as u8)]),
    }
}

fn refused(script: &mut Script<'_>) -> Refused {
    Refused::ALL[script.below(Refused::ALL.len())]
}

/// A status of an account.
pub fn status(script: &mut Script<'_>) -> UserStatus {
    match script.byte() % 6 {
        0 => UserStatus::Pending,
        1 => UserStatus::Suspended { until: None },
        2 => UserStatus::Suspended { until: Some(1_800_000_010_000) },
        3 => UserStatus::Banned,
        4 => UserStatus::Deleted,
        _ => UserStatus::Active,
    }
}

fn standing(
    script: &mut Script<'_>,
    generation: Generation,
    (head, first, cursor): (Offset, Offset, Offset),
) -> Standing {
    let choice = script.byte();
    Standing {
        generation,
        head,
        members_version: u64::from(choice & 7),
        member_count: u32::from(choice),
        epoch: u64::from(choice & 1),
        role: [None, Some(Role::Member), Some(Role::Owner), Some(Role::Admin)][usize::from(choice >> 3 & 3)],
        first,
        last: (choice & 32 != 0).then_some(cursor),
        muted_until: (choice & 64 != 0).then_some(1_800_000_010_000),
        cursor,
        rewound: (choice & 128 != 0).then_some(first),
        waiting: choice & 6 == 6,
        apart: if choice & 5 == 5 { vec![user(choice >> 4)] } else { Vec::new() },
    }
}

/// Not always dense: a store that is wrong must not bring the shard down.
fn page(
    script: &mut Script<'_>,
    generation: Generation,
    (head, next, from): (Offset, Offset, Offset),
) -> Page {
    let choice = script.byte();
    let append = Append {
        conversation: conversation(choice),
        publish_key: PublishKey([choice; 16]),
        sender: user(choice),
        device: device(choice),
        kind: u32::from(choice & 1),
        relates_to: (choice & 2 != 0).then_some(head),
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::from(vec![choice; usize::from(choice)]),
        commitment: None,
    };
    let entries = (0..u64::from(choice & 7)).map(|n| message(&append, from.0 + n)).collect();
    Page {
        generation,
        entries,
        head,
        next,
        members_version: u64::from(choice >> 4),
        readable: choice & 8 == 0,
    }
}
