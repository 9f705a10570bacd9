//! What the model looks at from above: bounds after each event, sessions that must be gone, and whether everything has
//! caught up once faults stopped.

use schema_wire::ConversationId;
use schema_wire::publication::kind;
use schema_wire::record::UserStatus;

use crate::client::{Client, Fate, Follow, Seen, Talk, WAITING_MAX};
use crate::clock::S;
use crate::queue::Place;

use super::World;

/// Largest frame that these worlds make, in bytes, pages of history aside.
const FRAME_BYTES_MAX: usize = 400;
/// Largest page: as many messages as are asked for at once.
const PAGE_BYTES_MAX: usize = 50 * FRAME_BYTES_MAX;

impl World {
    /// Every queue within its bound.
    pub(super) fn check_bounds(&mut self, place: Place) {
        let node = &self.nodes[place.node];
        let shard = &node.slots[place.shard].shard;
        let counts = shard.counts();
        let limits = &self.plan.limits;
        let frames = limits.outbox_frames + limits.outbox_ephemeral;
        // One frame may be larger than the bound when it is alone.
        let bytes = limits.outbox_bytes + FRAME_BYTES_MAX;
        let mut full = None;
        for (id, link) in node.sessions.iter().filter(|(id, _)| usize::from(id.shard().0) == place.shard) {
            match shard.waiting(*id) {
                Some((0, _)) => self.model.views[*link].emptied_us = self.now,
                Some((1, size)) if size <= PAGE_BYTES_MAX => {}
                Some((waiting, size)) if waiting > frames || size > bytes => full = Some(id),
                _ => {}
            }
        }
        let what = if let Some(id) = full {
            format!("the outbox of {id:?} holds {:?}", shard.waiting(*id))
        } else if counts.sessions > limits.sessions {
            format!("{} sessions", counts.sessions)
        } else if counts.held > limits.held_publications * counts.homes {
            format!("{} publications held for {} conversations", counts.held, counts.homes)
        } else if counts.appends > limits.appends {
            format!("{} appends under way", counts.appends)
        } else if counts.subscriptions > limits.subscriptions * counts.sessions {
            format!("{} subscriptions of {} sessions", counts.subscriptions, counts.sessions)
        } else if counts.standings > limits.standings {
            format!("{} standings", counts.standings)
        } else {
            return;
        };
        let text = format!("node{} shard{}: {what}", place.node, place.shard);
        self.model.violate(self.now, "bounded", text);
    }

    /// Sessions that had to go are gone, drains end.
    pub(super) fn check_access(&mut self) {
        self.model.check_due(self.now);
        for node in 0..self.nodes.len() {
            let honest = self.nodes[node].clock.honest();
            let links: Vec<usize> = self.nodes[node].sessions.values().copied().collect();
            for link in links {
                self.model.check_session_age(link, self.now, honest);
            }
            for shard in 0..self.nodes[node].slots.len() {
                if self.nodes[node].slots[shard].drain_due.is_some_and(|due| due < self.now) {
                    let text = format!("node{node} shard{shard} still drains");
                    self.model.violate(self.now, "drain", text);
                }
            }
        }
    }

    /// Why not everything has caught up, if so.
    pub(super) fn behind(&self) -> Option<String> {
        let client = self.clients.iter().filter(|c| !self.barred(c)).find_map(|c| self.client_behind(c));
        client.or_else(|| self.model.presence_behind(&self.store))
    }

    /// How long the message limit may hold up what the devices of one user have waiting, in microseconds, when half of
    /// it lies with shards that do not need it.
    pub(super) fn limited_us(&self) -> u64 {
        let waiting = |user| {
            let devices = self.plan.devices.iter().filter(|owner| **owner == user).count();
            (devices * WAITING_MAX) as u64
        };
        let most = (0..self.plan.users).map(waiting).max().unwrap_or(0);
        let limits = &self.plan.limits;
        let windows = (2 * most).div_ceil(u64::from(limits.publish_limit));
        windows * u64::from(limits.publish_window_s) * S
    }

    /// Whether the device may not come in, so that nobody brings it up to date.
    fn barred(&self, client: &Client) -> bool {
        let account = &self.store.accounts[&client.user];
        account.status != UserStatus::Active || account.devices.get(&client.id) != Some(&true)
    }

    fn client_behind(&self, client: &Client) -> Option<String> {
        let name = format!("u{} d{}", client.user_index, client.device);
        let Some(link) = client.link.filter(|_| client.ready) else {
            return Some(format!("{name} is not connected"));
        };
        if let Some((request, wanted)) = client.requests.iter().next() {
            return Some(format!("{name} (link {link}): request {request} ({wanted:?}) has no answer"));
        }
        let waits = |fate| matches!(fate, Fate::Waiting { .. } | Fate::Sent);
        if let Some(mine) = client.messages.iter().find(|m| waits(m.fate)) {
            return Some(format!("{name} (link {link}): {} is not acked", mine.body));
        }
        let events = self.store.accounts[&client.user].events.len() as u64;
        if client.user_position.is_none_or(|(_, offset)| offset != events) {
            let at = client.user_position;
            return Some(format!("{name} (link {link}): user events to {at:?}, the store has {events}"));
        }
        self.store.logs.iter().find_map(|(id, log)| {
            let member = log.members.get(&client.user)?.present();
            let talk = client.talks.get(id);
            self.talk_behind(client, link, *id, member, log.head(), talk)
                .map(|why| format!("{name} (link {link}) c{}: {why}", crate::id::index(&id.0)))
        })
    }

    fn talk_behind(
        &self,
        client: &Client,
        link: usize,
        id: ConversationId,
        member: bool,
        head: u64,
        talk: Option<&Talk>,
    ) -> Option<String> {
        if !member {
            let served = self.model.views[link].live.contains_key(&id);
            return served.then(|| "still subscribed though no member".into());
        }
        let live = client.talks.values().filter(|t| t.follow == Follow::Live).count();
        let Some(talk) = talk else { return Some("is not known".into()) };
        if talk.follow != Follow::Live {
            let full = live >= self.plan.limits.subscriptions;
            return (!full).then(|| format!("is not followed ({:?})", talk.follow));
        }
        let position = talk.position.map_or(0, |(_, offset)| offset);
        (position != head).then(|| format!("has {position}, head {head}"))
    }

    /// Everybody has exactly what they may read, and what was acked is there.
    pub(super) fn check_final(&mut self) {
        let clients = std::mem::take(&mut self.clients);
        for client in &clients {
            if self.barred(client) {
                continue;
            }
            for (id, talk) in client.talks.iter().filter(|(_, t)| t.follow == Follow::Live) {
                if let Some(why) = self.talk_differs(client, *id, talk) {
                    let c = crate::id::index(&id.0);
                    let text = format!("u{} d{} c{c}: {why}", client.user_index, client.device);
                    self.model.violate(self.now, "nothing lost", text);
                }
            }
        }
        self.clients = clients;
    }

    fn talk_differs(&self, client: &Client, id: ConversationId, talk: &Talk) -> Option<String> {
        let log = &self.store.logs[&id];
        let member = log.members.get(&client.user).filter(|m| m.present())?;
        for (offset, slot) in (1u64..).zip(&log.slots) {
            let readable = member.reads(offset) && offset > talk.floor;
            match talk.seen.get(&offset) {
                Some(Seen::Message(key)) if *key != slot.message.publish_key => {
                    return Some(format!("{offset} holds another message than the store"));
                }
                None if readable && slot.message.at < crate::clock::unix_ms(self.now) - S / 1000 => {
                    return Some(format!("{offset} was never received"));
                }
                _ => {}
            }
        }
        if let Some((offset, _)) = talk.seen.range(log.head() + 1..).next() {
            return Some(format!("has {offset}, beyond the head {}", log.head()));
        }
        let acked = client.messages.iter().filter(|m| m.conversation == id);
        let acked = acked.filter(|m| matches!(m.fate, Fate::Acked { .. }) && m.kind != kind::RING);
        acked
            .filter(|m| self.store.place_of(client.user, m.key).is_none())
            .map(|m| format!("{} was acked ({:?}) and is not in the store", m.body, m.fate))
            .next()
    }
}
