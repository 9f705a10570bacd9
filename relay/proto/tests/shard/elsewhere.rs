//! Two nodes on one bus that the test holds in its hands: what crosses, what does not, and what a bus that loses things
//! may cost.

use bytes::Bytes;
use relay_proto::{Event, Limits};
use schema_wire::bus::{BusFrame, Life, Subject, decode, encode};
use schema_wire::record::StoreRequest;
use schema_wire::v1::{self, PresenceState};
use schema_wire::{Refused, SessionId, UserId};

use crate::node::{Node, Said, conversation, user};

/// Alice on the first node, Bob on the second, both in one conversation.
struct Two {
    nodes: [Node; 2],
    alice: SessionId,
    bob: SessionId,
}

impl Two {
    fn new(limits: &Limits) -> Self {
        let mut nodes = [1, 2].map(|life| Node::living(life, life as u16 + 1, limits.clone(), true));
        for node in &mut nodes {
            node.store.join(conversation(9), user(1));
            node.store.join(conversation(9), user(2));
        }
        let (alice, bob) = (nodes[0].attach(0, 1, 1), nodes[1].attach(1, 2, 2));
        Self { nodes, alice, bob }
    }

    /// Carries what was said since, as bytes, to every node that listens, the sender included. Returns how many hints.
    fn carry(&mut self) -> usize {
        let mut carried = 0;
        for from in 0..2 {
            for hint in std::mem::take(&mut self.nodes[from].forwarded) {
                let life = Life(from as u64 + 1);
                let bytes = encode(life, &BusFrame::Hint(hint));
                let Ok((life, BusFrame::Hint(hint))) = decode(&bytes) else { panic!("decodes") };
                for node in self.nodes.iter_mut().filter(|node| node.listens.contains(&hint.subject())) {
                    node.hear(life.0, &hint);
                }
                carried += 1;
            }
        }
        carried
    }

    fn settle(&mut self) {
        for _ in 0..8 {
            if self.carry() == 0 {
                return;
            }
        }
        panic!("they answer each other for ever");
    }

    fn pass_ms(&mut self, ms: u64) {
        self.nodes.iter_mut().for_each(|node| node.pass_ms(ms));
    }

    fn show(&mut self, state: PresenceState) {
        self.nodes[0].say(self.alice, 0, v1::Presence { state: state.into(), ..Default::default() });
    }

    /// What Bob was shown of Alice, in order.
    fn shown(&self) -> Vec<PresenceState> {
        let told = self.nodes[1].told[&self.bob].iter();
        told.filter_map(|(_, said)| if let Said::PresenceEvent(e) = said { e.state.as_known() } else { None })
            .collect()
    }

    fn watch(&mut self, users: Vec<UserId>) {
        let users = users.into_iter().map(UserId::to_bytes).collect();
        let conversations = vec![conversation(9).to_bytes()];
        self.nodes[1].say(self.bob, 2, v1::Watch { users, conversations, ..Default::default() });
    }
}

fn signals(node: &Node, session: SessionId) -> Vec<Bytes> {
    let told = node.told.get(&session).into_iter().flatten();
    told.filter_map(|(_, said)| if let Said::SignalEvent(e) = said { Some(e.body.clone()) } else { None })
        .collect()
}

#[test]
fn a_node_listens_to_what_its_sessions_follow_and_no_longer() {
    let mut two = Two::new(&Limits::default());
    let [first, second] = &mut two.nodes;
    assert!(first.listens.contains(&Subject::User(user(1))), "another node may ask for its user");
    second.subscribe(two.bob, 9, None);
    let subject = Subject::Conversation(conversation(9));
    assert!(second.listens.contains(&subject) && !first.listens.contains(&subject));
    let gone = v1::Unsubscribe { conversation: conversation(9).to_bytes(), ..Default::default() };
    second.say(two.bob, 3, gone);
    assert!(!second.listens.contains(&subject));
    second.bring(1, Event::Disconnected { session: two.bob });
    second.pass_ms(120_000);
    assert!(second.listens.is_empty(), "{:?}", second.listens);
}

#[test]
fn signals_typing_and_cursors_cross_once_and_in_order() {
    let mut two = Two::new(&Limits::default());
    two.watch(vec![]);
    two.nodes[0].subscribe(two.alice, 9, None);
    two.nodes[1].subscribe(two.bob, 9, None);
    two.settle();
    let conversation = conversation(9).to_bytes();
    for body in [&b"one"[..], b"two", b"three"] {
        let (conversation, body) = (conversation.clone(), Bytes::from_static(body));
        two.nodes[0].say(two.alice, 0, v1::Signal { conversation, body, ..Default::default() });
    }
    let typing = v1::Typing { conversation: conversation.clone(), active: true, ..Default::default() };
    two.nodes[0].say(two.alice, 0, typing);
    let cursor = v1::Cursor { conversation, offset: 3, share: true, ..Default::default() };
    two.nodes[0].say(two.alice, 7, cursor);
    // The bus doubles everything and lets the first signal be overtaken.
    let mut hints = two.nodes[0].forwarded.clone();
    hints.swap(0, 1);
    two.nodes[0].forwarded = hints.iter().chain(&hints).cloned().collect();
    two.settle();
    two.pass_ms(1_000);
    let [first, second] = &two.nodes;
    assert_eq!(signals(second, two.bob), [&b"two"[..], b"three"], "late is lost, doubled is passed over");
    assert!(signals(first, two.alice).is_empty(), "its own frame came back on the bus");
    let heard = |session, what: fn(&Said) -> bool| second.heard(session, what);
    assert_eq!(heard(two.bob, |said| matches!(said, Said::TypingEvent(_))), 1);
    assert_eq!(heard(two.bob, |said| matches!(said, Said::CursorEvent(e) if e.offset == 3)), 1);
    assert_eq!(second.forwarded.len(), 0, "nothing is passed on further");
}

#[test]
fn presence_crosses_is_renewed_and_lapses_with_its_node() {
    type P = PresenceState;
    let (away, offline, online) = (P::Away, P::Offline, P::Online);
    let mut two = Two::new(&Limits { lease_ms: 30_000, ..Limits::default() });
    two.show(away);
    two.carry();
    two.watch(vec![user(1)]);
    two.settle();
    assert_eq!(two.shown(), [offline, away], "asked as soon as somebody watches");
    two.show(online);
    two.settle();
    assert_eq!(two.shown(), [offline, away, online]);
    for _ in 0..8 {
        two.pass_ms(15_000);
        two.settle();
        two.nodes[0].say(two.alice, 0, v1::Ping::default());
        two.nodes[1].say(two.bob, 0, v1::Ping::default());
    }
    assert_eq!(two.shown().last(), Some(&online), "two minutes later it was renewed");
    // The first node is gone without a word.
    for _ in 0..2 {
        two.nodes[1].pass_ms(15_001);
        two.nodes[1].say(two.bob, 0, v1::Ping::default());
    }
    assert_eq!(two.shown(), [offline, away, online, offline]);
}

#[test]
fn who_hides_on_one_node_is_hidden_on_all() {
    type P = PresenceState;
    let (hidden, offline, online) = (P::Hidden, P::Offline, P::Online);
    let mut two = Two::new(&Limits::default());
    let tablet = two.nodes[1].attach(0, 1, 8);
    two.watch(vec![user(1)]);
    two.nodes[1].say(tablet, 0, v1::Presence { state: online.into(), ..Default::default() });
    two.settle();
    two.show(hidden);
    two.settle();
    assert_eq!(two.shown(), [offline, online, offline]);
    two.nodes[0].bring(0, Event::Disconnected { session: two.alice });
    two.settle();
    assert_eq!(two.shown(), [offline, online, offline, online], "the device that hid is gone");
}

#[test]
fn an_answer_that_was_lost_is_asked_for_again() {
    let mut two = Two::new(&Limits::default());
    two.show(PresenceState::Online);
    two.watch(vec![user(1)]);
    two.nodes.iter_mut().for_each(|node| node.forwarded.clear());
    assert_eq!(two.shown(), [PresenceState::Offline]);
    let home = two.nodes[1].home(Subject::User(user(1)));
    two.nodes[1].bring(home, Event::Listening { subject: Subject::User(user(1)) });
    two.settle();
    assert_eq!(two.shown().last(), Some(&PresenceState::Online), "asked once the bus listens");
}

#[test]
fn what_the_bus_kept_back_comes_from_the_store() {
    for listening in [true, false] {
        let mut two = Two::new(&Limits::default());
        two.nodes[1].subscribe(two.bob, 9, None);
        (1..=3).for_each(|k| two.nodes[0].publish(two.alice, 9, k));
        let [first, second] = &mut two.nodes;
        second.store.logs = std::mem::take(&mut first.store.logs);
        assert!(second.offsets(two.bob).is_empty());
        let subject = Subject::Conversation(conversation(9));
        if listening {
            let home = second.home(subject);
            second.bring(home, Event::Listening { subject });
        } else {
            for shard in 0..second.shards.len() {
                second.bring(shard, Event::Bus { sound: false });
            }
        }
        assert_eq!(second.offsets(two.bob), [1, 2, 3], "as soon as it is known");
    }
}

#[test]
fn heads_are_compared_often_while_the_bus_is_away_and_seldom_while_it_is_sound() {
    let mut two = Two::new(&Limits { heads_ms: 1_000, heads_sound_ms: 5_000, ..Limits::default() });
    let (bob, node) = (two.bob, &mut two.nodes[1]);
    node.subscribe(bob, 9, None);
    node.hold_store = true;
    let mut asked = |sound: bool, ms: u64| {
        for shard in 0..node.shards.len() {
            node.bring(shard, Event::Bus { sound });
        }
        let mut heads = 0;
        for _ in 0..ms / 100 {
            node.pass_ms(100);
            while let Some((_, _, request)) = node.waiting.front() {
                heads += u32::from(matches!(request, StoreRequest::Heads { .. }));
                node.answer_one();
            }
        }
        heads
    };
    assert_eq!(asked(false, 10_000), 11, "at once, then each second");
    assert_eq!(asked(true, 10_000), 3, "at once, then each five");
}

#[test]
fn a_store_that_does_not_answer_is_asked_one_question_at_a_time() {
    let mut two = Two::new(&Limits { heads_ms: 100, ..Limits::default() });
    let (bob, node) = (two.bob, &mut two.nodes[1]);
    node.subscribe(bob, 9, None);
    node.hold_store = true;
    node.pass_ms(10_000);
    assert_eq!(node.waiting.len(), 1);
}

#[test]
fn a_hint_alone_never_begins_a_new_life_of_the_store() {
    let mut two = Two::new(&Limits::default());
    two.nodes[1].subscribe(two.bob, 9, None);
    two.nodes[0].store.generation = 2;
    two.nodes[0].publish(two.alice, 9, 1);
    two.settle();
    let rewound = two.nodes[1].heard(two.bob, |said| matches!(said, Said::Rewound(_)));
    assert_eq!((rewound, two.nodes[1].offsets(two.bob)), (0, vec![]), "the store knows of none");
}

#[test]
fn all_nodes_share_one_message_limit_and_each_falls_back_to_its_own() {
    let limits = Limits { publish_limit: 32, publish_window_s: 60, ..Limits::default() };
    let mut two = Two::new(&limits);
    let node = &mut two.nodes[0];
    node.left = Some(20);
    (1..=32).for_each(|k| node.publish(two.alice, 9, k));
    assert_eq!(node.acks(two.alice).len(), 20, "another node used the rest");
    assert_eq!(node.refusals(two.alice), [Refused::RateLimited; 12]);
    assert!((5..=15).contains(&node.takes), "few questions: {}", node.takes);
    node.pass_ms(5_001);
    node.left = None;
    (33..=64).for_each(|k| node.publish(two.alice, 9, k));
    assert_eq!(node.acks(two.alice).len(), 32, "nobody can say: the node's own limit is all there is");
}
