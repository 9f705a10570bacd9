//! One drill from start to verdict, in pieces: people, faults, calm, a complete sync of every device, final reads,
//! judgement. What a piece needs is gone with it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use relay_client::{Offset, Transport};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::cast::{Cast, Talk};
use crate::device::{self, Desk, Whim};
use crate::fleet::Fleet;
use crate::history::{History, Who};
use crate::http::{Http, Verb};
use crate::judge::{self, Least};
use crate::nemesis::{Nemesis, Toll};
use crate::order::{Counts, Order};
use crate::outside::{Files, Outside};
use crate::random::Random;
use crate::registrar::{self, Guests};
use crate::server::{Ready, tails, work_folder};

/// How long devices may take to settle and to catch up once all is calm.
const PATIENCE: Duration = Duration::from_secs(120);
/// Entries of one page of a final read.
const PAGE: usize = 200;

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub counts: Counts,
    /// Nothing happens but what is counted.
    pub only: bool,
    pub seed: u64,
    pub clients: usize,
    /// One transport per device, in turn.
    pub transports: Vec<Transport>,
    pub program: PathBuf,
    /// What the last of several nodes runs instead: the version before.
    pub previous: Option<PathBuf>,
    /// Nodes on one PostgreSQL and one Redis; `None`: one on SQLite.
    pub nodes: Option<usize>,
    pub files: Files,
    /// Longest time between two faults, and of a fault that is undone.
    pub quiet: Duration,
    /// What each device waits between two bursts of messages, at least and at most.
    pub wait_ms: (u64, u64),
    /// Faults in one history. Each is judged by itself, with people of its own, on the same servers.
    pub piece: u64,
}

/// What came of it.
#[derive(Default, Debug)]
pub struct Outcome {
    pub toll: Toll,
    pub acked: u64,
    pub delivered: u64,
    pub changes: u64,
    /// What the checker said, last.
    pub verdict: String,
    pub pieces: u64,
    pub folder: PathBuf,
    pub took: Duration,
}

/// Runs the plan; an error names what was violated and where the history lies. `each` is told how far it is after each
/// piece.
pub async fn run(plan: &Plan, each: impl Fn(&Outcome)) -> Result<Outcome> {
    let began = Instant::now();
    let folder = work_folder("drill")?;
    let start = || Fleet::start(plan, &folder);
    let mut fleet = tokio::task::block_in_place(start)?;
    let around = fleet.outside.as_ref().map_or_else(Vec::new, Outside::calamities);
    let mut order = Order::of(plan.counts, around, plan.only);
    let mut outcome = Outcome { folder: folder.clone(), ..Outcome::default() };
    while !order.is_done() {
        let played = play(plan, fleet, &mut order, &mut outcome).await;
        fleet = played.with_context(|| format!("{}\n{}", folder.display(), tails(&folder)))?;
        outcome.took = began.elapsed();
        each(&outcome);
    }
    if !tokio::task::block_in_place(|| fleet.drain())? {
        bail!("the last drain failed; {}", folder.display());
    }
    no_panic(&fleet)?;
    outcome.took = began.elapsed();
    Ok(outcome)
}

/// One piece: people, faults, calm, a complete sync of every device, final reads, judgement.
async fn play(plan: &Plan, fleet: Fleet, order: &mut Order, outcome: &mut Outcome) -> Result<Fleet> {
    let number = outcome.pieces;
    let random = |part: u64| Random::new(plan.seed, number * 1_000 + part);
    let file = outcome.folder.join(format!("history-{number}.jsonl"));
    let history = History::create(&file)?;
    history.write(&json!({"e": "meta", "seed": plan.seed, "piece": number, "t": history.now()}));
    let api = fleet.servers[0].ready.api.clone();
    let cast = Arc::new(Cast::assemble(&api, plan.clients, number, &history).await?);
    let stage = Stage::open(plan, &cast, &fleet, &history, random);
    let guests = Guests::new(Mutex::new(HashSet::new()));
    let (stop_changes, changes_stopped) = watch::channel(false);
    let keeping = registrar::keep(
        cast.clone(),
        api.clone(),
        history.clone(),
        guests.clone(),
        changes_stopped,
        random(1),
    );
    let keeping = tokio::spawn(keeping);
    let nemesis = Nemesis {
        fleet,
        history: history.clone(),
        clients: stage.whims.clone(),
        random: random(2),
        quiet: plan.quiet,
        toll: Toll::default(),
    };
    let (fleet, toll) = nemesis.rage(order, plan.piece).await?;
    stop_changes.send_replace(true);
    outcome.changes += keeping.await?.context("memberships")?;
    let finals = finish(&stage, &cast, &api, &history, &guests).await?;
    stage.close().await;
    history.flush()?;
    if let Some(first) = history.surprises().first() {
        bail!("{} surprises, the first: {first}", history.surprises().len());
    }
    let faults = toll.kills + toll.outside.values().sum::<u64>();
    let least = Least { kills: toll.killed(), acked: faults * 20, received: faults * 60, finals };
    outcome.verdict = tokio::task::block_in_place(|| judge::judge(&file, least))?;
    // The history's own counter has the acks of repetitions too.
    let counted: Value = serde_json::from_str(outcome.verdict.lines().next().unwrap_or_default())?;
    let count = |name: &str| counted[name].as_u64().with_context(|| format!("no {name} in {counted}"));
    outcome.acked += count("acked")?;
    outcome.delivered += count("recv")?;
    outcome.toll.add(toll);
    outcome.pieces += 1;
    std::fs::remove_file(file)?;
    Ok(fleet)
}

/// Nothing of the servers' own assertions failed.
fn no_panic(fleet: &Fleet) -> Result<()> {
    for launch in &fleet.launches {
        let log = BufReader::new(File::open(&launch.log)?);
        for line in log.lines() {
            let line = line?;
            if line.contains("panicked") {
                bail!("the server panicked: {line}; {}", launch.log.display());
            }
        }
    }
    Ok(())
}

/// All devices of a run.
struct Stage {
    desks: Vec<Arc<Desk>>,
    whims: Vec<mpsc::Sender<Whim>>,
    lives: Vec<tokio::task::JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Stage {
    fn open(
        plan: &Plan,
        cast: &Cast,
        fleet: &Fleet,
        history: &History,
        random: impl Fn(u64) -> Random,
    ) -> Self {
        let nodes = fleet.servers.iter().zip(&fleet.trusted);
        let nodes: Vec<_> = nodes.map(|(s, ca)| Ready { ca: ca.clone(), ..s.ready.clone() }).collect();
        let nodes = Arc::new(nodes);
        let (stop, stopped) = watch::channel(false);
        let mut stage = Self { desks: Vec::new(), whims: Vec::new(), lives: Vec::new(), stop };
        for (index, seat) in cast.seats.iter().enumerate() {
            let transport = plan.transports[index % plan.transports.len()];
            let desk = Arc::new(Desk::new(seat, cast, history, transport, plan.wait_ms));
            let (whim, whims) = mpsc::channel(1);
            let random = random(100 + index as u64);
            let life = device::live(desk.clone(), nodes.clone(), whims, stopped.clone(), random);
            stage.lives.push(tokio::spawn(life));
            stage.whims.push(whim);
            stage.desks.push(desk);
        }
        stage
    }

    async fn close(self) {
        self.stop.send_replace(true);
        for life in self.lives {
            let _ = tokio::time::timeout(PATIENCE, life).await;
        }
    }
}

/// Silence, then every device catches up with every conversation it is in; returns how many final events there are.
async fn finish(stage: &Stage, cast: &Cast, api: &str, history: &History, guests: &Guests) -> Result<u64> {
    stage.desks.iter().for_each(|desk| desk.drafts.silent.store(true, Ordering::Relaxed));
    until("messages are not settled", || {
        let open: Vec<_> = stage.desks.iter().filter(|desk| desk.drafts.open() > 0).collect();
        open.iter().map(|desk| format!("{:?} has {}", desk.who, desk.drafts.open())).collect()
    })
    .await?;
    let http = Http::new(api);
    let mut finals = 0;
    for (index, talk) in cast.talks.iter().enumerate() {
        let path = format!("/api/v1/conversations/{}", talk.id);
        let owner = &cast.seat(&talk.steady[0]).account;
        let (_, answer) = http.insist(owner, Verb::Get, &path, Value::Null).await?;
        let head = answer["head"].as_u64().with_context(|| format!("no head in {answer}"))?;
        let present = |user: &String| {
            talk.steady.contains(user)
                || guests.lock().expect("no holder panics").contains(&(talk.name, user.clone()))
        };
        let desks: Vec<_> = stage.desks.iter().filter(|desk| present(&desk.who.user)).collect();
        until("devices did not catch up", || {
            let behind = desks.iter().filter(|desk| desk.place(index) < head);
            behind.map(|d| format!("{:?} at {} of {head} in {}", d.who, d.place(index), talk.name)).collect()
        })
        .await?;
        for desk in desks {
            let Who { user, device } = &desk.who;
            history.write(
                &json!({"e": "final", "u": user, "dev": device, "conv": talk.name, "t": history.now()}),
            );
            finals += 1;
        }
        for user in talk.steady.iter().take(2) {
            let items = read(&http, cast, talk, user, history).await?;
            history.write(
                &json!({"e": "history", "u": user, "conv": talk.name, "items": items, "t": history.now()}),
            );
            finals += 1;
        }
    }
    Ok(finals)
}

/// Waits until nobody is named any more.
async fn until(what: &str, mut who: impl FnMut() -> Vec<String>) -> Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let left = who();
        if left.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            bail!("{what} within {PATIENCE:?}: {}", left.join(", "));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The whole log as a member reads it through the API. A deleted message that the run deleted keeps its place, so
/// that a hole shows.
async fn read(
    http: &Http,
    cast: &Cast,
    talk: &Talk,
    user: &str,
    history: &History,
) -> Result<Vec<(u64, String, String)>> {
    let account = &cast.seat(user).account;
    let mut items = BTreeMap::new();
    let mut gone = Vec::new();
    let mut from = 1;
    loop {
        let path = format!("/api/v1/conversations/{}/messages?from={from}&limit={PAGE}", talk.id);
        let (status, page) = http.insist(account, Verb::Get, &path, Value::Null).await?;
        let entries = page["entries"].as_array().with_context(|| format!("{status} {page}"))?;
        for entry in entries {
            match (entry.get("message"), entry.get("gone")) {
                (Some(message), _) => note(&mut items, message)?,
                (_, Some(range)) => {
                    let ends = (range["from"].as_u64(), range["to"].as_u64());
                    let (Some(from), Some(to)) = ends else { bail!("not a range: {range}") };
                    gone.extend((from..=to).map(|offset| (offset, range["reason"].to_string())));
                }
                _ => bail!("neither message nor gap: {entry}"),
            }
        }
        let next = page["next"].as_u64().unwrap_or(0);
        if entries.is_empty() || next <= from {
            break;
        }
        from = next;
    }
    for (offset, reason) in gone {
        match history.deleted_at(talk.name, offset) {
            Some((id, hash)) => drop(items.insert(offset, (id, hash))),
            None => history.surprise(format!("{}/{offset} is gone ({reason}), nobody deleted it", talk.name)),
        }
    }
    Ok(items.into_iter().map(|(offset, (id, hash))| (offset, id, hash)).collect())
}

fn note(items: &mut BTreeMap<u64, (String, String)>, message: &Value) -> Result<()> {
    let offset = message["offset"].as_u64().with_context(|| format!("no offset: {message}"))?;
    let key = message["publish_key"].as_str().unwrap_or_default();
    let relates_to = message["relates_to"].as_u64().map(Offset);
    let body = decode(message["body"].as_str().unwrap_or_default()).context("not Base64")?;
    let kind = message["kind"].as_u64().unwrap_or(0) as u32;
    let (id, hash) = device::identify(kind, key, relates_to, &body);
    items.insert(offset, (id, hash));
    Ok(())
}

/// Standard Base64 with padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | LETTERS.iter().position(|l| *l == letter)? as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}
