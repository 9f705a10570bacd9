//! The bus's own thread: hands frames to the connection of their slot, keeps what is listened to, says each shard whether
//! the bus is sound, and makes connections again when they break, with back-off and jitter.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use schema_store::redis::{Keys, Primary, RedisAddress, RedisFault, Slots, slot_of};
use schema_wire::bus::{BusFrame, Subject, encode};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::figures::Figures;
use super::heard::BEAT;
use super::link::{Link, Made, make};
use super::online::Online;
use super::shared::Shared;
use super::take::Counts;
use crate::mesh::cores::Mail;

/// How often soundness is looked at and broken connections are found.
const LOOK: Duration = Duration::from_millis(50);
/// First and longest wait before connections are made again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long the last word may take.
const BYE: Duration = Duration::from_millis(100);

/// What is known of Redis, and the connections that work.
struct Bus {
    shared: Arc<Shared>,
    address: RedisAddress,
    wanted: HashSet<Subject>,
    links: Vec<Link>,
    slots: Option<Slots>,
    making: Option<JoinHandle<Result<Found, RedisFault>>>,
    backoff: Duration,
    retry_at: Instant,
    beat_at: Instant,
    /// What each shard was last told.
    told: Vec<Option<bool>>,
    complained: bool,
    online: Online,
}

/// What looking for Redis came to.
struct Found {
    slots: Slots,
    made: Vec<Made>,
}

/// Runs until `stop` says so, or nobody can any more.
pub(super) async fn run(shared: Arc<Shared>, address: RedisAddress, mut stop: watch::Receiver<bool>) {
    let keys = Rc::new(Keys::new(address.clone()));
    let counts = Counts::new(keys.clone());
    let told = shared.inboxes.iter().map(|_| None).collect();
    let mut bus = Bus {
        shared: shared.clone(),
        address,
        wanted: HashSet::from([Subject::Nodes]),
        links: Vec::new(),
        slots: None,
        making: None,
        backoff: BACKOFF.0,
        retry_at: Instant::now(),
        beat_at: Instant::now(),
        told,
        complained: false,
        online: Online::new(keys),
    };
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            ended = stop.changed() => if ended.is_err() || *stop.borrow() { break },
            // First, so that shards which never stop talking do not keep the bus from living.
            _ = look.tick() => bus.look().await,
            () = shared.wake.notified() => {}
        }
        bus.take_wishes();
        counts.ask(&shared);
        bus.route();
        tokio::task::yield_now().await;
    }
    bus.send(&BusFrame::Bye);
    tokio::time::sleep(BYE).await;
}

impl Bus {
    fn take_wishes(&mut self) {
        while let Some((subject, on)) = self.shared.listens.pop() {
            if on {
                self.wanted.insert(subject)
            } else {
                self.wanted.remove(&subject)
            };
            if let Some(link) = self.link_of(subject) {
                link.listen(subject, on);
            }
        }
        Figures::set(&self.shared.figures.listens, self.wanted.len() as u64);
    }

    fn route(&mut self) {
        while let Some(frame) = self.shared.outgoing.pop() {
            self.send(&frame);
        }
    }

    /// To the connection of its slot; without one it is lost, and others will hear that.
    fn send(&mut self, frame: &BusFrame) {
        let subject = match frame {
            BusFrame::Hint(hint) => hint.subject(),
            BusFrame::Beat { .. } | BusFrame::Nudge | BusFrame::Bye => Subject::Nodes,
        };
        self.online.pass(&self.shared, frame);
        let life = self.shared.life;
        match self.link_of(subject) {
            Some(link) => link.publish(subject.channel(), encode(life, frame)),
            None => Figures::add(&self.shared.figures.lost_out, 1),
        }
    }

    fn link_of(&mut self, subject: Subject) -> Option<&mut Link> {
        let slots = self.slots.as_ref()?;
        let primary = slots.primary_of(slot_of(subject.channel().as_bytes()))?;
        self.links.iter_mut().find(|link| link.primary == *primary && !link.is_broken())
    }

    async fn look(&mut self) {
        self.links.retain(|link| !link.is_broken());
        self.mend().await;
        let greet = self.shared.greet.swap(false, Ordering::Relaxed);
        if greet || self.beat_at.elapsed() >= BEAT {
            self.beat_at = Instant::now();
            let sent_us = self.shared.began.elapsed().as_micros() as u64;
            let lost = self.shared.figures.lost_out.load(Ordering::Relaxed);
            self.send(&BusFrame::Beat { sent_us, lost });
        }
        self.tell();
    }

    /// Whether every slot has a connection.
    fn is_whole(&self) -> bool {
        let Some(slots) = &self.slots else { return false };
        let linked = |primary: &Primary| self.links.iter().any(|link| link.primary == *primary);
        slots.are_complete() && slots.primaries().iter().all(linked)
    }

    /// Makes what connections are missing, one attempt at a time.
    async fn mend(&mut self) {
        if let Some(making) = self.making.take_if(|making| making.is_finished()) {
            match making.await {
                Ok(Ok(found)) => self.install(found),
                Ok(Err(fault)) => self.complain(&fault),
                Err(error) => tracing::error!(%error, "looking for Redis failed"),
            }
        }
        if self.is_whole() {
            if self.complained {
                tracing::info!("the bus between nodes is back");
            }
            (self.complained, self.backoff, self.retry_at) = (false, BACKOFF.0, Instant::now());
        } else if self.making.is_none() && Instant::now() >= self.retry_at {
            // Nodes that lost Redis at the same moment do not come back at the same moment.
            self.retry_at = Instant::now() + self.backoff.mul_f64(0.5 + f64::from(jitter()) / 256.0);
            self.backoff = (self.backoff * 2).min(BACKOFF.1);
            let mut known: Vec<Primary> = self.links.iter().map(|link| link.primary.clone()).collect();
            let linked = known.clone();
            known.extend(self.slots.iter().flat_map(|slots| slots.primaries().to_vec()));
            let (shared, address) = (self.shared.clone(), self.address.clone());
            self.making = Some(tokio::task::spawn_local(find(shared, address, known, linked)));
        }
    }

    fn complain(&mut self, fault: &RedisFault) {
        if !self.complained {
            tracing::warn!(%fault, "the bus between nodes is away; messages of other nodes come from the store");
        }
        self.complained = true;
    }

    /// Uses new connections, and moves subscriptions to where their slots are now.
    fn install(&mut self, found: Found) {
        let Found { slots, made } = found;
        self.links.retain(|link| slots.primaries().contains(&link.primary));
        self.links.extend(made.into_iter().map(|made| Link::start(self.shared.clone(), made)));
        self.slots = Some(slots);
        for subject in self.wanted.clone() {
            let Some(owner) = self.link_of(subject).map(|link| link.primary.clone()) else { continue };
            for link in &mut self.links {
                link.listen(subject, link.primary == owner);
            }
        }
        Figures::set(&self.shared.figures.connected, self.links.len() as u64);
    }

    /// Tells each shard whether the bus is sound, once, and again when something was missed.
    fn tell(&mut self) {
        let now = Instant::now();
        let mut heard = self.shared.heard.lock().expect("nothing panics while it listens");
        let sound = heard.is_sound(now) && self.is_whole();
        let (missed, nodes) = (heard.take_missed(), heard.nodes(now) as u64);
        drop(heard);
        let figures = &self.shared.figures;
        Figures::set(&figures.connected, self.links.len() as u64);
        Figures::set(&figures.sound, u64::from(sound));
        Figures::set(&figures.nodes, nodes);
        for (told, inbox) in self.told.iter_mut().zip(&self.shared.inboxes) {
            if missed {
                *told = None;
            }
            if *told != Some(sound) && inbox.offer(Mail::Bus { sound }) {
                *told = Some(sound);
            }
        }
    }
}

/// Asks a server that answers where the slots are, and connects to the primaries that have no connection.
async fn find(
    shared: Arc<Shared>,
    address: RedisAddress,
    mut known: Vec<Primary>,
    linked: Vec<Primary>,
) -> Result<Found, RedisFault> {
    known.push(address.seed().clone());
    let mut last = RedisFault::Answer;
    for primary in known {
        let made = match make(&shared, &address, &primary).await {
            Ok(made) => made,
            Err(fault) => {
                last = fault;
                continue;
            }
        };
        match look_around(&shared, &address, made, &linked).await {
            Ok(found) => return Ok(found),
            Err(fault) => last = fault,
        }
    }
    Err(last)
}

async fn look_around(
    shared: &Arc<Shared>,
    address: &RedisAddress,
    mut asked: Made,
    linked: &[Primary],
) -> Result<Found, RedisFault> {
    let primary = asked.primary.clone();
    let slots = Slots::read(&mut asked.connection, &primary).await?;
    let mut asked = Some(asked);
    let mut made = Vec::new();
    for wanted in slots.primaries().iter().filter(|wanted| !linked.contains(wanted)) {
        match asked.take_if(|asked| asked.primary == *wanted) {
            Some(asked) => made.push(asked),
            // The others work without it, and it is tried again.
            None => made.extend(make(shared, address, wanted).await),
        }
    }
    Ok(Found { slots, made })
}

fn jitter() -> u8 {
    let mut byte = [0];
    getrandom::fill(&mut byte).expect("the kernel has randomness");
    byte[0]
}
