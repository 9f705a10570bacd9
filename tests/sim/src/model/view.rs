//! What one session was asked and told, as seen at the mouth of its outbox.

use std::collections::{BTreeMap, BTreeSet};

use relay_proto::event::Claims;
use schema_wire::v1::{ClientFrame, PresenceState, Refusal, client_frame::Body};
use schema_wire::{ConversationId, Disconnect, PublishKey, UserId};

use super::{At, Model};
use crate::queue::Place;

/// A subscription that was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub request: u64,
    pub conversation: ConversationId,
    pub after: Option<(u32, u64)>,
    pub sent_us: u64,
}

/// A subscription as told.
#[derive(Clone, Debug)]
pub struct Live {
    /// The request that asked for it, which tells it from another one of the session.
    pub request: u64,
    /// Next offset due.
    pub next: u64,
    /// When the client asked.
    pub sent_us: u64,
    /// Head when it began.
    pub head: u64,
}

/// A request that is owed an answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Request {
    Publish(PublishKey),
    Recover { conversation: ConversationId, from: u64, backwards: bool },
    Cursor { conversation: ConversationId, offset: u64 },
    Other,
}

/// One session.
#[derive(Clone, Debug)]
pub struct View {
    pub link: usize,
    pub device: usize,
    pub user: UserId,
    pub place: Place,
    pub open: bool,
    pub opened_us: u64,
    pub heard_us: u64,
    /// When its outbox was last seen empty: whatever leaves later was put there later.
    pub emptied_us: u64,
    pub claims: Option<Claims>,
    pub verified_us: Option<u64>,
    pub refreshing: bool,
    pub welcomed_us: Option<u64>,
    pub noticed: bool,
    pub closed: Option<(u64, Disconnect)>,
    pub asked: Vec<Asked>,
    pub live: BTreeMap<ConversationId, Live>,
    /// Requests without an answer, with the time they were sent.
    pub requests: BTreeMap<u64, (Request, u64)>,
    pub sent_keys: BTreeSet<PublishKey>,
    pub watched_conversations: BTreeSet<ConversationId>,
    pub watched_users: BTreeSet<UserId>,
    /// Those it last said it watches.
    pub named_users: BTreeSet<UserId>,
    /// What it shows of its user.
    pub shows: PresenceState,
    /// What it was last shown of them.
    pub shown: BTreeMap<UserId, PresenceState>,
    /// Next user event due; `None`: from the head that Welcome names.
    pub user_next: Option<u64>,
    pub cursors_seen: BTreeMap<(ConversationId, UserId), u64>,
}

impl View {
    /// A session that has not begun.
    pub fn new(link: usize, device: usize, user: UserId, place: Place) -> Self {
        Self {
            link,
            device,
            user,
            place,
            open: false,
            opened_us: 0,
            heard_us: 0,
            emptied_us: 0,
            claims: None,
            verified_us: None,
            refreshing: false,
            welcomed_us: None,
            noticed: false,
            closed: None,
            asked: Vec::new(),
            live: BTreeMap::new(),
            requests: BTreeMap::new(),
            sent_keys: BTreeSet::new(),
            watched_conversations: BTreeSet::new(),
            watched_users: BTreeSet::new(),
            named_users: BTreeSet::new(),
            shows: PresenceState::default(),
            shown: BTreeMap::new(),
            user_next: None,
            cursors_seen: BTreeMap::new(),
        }
    }

    /// The subscription that is caught up with a conversation, by the request that asked for it.
    pub(super) fn following(&self, conversation: ConversationId) -> Option<u64> {
        self.live.get(&conversation).filter(|l| l.next > l.head).map(|l| l.request)
    }
}

pub(super) fn talk(bytes: &[u8]) -> ConversationId {
    ConversationId::from_slice(bytes).unwrap_or_default()
}

impl Model {
    pub(super) fn note_received(
        &mut self,
        link: usize,
        now: u64,
        sent_us: u64,
        frame: &ClientFrame,
        draining: bool,
    ) {
        let view = &mut self.views[link];
        let request = frame.request;
        let mut owed = Request::Other;
        match frame.body.as_ref().expect("clients send bodies") {
            Body::Hello(hello) => {
                view.user_next = hello.user_position.as_option().map(|p| p.offset + 1);
                for resume in &hello.resume {
                    let after = resume.after.as_option().map(|p| (p.generation, p.offset));
                    let conversation = talk(&resume.conversation);
                    view.asked.push(Asked { request, conversation, after, sent_us });
                }
                return;
            }
            Body::Subscribe(subscribe) => {
                let after = subscribe.after.as_option().map(|p| (p.generation, p.offset));
                let conversation = talk(&subscribe.conversation);
                view.asked.push(Asked { request, conversation, after, sent_us });
            }
            Body::Publish(publish) => {
                let key = PublishKey::from_slice(&publish.publish_key).unwrap_or_default();
                owed = Request::Publish(key);
                view.sent_keys.insert(key);
                let following = view.following(talk(&publish.conversation));
                self.ledger.attempt(key, link, request, now, following, draining);
            }
            Body::Ring(ring) => {
                let key = PublishKey::from_slice(&ring.publish_key).unwrap_or_default();
                owed = Request::Publish(key);
                view.sent_keys.insert(key);
                let following = view.following(talk(&ring.conversation));
                self.ledger.attempt(key, link, request, now, following, draining);
            }
            Body::Recover(recover) => {
                let (conversation, from) = (talk(&recover.conversation), recover.from);
                owed = Request::Recover { conversation, from, backwards: recover.backwards };
            }
            Body::Cursor(cursor) => {
                owed = Request::Cursor { conversation: talk(&cursor.conversation), offset: cursor.offset };
            }
            Body::Watch(watch) => {
                view.watched_conversations.extend(watch.conversations.iter().map(|c| talk(c)));
                let users = watch.users.iter().map(|u| UserId::from_slice(u).unwrap_or_default());
                view.named_users = users.collect();
                view.watched_users.extend(&view.named_users);
                view.shown.retain(|user, _| view.named_users.contains(user));
            }
            Body::Refresh(_) => view.refreshing = true,
            Body::Typing(_) => return,
            Body::Presence(presence) => {
                view.shows = presence.state.as_known().unwrap_or_default();
                return;
            }
            Body::Signal(signal) => return self.signal_sent(link, signal),
            _ => {}
        }
        self.views[link].requests.insert(request, (owed, sent_us));
    }

    /// An answer without further meaning.
    pub(super) fn answered(&mut self, at: At) {
        self.take_request(at);
    }

    /// The request a frame answers. Answering nothing, or twice, breaks the protocol.
    pub(super) fn take_request(&mut self, at: At) -> Option<(Request, u64)> {
        let found = self.views[at.link].requests.remove(&at.answers);
        if found.is_none() {
            let text = self.say(at.link, format!("answers request {} which is not open", at.answers));
            self.violate(at.now, "answers", text);
        }
        found
    }

    pub(super) fn refusal(&mut self, at: At, refusal: &Refusal) {
        let conversation = talk(&refusal.conversation);
        let view = &mut self.views[at.link];
        view.asked.retain(|a| {
            a.request != at.answers || !(refusal.conversation.is_empty() || a.conversation == conversation)
        });
        let Some((request, _)) = view.requests.remove(&at.answers) else { return };
        if let Request::Publish(key) = request
            && let Some(what) = self.ledger.refused(key, at.link, at.answers)
        {
            let text = self.say(at.link, format!("refused with {}, {what}", refusal.code));
            self.violate(at.now, "refused is not stored", text);
        }
    }
}
