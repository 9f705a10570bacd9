//! What a device makes of the frames it gets.

use schema_wire::v1::{self, ServerFrame, history_item::Item, server_frame::Body, user_event};
use schema_wire::{ConversationId, PublishKey, Refused};

use super::upkeep::pause_us;
use super::{Client, Fate, Follow, Seen, Wanted};
use crate::clock::MS;
use crate::world::World;

fn talk_id(bytes: &[u8]) -> ConversationId {
    ConversationId::from_slice(bytes).unwrap_or_default()
}

fn key_of(delivery: &v1::Delivery) -> PublishKey {
    PublishKey::from_slice(&delivery.publish_key).unwrap_or_default()
}

impl World {
    /// A frame reaches a device.
    pub fn client_receives(&mut self, link: usize, frame: ServerFrame) {
        let device = self.links[link].device;
        if self.clients[device].link != Some(link) {
            return;
        }
        let now = self.now;
        let client = &mut self.clients[device];
        client.heard_us = now;
        let Some(body) = frame.body else { return };
        let wanted = client.requests.remove(&frame.answers);
        match body {
            Body::Welcome(welcome) => self.greeted(device, &welcome),
            Body::PublishAck(ack) => client.acked(wanted, &ack),
            // Frames of a subscription that was given up do not count: the next one brings them again.
            Body::Delivery(d) if !client.follows(&d.conversation) => {}
            Body::Gone(gone) if !client.follows(&gone.conversation) => {}
            Body::Delivery(delivery) => client.delivered(&delivery),
            Body::Gone(gone) => {
                let conversation = talk_id(&gone.conversation);
                client.note_generation(conversation, gone.generation);
                client.note(conversation, gone.from, gone.to, Seen::Gone);
            }
            Body::Rewound(rewound) => client.rewound(&rewound),
            Body::UserEvent(event) => client.user_event(&event),
            Body::Subscribed(subscribed) => client.subscribed(&subscribed),
            Body::Unsubscribed(unsubscribed) if unsubscribed.code != 0 => {
                let talk = client.talk(talk_id(&unsubscribed.conversation));
                talk.follow = Follow::No;
                talk.retry_us = now + 50 * MS;
            }
            Body::HistoryPage(page) => self.paged(device, link, wanted, &page),
            Body::Refusal(refusal) => self.refused(device, link, wanted, &refusal),
            _ => {}
        }
    }

    fn greeted(&mut self, device: usize, welcome: &v1::Welcome) {
        let client = &mut self.clients[device];
        client.ready = true;
        if client.user_position.is_none() {
            client.user_position = Some((welcome.generation, welcome.user_head));
            // The console's API tells the rest to a device that begins in the middle.
            let user = client.user;
            for (id, log) in &self.store.logs {
                let present = log.members.get(&user).is_some_and(crate::store::Member::present);
                client.talk(*id).member = present;
            }
        }
    }

    fn paged(&mut self, device: usize, link: usize, wanted: Option<Wanted>, page: &v1::HistoryPage) {
        let Some(Wanted::Page(conversation)) = wanted else { return };
        let client = &mut self.clients[device];
        for item in &page.items {
            match &item.item {
                Some(Item::Delivery(delivery)) => {
                    let at = delivery.offset;
                    client.note(conversation, at, at, Seen::Message(key_of(delivery)));
                    client.recognise(delivery);
                }
                Some(Item::Gone(gone)) => client.note(conversation, gone.from, gone.to, Seen::Gone),
                None => {}
            }
        }
        if page.next == 0 || page.next > page.head {
            client.talk(conversation).follow = Follow::No;
        } else {
            self.next_page(device, link, conversation, page.next);
        }
    }

    fn next_page(&mut self, device: usize, link: usize, conversation: ConversationId, from: u64) {
        let recover =
            v1::Recover { conversation: conversation.to_bytes(), from, limit: 50, ..Default::default() };
        let client = &mut self.clients[device];
        client.talk(conversation).follow = Follow::Paging;
        let frame = client.frame(Wanted::Page(conversation), recover);
        self.send_up(link, frame);
    }

    fn refused(&mut self, device: usize, link: usize, wanted: Option<Wanted>, refusal: &v1::Refusal) {
        let now = self.now;
        let code = Refused::from_code(refusal.code);
        let retry_us = now + pause_us(refusal.retry_after_ms);
        let client = &mut self.clients[device];
        match wanted {
            Some(Wanted::Publish(index)) => {
                let again = code.is_some_and(|c| c.retriable() || c == Refused::TooMany);
                client.messages[index].fate =
                    if again { Fate::Waiting { retry_us } } else { Fate::Refused { code: refusal.code } };
            }
            Some(Wanted::Page(conversation)) => {
                let talk = client.talk(conversation);
                (talk.follow, talk.retry_us) = (Follow::No, retry_us);
            }
            // A signal that was too large; nothing else is refused so without having been asked.
            None if code == Some(Refused::TooLarge) => {}
            _ if !refusal.conversation.is_empty() => {
                let conversation = talk_id(&refusal.conversation);
                let talk = client.talk(conversation);
                if talk.follow != Follow::Asked {
                    return;
                }
                (talk.follow, talk.retry_us) = (Follow::No, retry_us.max(now + 100 * MS));
                let from = talk.position.map_or(1, |(_, offset)| offset + 1);
                if code == Some(Refused::TooFarBehind) {
                    self.next_page(device, link, conversation, from);
                }
            }
            _ => {}
        }
    }
}

impl Client {
    fn follows(&self, conversation: &[u8]) -> bool {
        self.talks.get(&talk_id(conversation)).is_some_and(|t| t.follow == Follow::Live)
    }

    fn acked(&mut self, wanted: Option<Wanted>, ack: &v1::PublishAck) {
        let Some(Wanted::Publish(index)) = wanted else { return };
        let (generation, offset) = (ack.generation, ack.offset);
        let key = self.messages[index].key;
        let conversation = talk_id(&ack.conversation);
        let older = self.talk(conversation).life > generation;
        if older {
            // Acked in an earlier life of the store: it may not have survived.
            self.messages[index].fate = Fate::Waiting { retry_us: 0 };
            return;
        }
        self.note_generation(conversation, generation);
        self.messages[index].fate = Fate::Acked { generation, offset };
        self.ahead.entry(conversation).or_default().insert(offset);
        let talk = self.talk(conversation);
        talk.seen.entry(offset).or_insert(Seen::Message(key));
        if let Some((_, position)) = talk.position
            && position + 1 == offset
            && talk.follow == Follow::Live
        {
            let confirmed = talk.confirmed;
            self.note(conversation, offset, offset, Seen::Message(key));
            self.talk(conversation).confirmed = confirmed;
        }
    }

    fn delivered(&mut self, delivery: &v1::Delivery) {
        let conversation = talk_id(&delivery.conversation);
        let at = delivery.offset;
        self.note_generation(conversation, delivery.generation);
        if let Some((generation, _)) = &mut self.talk(conversation).position {
            *generation = delivery.generation.max(*generation);
        }
        self.note(conversation, at, at, Seen::Message(key_of(delivery)));
        let talk = self.talk(conversation);
        talk.head = talk.head.max(at);
        self.recognise(delivery);
    }

    /// An own message that comes back was stored, whether or not the ack came.
    fn recognise(&mut self, delivery: &v1::Delivery) {
        let key = key_of(delivery);
        let mine = self.messages.iter_mut().find(|m| m.key == key && matches!(m.fate, Fate::Waiting { .. }));
        if let Some(mine) = mine {
            mine.fate = Fate::Acked { generation: delivery.generation, offset: delivery.offset };
        }
    }

    fn subscribed(&mut self, subscribed: &v1::Subscribed) {
        let conversation = talk_id(&subscribed.conversation);
        self.note_generation(conversation, subscribed.generation);
        let talk = self.talk(conversation);
        talk.follow = Follow::Live;
        talk.head = subscribed.head;
        let fresh = talk.position.is_none();
        let (_, offset) = *talk.position.get_or_insert((subscribed.generation, subscribed.head));
        let offset = offset.max(subscribed.first.saturating_sub(1));
        talk.position = Some((subscribed.generation, offset));
        if fresh {
            talk.floor = offset;
        }
        let ahead = self.ahead.entry(conversation).or_default().clone();
        let talk = self.talk(conversation);
        if let Some((_, position)) = &mut talk.position {
            while ahead.contains(&(*position + 1)) {
                *position += 1;
            }
        }
    }

    fn rewound(&mut self, rewound: &v1::Rewound) {
        let conversation = talk_id(&rewound.conversation);
        // What was acked in the new life stands, and will not be delivered here.
        let fresh: Vec<(u64, PublishKey)> = self.acked_since(conversation, rewound.generation);
        let talk = self.talk(conversation);
        talk.seen.split_off(&(rewound.head + 1));
        talk.seen.extend(fresh.iter().map(|(offset, key)| (*offset, Seen::Message(*key))));
        // Frames of a subscription given up meanwhile were not taken: the position never moves on here.
        let had = talk.position.map_or(rewound.head, |(_, offset)| offset);
        talk.position = Some((rewound.generation, rewound.head.min(had)));
        talk.floor = talk.floor.min(rewound.head);
        talk.confirmed = talk.confirmed.min(rewound.head);
        talk.life = talk.life.max(rewound.generation);
        talk.head = rewound.head;
        self.forget_beyond(conversation, rewound.generation, rewound.head);
        self.ahead.entry(conversation).or_default().extend(fresh.iter().map(|(offset, _)| *offset));
    }

    /// Own messages acked in that life of the store or later.
    pub(super) fn acked_since(
        &self,
        conversation: ConversationId,
        generation: u32,
    ) -> Vec<(u64, PublishKey)> {
        let of = self.messages.iter().filter(|m| m.conversation == conversation);
        of.filter_map(|m| match m.fate {
            Fate::Acked { generation: g, offset } if g >= generation => Some((offset, m.key)),
            _ => None,
        })
        .collect()
    }

    fn user_event(&mut self, event: &v1::UserEvent) {
        self.user_position = Some((event.generation, event.offset));
        match &event.event {
            Some(user_event::Event::AddedTo(added)) => {
                let conversation = talk_id(&added.conversation);
                let talk = self.talk(conversation);
                talk.member = true;
                talk.retry_us = 0;
                self.came_to = Some(conversation);
            }
            Some(user_event::Event::RemovedFrom(removed)) => {
                self.talk(talk_id(&removed.conversation)).member = false;
            }
            _ => {}
        }
    }
}
