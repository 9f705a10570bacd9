//! The user's own stream and read cursors. Promises: user events dense and in order, cursors never go back.

use schema_wire::UserId;
use schema_wire::v1::{CursorEvent, UserEvent};

use super::view::talk;
use super::{At, Model};
use crate::store::SimStore;

impl Model {
    pub(super) fn user_event(&mut self, at: At, event: &UserEvent, store: &SimStore) {
        let view = &mut self.views[at.link];
        let Some(next) = view.user_next.filter(|_| view.welcomed_us.is_some()) else {
            let text = self.say(at.link, "a user event before Welcome");
            return self.violate(at.now, "user events", text);
        };
        view.user_next = Some(next + 1);
        let user = view.user;
        if event.offset != next {
            let text = self.say(at.link, format!("user event {} where {next} was due", event.offset));
            return self.violate(at.now, "user events", text);
        }
        let events = &store.accounts[&user].events;
        if events.get(next as usize - 1) != Some(event) {
            let text = self.say(at.link, format!("user event {next} is not what the store has"));
            self.violate(at.now, "user events", text);
        }
    }

    pub(super) fn cursor_event(&mut self, at: At, event: &CursorEvent, store: &SimStore) {
        let conversation = talk(&event.conversation);
        self.check_watching(at, conversation, store);
        self.check_accepted(at, conversation, store);
        let Some(user) = UserId::from_slice(&event.user) else { return };
        self.check_apart(at, user, store);
        let truth = store.cursors.get(&(user, conversation)).copied().unwrap_or(0);
        let seen = self.views[at.link].cursors_seen.entry((conversation, user)).or_default();
        let before = *seen;
        *seen = before.max(event.offset);
        if event.offset < before || event.offset > truth {
            let text = format!("cursor {} after {before}, the store has {truth}", event.offset);
            self.violate(at.now, "cursors never go back", self.say(at.link, text));
        }
    }
}
