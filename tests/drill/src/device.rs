//! One device: connects, follows every conversation it may, hands what comes to its "application" (the history), and
//! now and then crashes, leaves politely, or is started anew from what its disk would keep.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use relay_client::account::Account;
use relay_client::{
    After, Client, Delivery, Error, Event, Events, Offset, Position, Subscription, Transport, UserId, kind,
};
use tokio::sync::{mpsc, watch};

use crate::cast::Talk;
use crate::history::{History, Who, deletion_hash, hash};
use crate::publisher::{self, Drafts};
use crate::random::Random;
use crate::server::Ready;

/// A client that would wait longer than this for its next attempt is started anew.
const IMPATIENT: Duration = Duration::from_millis(1_500);
/// Wait before a refused subscription is asked for again.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Subscriptions answered and not yet looked at.
const ANSWERS: usize = 16;
/// Characters of the id in a body.
const ID_CHARS: usize = 36;

/// How a client ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whim {
    Crash,
    Forget,
    Leave,
}

/// Everything of a device that outlives its clients.
pub struct Desk {
    pub who: Who,
    pub account: Account,
    pub talks: Arc<Vec<Talk>>,
    pub names: Arc<HashMap<UserId, String>>,
    pub history: History,
    pub drafts: Drafts,
    pub transport: Transport,
    /// Between two bursts of messages, at least and at most.
    pub wait_ms: (u64, u64),
    places: Mutex<HashMap<usize, Position>>,
    live: Mutex<HashSet<usize>>,
}

impl Desk {
    /// A device that has seen nothing.
    pub fn new(
        seat: &crate::cast::Seat,
        cast: &crate::cast::Cast,
        history: &History,
        transport: Transport,
        wait_ms: (u64, u64),
    ) -> Self {
        Self {
            who: seat.who.clone(),
            account: seat.account.clone(),
            talks: cast.talks.clone(),
            names: cast.names.clone(),
            history: history.clone(),
            drafts: Drafts::default(),
            transport,
            wait_ms,
            places: Mutex::default(),
            live: Mutex::default(),
        }
    }

    /// The conversations it is subscribed to at this moment.
    pub fn followed(&self) -> HashSet<usize> {
        self.live.lock().expect("no holder panics").clone()
    }

    /// How far it has come in a conversation.
    pub fn place(&self, talk: usize) -> u64 {
        self.places.lock().expect("no holder panics").get(&talk).map_or(0, |place| place.offset.0)
    }

    fn moved(&self, talk: usize, position: Position) {
        let mut places = self.places.lock().expect("no holder panics");
        let place = places.entry(talk).or_insert(position);
        if position.offset > place.offset {
            *place = position;
        }
    }
}

/// One life after the other until `stop`.
pub async fn live(
    desk: Arc<Desk>,
    nodes: Arc<Vec<Ready>>,
    mut whims: mpsc::Receiver<Whim>,
    mut stop: watch::Receiver<bool>,
    mut random: Random,
) {
    let mut life = 0;
    while !*stop.borrow() {
        life += 1;
        // Each life may be on another node, and goes on where the last one was.
        let ready = random.pick(&nodes).expect("there is a node");
        let relay = if desk.transport == Transport::Quic { ready.relay.clone() } else { ready.wss.clone() };
        let started = Client::builder()
            .relay(relay)
            .transport(desk.transport)
            .ca(&ready.ca)
            .token_source(desk.account.clone())
            .start();
        let Ok((client, events)) = started else {
            return desk.history.surprise("a client could not be set up".to_owned());
        };
        let publisher = publisher::publish(desk.clone(), client.clone(), Random::new(random.bits(), life));
        let publisher = tokio::spawn(publisher);
        let ended = tokio::select! {
            ended = receive(&desk, &client, events) => ended,
            whim = whims.recv() => whim.unwrap_or(Whim::Leave),
            _ = stop.wait_for(|stop| *stop) => Whim::Leave,
        };
        publisher.abort();
        desk.live.lock().expect("no holder panics").clear();
        desk.drafts.lost.fetch_add(1, Ordering::Relaxed);
        match ended {
            Whim::Leave => drop(tokio::time::timeout(Duration::from_secs(5), client.close()).await),
            Whim::Forget => desk.drafts.forget(),
            Whim::Crash => {}
        }
        drop(client);
        tokio::time::sleep(random.millis(0, 200)).await;
    }
}

/// Hands events to the application until the client should be started anew.
async fn receive(desk: &Arc<Desk>, client: &Client, mut events: Events) -> Whim {
    let (answers, mut answered) = mpsc::channel(ANSWERS);
    (0..desk.talks.len()).for_each(|talk| ask(desk, client, talk, Duration::ZERO, &answers));
    let mut since = desk.history.now();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            Some((talk, answer)) = answered.recv() => {
                match answer {
                    Ok(_) => drop(desk.live.lock().expect("no holder panics").insert(talk)),
                    Err(Error::Refused(_)) => ask(desk, client, talk, ASK_AGAIN, &answers),
                    Err(Error::Closed) => {}
                    Err(Error::Protocol(what)) => desk.history.surprise(format!("protocol: {what}")),
                }
                continue;
            }
        };
        match event {
            None => return Whim::Crash,
            Some(Event::Connected(_)) => desk.history.open(&desk.who, since),
            Some(Event::Reconnecting { delay, .. }) => {
                since = desk.history.now();
                desk.drafts.lost.fetch_add(1, Ordering::Relaxed);
                if delay > IMPATIENT {
                    return Whim::Crash;
                }
            }
            Some(Event::Delivery(delivery)) => delivered(desk, &delivery),
            Some(Event::Gone(gone)) => {
                if let Some(talk) = desk.talks.iter().position(|talk| talk.id == gone.conversation) {
                    desk.moved(talk, Position { generation: gone.generation, offset: gone.to });
                }
            }
            Some(Event::Rewound { head, .. }) => {
                desk.history
                    .surprise(format!("{:?} was told that the store went back to {head:?}", desk.who));
            }
            Some(Event::Unsubscribed { conversation, .. }) => {
                if let Some(talk) = desk.talks.iter().position(|talk| talk.id == conversation) {
                    desk.live.lock().expect("no holder panics").remove(&talk);
                    ask(desk, client, talk, ASK_AGAIN, &answers);
                }
            }
            // Two lives of one device overlap for a moment after a crash; the older may replace the newer.
            Some(Event::Closed(_)) => return Whim::Crash,
            Some(_) => {}
        }
    }
}

type Answer = (usize, Result<Subscription, Error>);

/// Subscribes after what the application has, in the background.
fn ask(desk: &Arc<Desk>, client: &Client, talk: usize, delay: Duration, answers: &mpsc::Sender<Answer>) {
    let (desk, client, answers) = (desk.clone(), client.clone(), answers.clone());
    let may = desk.talks[talk].steady.contains(&desk.who.user)
        || desk.talks[talk].changing.contains(&desk.who.user);
    if !may {
        return;
    }
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        let place = desk.places.lock().expect("no holder panics").get(&talk).copied();
        let after = place.map_or(After::Start, After::Position);
        // The receiver may be gone with its client.
        let _ = answers.send((talk, client.subscribe(desk.talks[talk].id, after).await)).await;
    });
}

fn delivered(desk: &Desk, delivery: &Delivery) {
    let Some(talk) = desk.talks.iter().position(|talk| talk.id == delivery.conversation) else {
        return desk.history.surprise(format!("a delivery of an unknown {:?}", delivery.conversation));
    };
    let (id, hash) =
        identify(delivery.kind, &delivery.publish_key.to_string(), delivery.relates_to, &delivery.body);
    let from = desk.names.get(&delivery.sender).map_or("nobody", String::as_str);
    let offset = delivery.position.offset.0;
    desk.moved(talk, delivery.position);
    desk.history.recv(&desk.who, desk.talks[talk].name, &id, (offset, &hash, from));
}

/// Id and hash of a message: from its body, as a deletion has none from its key and target.
pub fn identify(message_kind: u32, key: &str, relates_to: Option<Offset>, body: &[u8]) -> (String, String) {
    if message_kind == kind::DELETE {
        return (key.to_owned(), deletion_hash(relates_to.unwrap_or_default().0));
    }
    let id = String::from_utf8_lossy(&body[..body.len().min(ID_CHARS)]).into_owned();
    (id, hash(body))
}
