//! One session's stream of a conversation. Promises: dense and in order, nothing twice, nothing of the session's own,
//! `Gone` only where something is gone, and pages that cover what they say.

use schema_wire::v1::history_item::Item;
use schema_wire::v1::{Delivery, Gone, HistoryPage, Rewound, Subscribed, Unsubscribed};
use schema_wire::{ConversationId, PublishKey, Refused};

use super::view::{Asked, Live, Request, talk};
use super::{At, Model};
use crate::store::SimStore;

impl Model {
    fn take_asked(&mut self, at: At, conversation: ConversationId) -> Option<Asked> {
        let asked = &mut self.views[at.link].asked;
        let index = asked.iter().position(|a| a.request == at.answers && a.conversation == conversation)?;
        Some(asked.remove(index))
    }

    pub(super) fn subscribed(&mut self, at: At, subscribed: &Subscribed) {
        let conversation = talk(&subscribed.conversation);
        self.views[at.link].requests.remove(&at.answers);
        let Some(asked) = self.take_asked(at, conversation) else {
            let text = self.say(at.link, "Subscribed answers nothing");
            return self.violate(at.now, "answers", text);
        };
        let from = asked.after.map_or(subscribed.head, |(_, offset)| offset);
        let next = (from + 1).max(subscribed.first);
        if asked.after.is_some() && from > subscribed.head {
            let text = format!("subscribed after {from}, beyond the head {}", subscribed.head);
            self.violate(at.now, "rewound is told", self.say(at.link, text));
        }
        let live = Live { request: at.answers, next, sent_us: asked.sent_us, head: subscribed.head };
        self.views[at.link].live.insert(conversation, live);
    }

    pub(super) fn rewound(&mut self, at: At, rewound: &Rewound, store: &SimStore) {
        let conversation = talk(&rewound.conversation);
        let ever_cut = store.logs.get(&conversation).is_some_and(|l| !l.cuts.is_empty());
        let view = &mut self.views[at.link];
        let mut before = view.live.get(&conversation).map(|live| live.next - 1);
        // Which of those that were asked for it is about shows when Subscribed follows; the client heard it for all.
        for asked in view.asked.iter_mut().filter(|a| a.conversation == conversation) {
            let (_, offset) = asked.after.unwrap_or_default();
            before = before.max(Some(offset));
            if offset > rewound.head {
                asked.after = Some((rewound.generation, rewound.head));
            }
        }
        let Some(before) = before else {
            let text = self.say(at.link, "Rewound without a subscription");
            return self.violate(at.now, "answers", text);
        };
        // What stands there by now may be of a newer life: the frame may have waited.
        let (mut passed, former) = (before, rewound.generation.saturating_sub(1));
        while self.own(at.link, conversation, former, passed + 1) {
            passed += 1;
        }
        if !ever_cut || rewound.head > passed {
            let text = format!("rewound from {before} to {}", rewound.head);
            return self.violate(at.now, "rewound is told", self.say(at.link, text));
        }
        if let Some(live) = self.views[at.link].live.get_mut(&conversation) {
            (live.next, live.head) = (live.next.min(rewound.head + 1), rewound.head);
        }
    }

    pub(super) fn unsubscribed(&mut self, at: At, unsubscribed: &Unsubscribed, store: &SimStore) {
        let conversation = talk(&unsubscribed.conversation);
        self.views[at.link].live.remove(&conversation);
        if self.take_asked(at, conversation).is_some() {
            self.views[at.link].requests.remove(&at.answers);
        } else if at.answers != 0 {
            self.take_request(at);
        }
        let user = self.views[at.link].user;
        let thrown_out = unsubscribed.code == Refused::NotMember.code();
        if thrown_out && self.calm && store.is_member(user, conversation) && self.left.is_empty() {
            let text = self.say(at.link, "unsubscribed as no member, but is one");
            self.violate(at.now, "members are served", text);
        }
    }

    pub(super) fn live_delivery(&mut self, at: At, delivery: &Delivery, store: &SimStore) {
        let conversation = talk(&delivery.conversation);
        let Some(live) = self.views[at.link].live.get(&conversation).cloned() else {
            let text = format!("delivery {} without a subscription", delivery.offset);
            return self.violate(at.now, "dense", self.say(at.link, text));
        };
        let Some(record) = self.check_content(at, delivery) else { return };
        self.check_may_read(at, record, live.sent_us, store);
        self.check_own(at, delivery);
        self.advance(at, conversation, delivery.generation, (delivery.offset, delivery.offset));
    }

    /// Moves a subscription on, over `from..=to`. What it skips must be the session's own.
    fn advance(&mut self, at: At, conversation: ConversationId, generation: u32, (from, to): (u64, u64)) {
        let view = &self.views[at.link];
        let next = view.live[&conversation].next;
        if from < next {
            let text = format!("{from} comes again or late, {next} was due");
            return self.violate(at.now, "nothing doubled", self.say(at.link, text));
        }
        let missing = (next..from).find(|offset| !self.own(at.link, conversation, generation, *offset));
        if let Some(missing) = missing {
            let text = format!("{from} comes, {missing} is missing");
            return self.violate(at.now, "dense", self.say(at.link, text));
        }
        let live = self.views[at.link].live.get_mut(&conversation).expect("looked up by the caller");
        live.next = to + 1;
    }

    /// Whether this session published what stands at an offset in a life of the store.
    fn own(&self, link: usize, conversation: ConversationId, generation: u32, offset: u64) -> bool {
        let sent = &self.views[link].sent_keys;
        let there = self.ledger.at(conversation, offset).filter(|r| r.generation <= generation);
        there.last().is_some_and(|r| sent.contains(&r.append.publish_key))
    }

    fn check_own(&mut self, at: At, delivery: &Delivery) {
        let key = PublishKey::from_slice(&delivery.publish_key).unwrap_or_default();
        let live = self.views[at.link].live.get(&talk(&delivery.conversation));
        if let [attempt] = self.ledger.attempts(key)
            && attempt.link == at.link
            && attempt.following.is_some()
            && attempt.following == live.map(|l| l.request)
            && self.calm
        {
            let text = format!("got its own live message {}", delivery.offset);
            self.violate(at.now, "not to its publisher", self.say(at.link, text));
        }
    }

    pub(super) fn live_gone(&mut self, at: At, gone: &Gone, store: &SimStore) {
        let conversation = talk(&gone.conversation);
        let Some(next) = self.views[at.link].live.get(&conversation).map(|l| l.next) else {
            let text = format!("Gone {}..={} without a subscription", gone.from, gone.to);
            return self.violate(at.now, "dense", self.say(at.link, text));
        };
        if gone.from > gone.to {
            let text = format!("Gone {}..={} is empty", gone.from, gone.to);
            return self.violate(at.now, "dense", self.say(at.link, text));
        }
        self.check_gone(at, conversation, gone, store);
        let from = gone.from.max(next.min(gone.to));
        self.advance(at, conversation, gone.generation, (from, gone.to));
    }

    fn check_gone(&mut self, at: At, conversation: ConversationId, gone: &Gone, store: &SimStore) {
        let Some(log) = store.logs.get(&conversation) else { return };
        let user = self.views[at.link].user;
        let unix_ms = at.clock.read(at.now).unix_ms.max(crate::clock::unix_ms(at.now));
        if !log.cuts.is_empty() {
            return;
        }
        let honest = at.clock.honest();
        let there = (gone.from..=gone.to.min(log.head())).find(|offset| {
            let may_expire = !honest && log.slots[*offset as usize - 1].message.expires_at.is_some();
            let reads = log.members.get(&user).is_some_and(|m| m.reads(*offset));
            reads && !may_expire && log.gone(*offset, unix_ms).is_none()
        });
        if gone.to > log.head() || there.is_some() {
            let text =
                format!("Gone {}..={} but {there:?} is there, head {}", gone.from, gone.to, log.head());
            self.violate(at.now, "gone is gone", self.say(at.link, text));
        }
    }

    pub(super) fn history_page(&mut self, at: At, page: &HistoryPage, store: &SimStore) {
        let Some((request, sent_us)) = self.take_request(at) else { return };
        let Request::Recover { conversation, from, backwards } = request else {
            let text = self.say(at.link, "a page answers something else");
            return self.violate(at.now, "answers", text);
        };
        let asked = if backwards { from.min(page.head) } else { from.max(1) };
        let mut due = asked;
        for item in &page.items {
            let (low, high) = match &item.item {
                Some(Item::Delivery(delivery)) => {
                    if let Some(record) = self.check_content(at, delivery) {
                        self.check_may_read(at, record, sent_us, store);
                    }
                    (delivery.offset, delivery.offset)
                }
                Some(Item::Gone(gone)) => {
                    self.check_gone(at, conversation, gone, store);
                    (gone.from, gone.to)
                }
                None => (0, 0),
            };
            let (near, far) = if backwards { (high, low.saturating_sub(1)) } else { (low, high + 1) };
            if near != due {
                let text = format!("page from {from}: {near} where {due} was due");
                return self.violate(at.now, "pages are dense", self.say(at.link, text));
            }
            due = far;
        }
        let end = if backwards { due == 0 } else { due > page.head };
        let stuck = page.next == asked && page.items.is_empty() && !end;
        if stuck || (!page.items.is_empty() && page.next != 0 && page.next != due) || (page.next == 0 && !end)
        {
            let text = format!("page from {from} ends at {due}, next {}, head {}", page.next, page.head);
            self.violate(at.now, "pages are dense", self.say(at.link, text));
        }
    }
}
