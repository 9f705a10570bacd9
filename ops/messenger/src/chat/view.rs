//! What a person sees of each event: who said what, who read, who types, how the connection stands. Pure.

use std::collections::HashMap;
use std::time::Duration;

use relay_client::v1::{self, PresenceState, notice};
use relay_client::{ConversationId, Delivery, Event, Gone, Item, Offset, UserId, kind};
use tokio::time::Instant;

use crate::account::Names;
use crate::chat::screen::{Look, Span};
use crate::text::{body, clock, printable};

/// How long somebody counts as typing after the last sign of it.
const TYPING: Duration = Duration::from_secs(6);

/// One printed line.
pub type Row = Vec<Span>;

/// What has been seen.
#[derive(Debug)]
pub struct View {
    conversation: ConversationId,
    pub names: Names,
    me: UserId,
    typing: HashMap<UserId, Instant>,
    presence: HashMap<UserId, PresenceState>,
    /// Newest own message, and whom it was said to be read by.
    pub own: Offset,
    read_by: Vec<UserId>,
    /// Newest message of somebody else.
    pub newest: Offset,
}

fn span(text: impl Into<String>, look: Look) -> Span {
    Span { text: text.into(), look }
}

/// A line from the program itself.
pub fn remark(text: impl Into<String>) -> Row {
    vec![span(format!("  {}", text.into()), Look::Dim)]
}

/// What is said of a first contact that waits.
pub fn request(state: &str) -> Option<Row> {
    match state {
        "received" => Some(warning("this is somebody new: /accept (or answer), /decline or /block")),
        "sent" => Some(remark("not accepted yet: only a few messages are taken, and no receipts come")),
        _ => None,
    }
}

/// A line that should not be overlooked.
pub fn warning(text: impl Into<String>) -> Row {
    vec![span(format!("! {}", text.into()), Look::Warning)]
}

impl View {
    pub fn new(conversation: ConversationId, names: Names, me: UserId) -> Self {
        Self {
            conversation,
            names,
            me,
            typing: HashMap::new(),
            presence: HashMap::new(),
            own: Offset(0),
            read_by: Vec::new(),
            newest: Offset(0),
        }
    }

    /// The row of an event, if it is worth one.
    pub fn event(&mut self, now: Instant, event: &Event) -> Option<Row> {
        match event {
            Event::Delivery(delivery) => Some(self.delivery(delivery)),
            Event::Gone(gone) => Some(self.gone(gone)),
            Event::Cursor(cursor) => self.cursor(cursor),
            Event::Typing(typing) => {
                self.typing(now, typing);
                None
            }
            Event::Presence(presence) => self.presence(presence),
            Event::Connected(linked) => {
                Some(remark(format!("connected over {}", if linked.quic { "QUIC" } else { "WebSocket" })))
            }
            Event::Reconnecting { delay, why, .. } => {
                Some(warning(format!("{}; trying again in {delay:.1?}", printable(&why.to_string()))))
            }
            Event::Rewound { head, .. } => Some(warning(format!(
                "the relay lost what came after #{}; own messages among it are sent again",
                head.0
            ))),
            Event::Unsubscribed { .. } => Some(warning("you are no longer a member of this conversation")),
            Event::Notice(notice) => Some(notice_row(notice)),
            Event::UserEvent(event) => self.user_event(event),
            Event::Signal(_) | Event::UserRewound { .. } | Event::Closed(_) => None,
        }
    }

    /// One place of the history.
    pub fn item(&mut self, item: &Item) -> Row {
        match item {
            Item::Delivery(delivery) => self.delivery(delivery),
            Item::Gone(gone) => self.gone(gone),
        }
    }

    fn delivery(&mut self, d: &Delivery) -> Row {
        self.typing.remove(&d.sender);
        let offset = d.position.offset;
        if d.sender == self.me {
            self.own = self.own.max(offset);
            self.read_by.clear();
        } else {
            self.newest = self.newest.max(offset);
        }
        let about = d.relates_to.map_or_else(String::new, |o| format!(" #{}", o.0));
        let said = match d.kind {
            kind::MESSAGE => body(&d.body),
            kind::DELETE => format!("deleted{about}"),
            kind::RING => "is calling".to_owned(),
            other => format!("(kind {other}{about}) {}", body(&d.body)),
        };
        let ticked = if d.own { " ✓" } else { "" };
        let ends = d.expires_at.map_or_else(String::new, |at| format!(" (until {})", clock(at)));
        vec![
            span(format!("{} #{} ", clock(d.at), offset.0), Look::Dim),
            span(self.names.show(d.sender), self.name_look(d.sender)),
            span(format!(": {said}"), if d.kind == kind::MESSAGE { Look::Plain } else { Look::Dim }),
            span(format!("{ends}{ticked}"), Look::Dim),
        ]
    }

    fn gone(&mut self, gone: &Gone) -> Row {
        let why = match gone.reason {
            v1::GoneReason::GONE_REASON_DELETED => "deleted",
            v1::GoneReason::GONE_REASON_EXPIRED => "expired",
            v1::GoneReason::GONE_REASON_ERASED => {
                "deleted (« Message supprimé »): its author's account was erased"
            }
            v1::GoneReason::GONE_REASON_NOT_MEMBER => "from before you joined",
            v1::GoneReason::GONE_REASON_UNSPECIFIED => "gone",
        };
        if gone.from == gone.to {
            return remark(format!("#{} {why}", gone.from.0));
        }
        remark(format!("#{}–#{} {why}", gone.from.0, gone.to.0))
    }

    fn cursor(&mut self, cursor: &v1::CursorEvent) -> Option<Row> {
        let offset = Offset(cursor.offset);
        if !self.here(&cursor.conversation) || self.own == Offset(0) || offset < self.own {
            return None;
        }
        let Some(user) = UserId::from_slice(&cursor.user) else {
            return Some(remark(format!("✓✓ read by {} more", cursor.count)));
        };
        if user == self.me || self.read_by.contains(&user) {
            return None;
        }
        self.read_by.push(user);
        Some(remark(format!("✓✓ #{} read by {}", self.own.0, self.names.show(user))))
    }

    fn typing(&mut self, now: Instant, typing: &v1::TypingEvent) {
        let Some(user) = UserId::from_slice(&typing.user).filter(|u| *u != self.me) else { return };
        if !self.here(&typing.conversation) || !typing.active {
            self.typing.remove(&user);
        } else if self.typing.len() < 100 {
            self.typing.insert(user, now + TYPING);
        }
    }

    fn presence(&mut self, presence: &v1::PresenceEvent) -> Option<Row> {
        let user = UserId::from_slice(&presence.user).filter(|u| *u != self.me)?;
        self.names.get(user)?;
        let state = presence.state.as_known()?;
        let word = match state {
            PresenceState::PRESENCE_STATE_ONLINE => "online",
            PresenceState::PRESENCE_STATE_AWAY => "away",
            PresenceState::PRESENCE_STATE_OFFLINE => "offline",
            _ => return None,
        };
        let before = self.presence.insert(user, state);
        (before != Some(state)).then(|| remark(format!("{} is {word}", self.names.show(user))))
    }

    fn user_event(&self, event: &v1::UserEvent) -> Option<Row> {
        match event.event.as_ref()? {
            v1::user_event::Event::Warning(w) => Some(warning(printable(&w.text))),
            v1::user_event::Event::ConversationChanged(c) if self.here(&c.conversation) => {
                Some(remark(format!("the conversation is called {} now", printable(&c.name))))
            }
            v1::user_event::Event::AddedTo(a) if !self.here(&a.conversation) => Some(remark(if a.request {
                "somebody new wants to talk to you in another conversation"
            } else {
                "you were added to another conversation"
            })),
            v1::user_event::Event::Invited(i) => {
                Some(remark(format!("you are invited to the group {}", printable(&i.name))))
            }
            v1::user_event::Event::RequestAnswered(r) if self.here(&r.conversation) => {
                let accepted = r.answer.as_known() == Some(v1::RequestAnswer::REQUEST_ANSWER_ACCEPTED);
                Some(remark(if accepted { "the conversation is accepted" } else { "the request is deleted" }))
            }
            v1::user_event::Event::BlockChanged(b) => {
                let user = UserId::from_slice(&b.user)?;
                let word = if b.blocked { "blocked" } else { "unblocked" };
                Some(remark(format!("you {word} {}", self.names.show(user))))
            }
            v1::user_event::Event::KeysChanged(k) => {
                let user = UserId::from_slice(&k.user)?;
                Some(warning(format!("the keys of {} changed", self.names.show(user))))
            }
            _ => None,
        }
    }

    /// Who types, for the prompt.
    pub fn status(&mut self, now: Instant) -> String {
        self.typing.retain(|_, until| *until > now);
        let mut names: Vec<_> = self.typing.keys().map(|u| self.names.show(*u)).collect();
        names.sort();
        match names.as_slice() {
            [] => String::new(),
            [one] => format!("{one} is typing…"),
            [one, two] => format!("{one} and {two} are typing…"),
            several => format!("{} people are typing…", several.len()),
        }
    }

    /// When the status changes by itself.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.typing.values().min().copied()
    }

    /// Who is there, as far as they show it.
    pub fn who(&self) -> Row {
        let mut rows: Vec<_> = self
            .names
            .users()
            .map(|u| {
                let state = match self.presence.get(&u) {
                    _ if u == self.me => " (you)",
                    Some(PresenceState::PRESENCE_STATE_ONLINE) => " (online)",
                    Some(PresenceState::PRESENCE_STATE_AWAY) => " (away)",
                    _ => "",
                };
                format!("{}{state}", self.names.show(u))
            })
            .collect();
        rows.sort();
        remark(rows.join(", "))
    }

    fn here(&self, conversation: &[u8]) -> bool {
        ConversationId::from_slice(conversation) == Some(self.conversation)
    }

    fn name_look(&self, user: UserId) -> Look {
        Look::Name((user.spread() % 6) as u8)
    }
}

fn notice_row(notice: &notice::Notice) -> Row {
    match notice {
        notice::Notice::Draining(_) => remark("the relay restarts; the conversation goes on in a moment"),
        notice::Notice::Warning(w) => warning(printable(&w.text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_client::{DeviceId, Generation, Position, PublishKey};

    const C: ConversationId = ConversationId([1; 16]);
    const ME: UserId = UserId([2; 16]);
    const BOB: UserId = UserId([3; 16]);

    fn delivery(sender: UserId, offset: u64, body: &str) -> Delivery {
        Delivery {
            conversation: C,
            position: Position { generation: Generation(1), offset: Offset(offset) },
            kind: kind::MESSAGE,
            sender,
            device: DeviceId([4; 16]),
            at: 0,
            relates_to: None,
            expires_at: None,
            stamp: None,
            body: body.as_bytes().to_vec().into(),
            publish_key: PublishKey([5; 16]),
            own: sender == ME,
        }
    }

    fn text(row: Option<Row>) -> String {
        row.into_iter().flatten().map(|s| s.text).collect()
    }

    fn read(user: UserId, offset: u64) -> Event {
        let (conversation, user) = (C.to_bytes(), user.to_bytes());
        Event::Cursor(v1::CursorEvent { conversation, user, offset, ..Default::default() })
    }

    #[test]
    fn a_message_shows_its_sender_and_cannot_forge_another() {
        let mut view = View::new(C, Names::default(), ME);
        let said = text(
            view.event(Instant::now(), &Event::Delivery(delivery(BOB, 7, "hi\r\x1b[A12:00 #8 Alice: x"))),
        );
        assert!(said.contains("#7 user 03030303: hi \u{fffd}[A12:00"), "{said}");
        assert_eq!(view.newest, Offset(7));
    }

    #[test]
    fn a_receipt_shows_once_per_reader_and_only_for_own_messages() {
        let (mut view, now) = (View::new(C, Names::default(), ME), Instant::now());
        assert_eq!(view.event(now, &read(BOB, 9)), None, "nothing said yet");
        view.event(now, &Event::Delivery(delivery(ME, 10, "mine")));
        assert_eq!(view.event(now, &read(BOB, 9)), None);
        assert!(text(view.event(now, &read(BOB, 10))).contains("read by user 03030303"));
        assert_eq!(view.event(now, &read(BOB, 10)), None);
        assert_eq!(view.event(now, &read(ME, 10)), None);
    }

    #[test]
    fn a_first_contact_says_what_can_be_done() {
        let view = View::new(C, Names::default(), ME);
        assert!(text(request("received")).contains("/accept"));
        assert_eq!(request("another"), None);
        let answer = v1::RequestAnswer::REQUEST_ANSWER_ACCEPTED.into();
        let answered = v1::RequestAnswered { conversation: C.to_bytes(), answer, ..Default::default() };
        let event = v1::UserEvent { event: Some(answered.into()), ..Default::default() };
        assert!(text(view.user_event(&event)).contains("accepted"));
    }

    #[test]
    fn typing_ends_by_itself_and_with_the_message() {
        let (mut view, now) = (View::new(C, Names::default(), ME), Instant::now());
        let (conversation, user) = (C.to_bytes(), BOB.to_bytes());
        let typing =
            Event::Typing(v1::TypingEvent { conversation, user, active: true, ..Default::default() });
        view.event(now, &typing);
        assert_eq!(view.status(now), "user 03030303 is typing…");
        assert_eq!(view.status(now + TYPING), "");
        view.event(now, &typing);
        view.event(now, &Event::Delivery(delivery(BOB, 1, "done")));
        assert_eq!(view.status(now), "");
    }
}
