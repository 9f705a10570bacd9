//! What a device does because it must: connect and resume, subscribe, publish again, refresh its token, ping.

use schema_wire::publication::kind;
use schema_wire::v1;
use schema_wire::{ConversationId, Disconnect};

use super::{Client, Fate, Follow, Mine, Wanted};
use crate::clock::{MS, S, unix_ms};
use crate::world::World;

/// Own messages under way at once.
const UNDER_WAY_MAX: usize = 4;

impl World {
    /// A device looks at what to do next.
    pub fn client_wake(&mut self, device: usize) {
        let pace = self.plan.rates.wake_us;
        let next = self.now + pace / 2 + self.rng.below(pace);
        self.queue.at(next, crate::queue::Happening::Wake { device });
        if self.clients[device].dead {
            return;
        }
        let Some(link) = self.clients[device].link else {
            if self.now >= self.clients[device].retry_us {
                self.dial(device);
            }
            return;
        };
        if self.silent_for_too_long(device, link) || !self.clients[device].ready {
            return;
        }
        if !self.weather.healed {
            self.client_whim(device, link);
        }
        if self.clients[device].link == Some(link) {
            self.follow_talks(device, link);
            self.send_waiting(device, link);
            self.refresh_token(device, link);
        }
    }

    fn dial(&mut self, device: usize) {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].up).collect();
        if up.is_empty() {
            return;
        }
        let node = self.rng.pick(&up);
        let shard = self.rng.index(self.plan.shards);
        let link = self.connect(device, node, shard);
        self.new_token(device);
        let limit = self.plan.limits.resume;
        let fresh = self.rng.chance(500);
        let now = self.now;
        let client = &mut self.clients[device];
        client.link = Some(link);
        client.ready = false;
        client.heard_us = now;
        client.pinged_us = now;
        client.next_request += 1;
        if client.user_position.is_none() && fresh {
            client.user_position = Some((1, 0));
        }
        let resume: Vec<v1::Resume> = client
            .talks
            .iter_mut()
            .filter(|(_, t)| t.member && t.position.is_some())
            .take(limit)
            .map(|(conversation, talk)| {
                talk.follow = Follow::Asked;
                let (generation, offset) = talk.position.expect("filtered above");
                let after = v1::Position { generation, offset, ..Default::default() }.into();
                v1::Resume { conversation: conversation.to_bytes(), after, ..Default::default() }
            })
            .collect();
        let position = client.user_position.map(|(generation, offset)| v1::Position {
            generation,
            offset,
            ..Default::default()
        });
        let (issued, expires) = client.token;
        let hello = v1::Hello {
            versions: vec![1],
            token: format!("{}.{device}.{issued}.{expires}", client.user_index),
            user_position: position.map_or_else(Default::default, Into::into),
            resume,
            ..Default::default()
        };
        let request = client.next_request;
        let frame = v1::ClientFrame { request, body: Some(hello.into()), ..Default::default() };
        self.send_up(link, frame);
    }

    /// The console hands out a token, unless the present one is good for a while.
    fn new_token(&mut self, device: usize) {
        let now_s = unix_ms(self.now) / 1000;
        let revoked = self.store.accounts[&self.clients[device].user].tokens_not_before;
        let (issued, expires) = self.clients[device].token;
        if expires < now_s + 3 || issued < revoked {
            self.clients[device].token = (now_s.max(revoked), now_s + self.plan.token_s);
        }
    }

    fn refresh_token(&mut self, device: usize, link: usize) {
        let now_s = unix_ms(self.now) / 1000;
        let (_, expires) = self.clients[device].token;
        if expires > now_s + 2 || !self.rng.chance(200) {
            return;
        }
        self.clients[device].token = (now_s, now_s + self.plan.token_s);
        let token =
            format!("{}.{device}.{now_s}.{}", self.clients[device].user_index, now_s + self.plan.token_s);
        let refresh = v1::Refresh { token, ..Default::default() };
        let frame = self.clients[device].frame(Wanted::Other, refresh);
        self.send_up(link, frame);
    }

    fn silent_for_too_long(&mut self, device: usize, link: usize) -> bool {
        let idle_us = self.plan.limits.idle_ms * MS;
        let stalled = self.now < self.links[link].stalled_until;
        let client = &mut self.clients[device];
        if client.heard_us + idle_us < self.now && !stalled {
            client.lose_link(self.now + 10 * MS);
            self.hang_up(link);
            return true;
        }
        if client.ready && client.pinged_us + idle_us / 3 < self.now {
            client.pinged_us = self.now;
            let frame = client.frame(Wanted::Other, v1::Ping::default());
            self.send_up(link, frame);
        }
        false
    }

    fn follow_talks(&mut self, device: usize, link: usize) {
        let now = self.now;
        let due = self.clients[device].talks.iter();
        let due = due.filter(|(_, t)| t.member && t.follow == Follow::No && t.retry_us <= now);
        let due: Vec<ConversationId> = due.map(|(id, _)| *id).collect();
        for conversation in due {
            let from_now = !self.weather.healed && self.rng.chance(100);
            let client = &mut self.clients[device];
            let talk = client.talk(conversation);
            talk.follow = Follow::Asked;
            let after = match talk.position {
                None if from_now => None,
                position => position.or(Some((1, 0))),
            };
            if after.is_some() {
                talk.position = after;
            }
            let position =
                after.map(|(generation, offset)| v1::Position { generation, offset, ..Default::default() });
            let subscribe = v1::Subscribe {
                conversation: conversation.to_bytes(),
                after: position.map_or_else(Default::default, Into::into),
                ..Default::default()
            };
            let frame = client.frame(Wanted::Subscribe(conversation), subscribe);
            self.send_up(link, frame);
        }
    }

    fn send_waiting(&mut self, device: usize, link: usize) {
        let now = self.now;
        let client = &mut self.clients[device];
        let under_way = client.messages.iter().filter(|m| m.fate == Fate::Sent).count();
        let room = UNDER_WAY_MAX.saturating_sub(under_way);
        let due = |m: &Mine| matches!(m.fate, Fate::Waiting { retry_us } if retry_us <= now);
        let due: Vec<usize> =
            (0..client.messages.len()).filter(|i| due(&client.messages[*i])).take(room).collect();
        for index in due {
            let client = &mut self.clients[device];
            client.messages[index].fate = Fate::Sent;
            let mine = client.messages[index].clone();
            let frame = client.publish_frame(index, &mine);
            self.send_up(link, frame);
        }
    }

    /// The device learns that its connection is gone.
    pub fn client_closed(&mut self, link: usize, with: Option<Disconnect>) {
        self.links[link].client_open = false;
        let device = self.links[link].device;
        if self.clients[device].link != Some(link) {
            return;
        }
        let wait = match with {
            Some(code) if !code.reconnect() => 600 * MS,
            _ => self.rng.between(5, 200) * MS,
        };
        self.clients[device].lose_link(self.now + wait);
        if with == Some(Disconnect::TokenExpired) {
            self.clients[device].token = (0, 0);
        }
        let account = &self.store.accounts[&self.clients[device].user];
        if account.devices.get(&self.clients[device].id) == Some(&false) {
            self.clients[device].dead = true;
        }
    }
}

impl Client {
    fn publish_frame(&mut self, index: usize, mine: &Mine) -> v1::ClientFrame {
        let (conversation, publish_key) = (mine.conversation.to_bytes(), mine.key.to_bytes());
        let body = bytes::Bytes::from(mine.body.clone());
        if mine.kind == kind::RING {
            let ring = v1::Ring { conversation, publish_key, body, ..Default::default() };
            return self.frame(Wanted::Publish(index), ring);
        }
        let publish = v1::Publish {
            conversation,
            publish_key,
            kind: mine.kind,
            relates_to: mine.relates_to,
            expires_in: mine.expires_in,
            body,
            ..Default::default()
        };
        self.frame(Wanted::Publish(index), publish)
    }
}

/// A pause before something is tried again, in microseconds.
pub(super) fn pause_us(retry_after_ms: u32) -> u64 {
    (u64::from(retry_after_ms) * MS).clamp(20 * MS, 3 * S)
}
