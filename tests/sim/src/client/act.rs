//! What a device does on a whim: publish, delete, read, type, watch, page, leave and fall silent.

use schema_wire::publication::kind;
use schema_wire::v1;
use schema_wire::{ConversationId, UserId};

use super::{Client, Fate, Follow, Mine, Seen, WAITING_MAX, Wanted};
use crate::clock::MS;
use crate::id;
use crate::world::World;

impl World {
    /// One whim of a device that is connected.
    pub(super) fn client_whim(&mut self, device: usize, link: usize) {
        let rates = self.plan.rates;
        if self.rng.chance(rates.disconnect) {
            self.hang_up(link);
            self.clients[device].lose_link(self.now + 20 * MS);
            return;
        }
        if self.rng.chance(rates.half_open) {
            self.links[link].half_open = true;
            return;
        }
        if self.rng.chance(rates.stall) {
            self.links[link].stalled_until = self.now + self.rng.between(200, 2_500) * MS;
            self.links[link].ever_stalled = true;
            return;
        }
        let came_to =
            self.clients[device].came_to.take().filter(|_| self.plan.signals && self.plan.polls_apart);
        if let Some(conversation) = came_to {
            // Rings at once, perhaps before every shard heard who came.
            return self.signal(device, link, conversation);
        }
        match self.rng.below(100) {
            0..45 => self.write(device),
            45..50 => self.write_again(device),
            50..60 => self.move_cursor(device, link),
            60..72 => self.type_or_show(device, link),
            72..78 => self.watch(device, link),
            78..84 => self.page(device, link),
            84..86 => self.unfollow(device, link),
            86..98 if self.plan.signals => {
                let member = !self.rng.chance(50);
                if let Some(conversation) = self.any_talk(device, member) {
                    self.signal(device, link, conversation);
                }
            }
            _ => {}
        }
    }

    fn any_talk(&mut self, device: usize, member: bool) -> Option<ConversationId> {
        let talks = self.clients[device].talks.iter().filter(|(_, t)| t.member == member);
        let ids: Vec<ConversationId> = talks.map(|(id, _)| *id).collect();
        (!ids.is_empty()).then(|| self.rng.pick(&ids))
    }

    /// Writes a message; upkeep sends it until it is acked or refused for good.
    fn write(&mut self, device: usize) {
        let stranger = self.rng.chance(30);
        let Some(conversation) = self.any_talk(device, !stranger) else { return };
        let waiting = self.clients[device]
            .messages
            .iter()
            .filter(|m| matches!(m.fate, Fate::Waiting { .. } | Fate::Sent))
            .count();
        if waiting >= WAITING_MAX {
            return;
        }
        let serial = self.clients[device].messages.len() as u32;
        let mut mine = Mine {
            key: id::key(device, serial, self.salt),
            conversation,
            kind: self.rng.pick(&[kind::MESSAGE, kind::MESSAGE, kind::CLIENT_MIN]),
            relates_to: None,
            expires_in: None,
            body: format!("d{device}-{serial}{}", "~".repeat(self.rng.index(24))),
            fate: Fate::Waiting { retry_us: 0 },
        };
        match self.rng.below(20) {
            0..3 => {
                let messages = self.clients[device].talks[&conversation].seen.iter();
                let there = messages.rev().filter(|(_, s)| matches!(s, Seen::Message(_))).map(|(o, _)| *o);
                let there: Vec<u64> = there.take(8).collect();
                if !there.is_empty() {
                    mine.kind = kind::DELETE;
                    mine.relates_to = Some(self.rng.pick(&there));
                }
            }
            3..5 => mine.expires_in = Some(self.rng.between(1, 2) as u32),
            5 => mine.kind = kind::RING,
            6 if self.plan.limits.body_bytes < 1024 => mine.body.push_str(&"x".repeat(80)),
            _ => {}
        }
        self.clients[device].messages.push(mine);
    }

    /// Sends an acked message once more, as a client does whose ack came too late.
    fn write_again(&mut self, device: usize) {
        let messages = &self.clients[device].messages;
        let acked: Vec<usize> =
            (0..messages.len()).filter(|i| matches!(messages[*i].fate, Fate::Acked { .. })).collect();
        if !acked.is_empty() {
            let index = self.rng.pick(&acked);
            self.clients[device].messages[index].fate = Fate::Waiting { retry_us: 0 };
        }
    }

    fn move_cursor(&mut self, device: usize, link: usize) {
        let Some(conversation) = self.any_talk(device, true) else { return };
        let (_, head) = self.clients[device].talks[&conversation].position.unwrap_or((0, 0));
        if head == 0 {
            return;
        }
        let offset = self.rng.between(head.saturating_sub(3).max(1), head);
        let share = self.rng.chance(700);
        let cursor =
            v1::Cursor { conversation: conversation.to_bytes(), offset, share, ..Default::default() };
        let frame = self.clients[device].frame(Wanted::Other, cursor);
        self.send_up(link, frame);
    }

    fn type_or_show(&mut self, device: usize, link: usize) {
        let frame = if self.rng.chance(600) {
            let member = !self.rng.chance(50);
            let Some(conversation) = self.any_talk(device, member) else { return };
            let active = self.rng.chance(600);
            Client::silent(v1::Typing { conversation: conversation.to_bytes(), active, ..Default::default() })
        } else {
            type State = v1::PresenceState;
            let state = self.rng.pick(&[State::Online, State::Away, State::Hidden, State::Online]);
            Client::silent(v1::Presence { state: state.into(), ..Default::default() })
        };
        for _ in 0..self.rng.between(1, 3) {
            self.send_up(link, frame.clone());
        }
    }

    /// Sends a few signals, each with a body that nobody else sends.
    fn signal(&mut self, device: usize, link: usize, conversation: ConversationId) {
        for _ in 0..self.rng.between(1, 4) {
            let serial = self.clients[device].signals;
            self.clients[device].signals += 1;
            let mut body = format!("s{device}-{serial}");
            if self.plan.limits.signal_bytes < 1024 && self.rng.chance(30) {
                body.push_str(&"x".repeat(80));
            }
            let (conversation, body) = (conversation.to_bytes(), body.into_bytes().into());
            self.send_up(link, Client::silent(v1::Signal { conversation, body, ..Default::default() }));
        }
    }

    fn watch(&mut self, device: usize, link: usize) {
        let talks: Vec<ConversationId> = self.clients[device].talks.keys().copied().collect();
        let most = self.plan.limits.watched_conversations.min(talks.len());
        let conversations = talks.iter().take(most).filter(|_| self.rng.chance(700)).map(|c| c.to_bytes());
        let conversations = conversations.collect();
        let users: Vec<UserId> = (0..self.plan.users).map(|u| id::user(u, self.salt)).collect();
        let most = self.plan.limits.watched_users;
        let users = users.iter().filter(|_| self.rng.chance(600)).take(most).map(|u| u.to_bytes()).collect();
        let watch = v1::Watch { conversations, users, ..Default::default() };
        let frame = self.clients[device].frame(Wanted::Other, watch);
        self.send_up(link, frame);
    }

    fn page(&mut self, device: usize, link: usize) {
        let former = self.rng.chance(100);
        let Some(conversation) = self.any_talk(device, !former) else { return };
        let head = self.clients[device].talks[&conversation].head;
        let recover = v1::Recover {
            conversation: conversation.to_bytes(),
            from: self.rng.between(1, head + 1),
            limit: self.rng.between(0, 12) as u32,
            backwards: self.rng.chance(400),
            ..Default::default()
        };
        let frame = self.clients[device].frame(Wanted::Other, recover);
        self.send_up(link, frame);
    }

    fn unfollow(&mut self, device: usize, link: usize) {
        let Some(conversation) = self.any_talk(device, true) else { return };
        let now = self.now;
        let talk = self.clients[device].talk(conversation);
        if talk.follow != Follow::Live {
            return;
        }
        talk.follow = Follow::No;
        talk.retry_us = now + 300 * MS;
        let unsubscribe = v1::Unsubscribe { conversation: conversation.to_bytes(), ..Default::default() };
        let frame = self.clients[device].frame(Wanted::Other, unsubscribe);
        self.send_up(link, frame);
    }
}
