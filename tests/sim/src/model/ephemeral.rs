//! Typing and presence. Promises: only to those who watch and may, no more about a person than they show, and in the end,
//! on whatever node, what they show.

use schema_wire::v1::{PresenceEvent, PresenceState, TypingEvent};
use schema_wire::{ConversationId, UserId};

use super::view::talk;
use super::{At, Model};
use crate::store::SimStore;

impl Model {
    pub(super) fn check_watching(&mut self, at: At, conversation: ConversationId, store: &SimStore) {
        let view = &self.views[at.link];
        let watches = view.watched_conversations.contains(&conversation);
        let member = self.lately_member(store, view.emptied_us, view.user, conversation);
        if !watches || !member {
            let text = format!("ephemeral event, watching: {watches}, member: {member}");
            self.violate(at.now, "only to those who watch", self.say(at.link, text));
        }
    }

    pub(super) fn typing_event(&mut self, at: At, event: &TypingEvent, store: &SimStore) {
        let conversation = talk(&event.conversation);
        self.check_watching(at, conversation, store);
        self.check_accepted(at, conversation, store);
        let Some(user) = UserId::from_slice(&event.user) else { return };
        self.check_apart(at, user, store);
        // It may have waited in the outbox since.
        let queued_us = self.views[at.link].emptied_us;
        if !self.lately_member(store, queued_us, user, conversation) {
            let text = self.say(at.link, "somebody who is no member types");
            self.violate(at.now, "only to those who watch", text);
        }
    }

    pub(super) fn presence_event(&mut self, at: At, event: &PresenceEvent, store: &SimStore) {
        let Some(user) = UserId::from_slice(&event.user) else {
            let text = self.say(at.link, "presence of nobody");
            return self.violate(at.now, "only to those who watch", text);
        };
        self.check_apart(at, user, store);
        let view = &self.views[at.link];
        let watches = view.watched_users.contains(&user);
        let ever =
            store.logs.values().any(|l| l.members.contains_key(&user) && l.members.contains_key(&view.user));
        if !watches || !ever {
            let text = format!("presence, watching: {watches}, acquainted: {ever}");
            self.violate(at.now, "only to those who watch", self.say(at.link, text));
        }
        let shown = event.state.as_known().unwrap_or_default();
        let view = &mut self.views[at.link];
        if view.named_users.contains(&user) {
            view.shown.insert(user, shown);
        }
    }

    /// Whether somebody was last shown something else of an acquaintance they named than the acquaintance shows, on all
    /// nodes together, or nothing. Only where nothing ephemeral is dropped.
    pub fn presence_behind(&self, store: &SimStore) -> Option<String> {
        if !self.roomy {
            return None;
        }
        self.views.iter().filter(|view| view.open).find_map(|view| {
            let seen = |user: &&UserId| **user != view.user && store.acquainted(view.user, **user);
            let differs = |user: &&UserId| view.shown.get(user) != Some(&self.shows(**user));
            let user = view.named_users.iter().filter(seen).find(differs)?;
            let (index, shown) = (crate::id::index(&user.0), view.shown.get(user));
            let text = format!("was last shown {shown:?} of u{index}, who is {:?}", self.shows(*user));
            Some(self.say(view.link, text))
        })
    }

    fn shows(&self, user: UserId) -> PresenceState {
        type P = PresenceState;
        let sessions: Vec<P> = self
            .views
            .iter()
            .filter(|view| view.open && view.welcomed_us.is_some() && view.user == user)
            .map(|view| view.shows)
            .collect();
        match [P::Hidden, P::Online, P::Away].into_iter().find(|state| sessions.contains(state)) {
            Some(P::Hidden) | None => P::Offline,
            Some(shown) => shown,
        }
    }
}
