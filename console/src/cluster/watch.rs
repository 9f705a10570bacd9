//! Looks at every node, and at what they lean on, now and then; remembers the last minutes, and hands full stretches to
//! the history.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::{join, join_all};
use schema_store::accounts::Answer;
use schema_store::rows::node::{NODE_LEASE_MS, NodeRow, NodeState};
use schema_wire::Step;

use super::ask::{AskFault, get};
use super::figures::Figures;
use super::heat::{Column, Heat};
use super::history;
use super::live::Live;
use super::past::Pasts;
use super::servers::Servers;
use crate::app::{App, Backing};

/// How often the nodes are asked.
pub const EVERY: Duration = Duration::from_secs(5);
/// Looks remembered here: five minutes.
const LOOKS_MAX: usize = 60;
/// Nodes asked at once; more are left out, and that is said.
const NODES_MAX: usize = 256;

/// A stretch of time and what happened in it, over all nodes.
#[derive(Clone, PartialEq, Debug)]
pub struct Span {
    /// Unix ms.
    pub began_at: u64,
    pub length_ms: u64,
    pub figures: Figures,
}

impl Span {
    /// Where it ends, unix ms.
    pub fn ended_at(&self) -> u64 {
        self.began_at + self.length_ms
    }
}

/// What one node said last, since its start.
#[derive(Clone, Debug)]
pub struct Said {
    /// It changes when the node starts anew.
    pub started_at: u64,
    pub figures: Figures,
}

/// What is known of the nodes. Shared by the pages and the task that looks.
#[derive(Default)]
pub struct Watch {
    known: Mutex<Known>,
    /// Who is told of each look.
    pub live: Live,
    /// Ranges of what is kept, ready to be shown.
    pub pasts: Pasts,
}

#[derive(Default)]
struct Known {
    /// When somebody last looked, unix ms.
    looked_at: Option<u64>,
    said: BTreeMap<u16, Said>,
    /// What nodes that gave no answer this time had said: what they do meanwhile is told with their next answer.
    silent: BTreeMap<u16, Said>,
    servers: Option<Servers>,
    spans: VecDeque<Span>,
    heat: Heat,
}

/// What one look found.
struct Heard {
    nodes: Vec<(u16, Said)>,
    /// Nodes that are not gone, whether they answered or not.
    there: BTreeSet<u16>,
    servers: Servers,
}

impl Watch {
    /// The last minutes, oldest first.
    pub fn recent(&self) -> Vec<Span> {
        self.known().spans.iter().cloned().collect()
    }

    /// What each node said last.
    pub fn said(&self) -> BTreeMap<u16, Said> {
        self.known().said.clone()
    }

    /// What database and Redis said last; `None` before the first look.
    pub fn servers(&self) -> Option<Servers> {
        self.known().servers.clone()
    }

    /// How long a step took, moment by moment, from `since` on.
    pub fn heat(&self, step: Step, since: u64) -> Vec<Column> {
        self.known().heat.columns(step, since)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes what was said at `now`; returns the stretch since the last look.
    fn learn(&self, heard: Heard, now: u64) -> Option<Span> {
        let mut known = self.known();
        let began_at = known.looked_at.replace(now);
        let mut sum = Figures::default();
        for (node, said) in &heard.nodes {
            let grown = match known.said.get(node).or_else(|| known.silent.get(node)) {
                Some(before) if before.started_at == said.started_at => said.figures.since(&before.figures),
                // What it did before anybody looked belongs to no stretch.
                _ => Figures { levels: said.figures.levels.clone(), ..Figures::default() },
            };
            sum.add(&grown);
        }
        let shared = heard.servers.figures();
        sum.add(&match &known.servers {
            Some(before) => shared.since(&before.figures()),
            None => Figures { levels: shared.levels, ..Figures::default() },
        });
        let said = heard.nodes.into_iter().collect();
        let before = std::mem::replace(&mut known.said, said);
        known.silent.extend(before);
        let Known { said, silent, .. } = &mut *known;
        silent.retain(|node, _| heard.there.contains(node) && !said.contains_key(node));
        known.servers = Some(heard.servers);
        let began_at = began_at.filter(|at| *at < now)?;
        let span = Span { began_at, length_ms: now - began_at, figures: sum };
        known.heat.learn(&span);
        known.spans.push_back(span.clone());
        if known.spans.len() > LOOKS_MAX {
            known.spans.pop_front();
        }
        Some(span)
    }
}

/// Whether a node can be asked at all.
pub fn is_there(node: &NodeRow, now: u64) -> bool {
    node.state != NodeState::Gone && node.seen_at + NODE_LEASE_MS > now
}

/// Looks until it is dropped.
pub async fn watch_over<S: Backing>(app: App<S>) {
    let mut collecting = history::Collecting::default();
    loop {
        if let Err(error) = look(&app, &mut collecting).await {
            tracing::warn!(%error, "the nodes' figures could not be kept; trying again");
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn look<S: Backing>(app: &App<S>, collecting: &mut history::Collecting) -> Answer<()> {
    let now = app.clock.now_ms();
    let mut nodes = app.store.nodes().await?;
    nodes.retain(|node| node.state != NodeState::Gone);
    let known = nodes.iter().map(|node| node.node.0).collect();
    let there: Vec<NodeRow> = nodes.into_iter().filter(|node| is_there(node, now)).collect();
    if there.len() > NODES_MAX {
        tracing::warn!(nodes = there.len(), asked = NODES_MAX, "there are more nodes than the console asks");
    }
    let asked = there.iter().take(NODES_MAX).map(|node| async move {
        match figures_of(node).await {
            Ok(figures) => {
                figures.map(|figures| (node.node.0, Said { started_at: node.started_at, figures }))
            }
            Err(fault) => {
                tracing::debug!(node = node.node.0, %fault, "a node gave no figures");
                None
            }
        }
    });
    let servers = Servers::look(&app.store, app.config.shared.as_ref());
    let (nodes, servers) = join(join_all(asked), servers).await;
    app.metrics.beside("servers", servers.render());
    let heard = Heard { nodes: nodes.into_iter().flatten().collect(), there: known, servers };
    let learned = app.watch.learn(heard, now);
    app.watch.live.tick();
    if let Some(span) = learned {
        history::collect(&app.store, collecting, span).await?;
    }
    app.watch.pasts.refresh(&app.store, now).await
}

async fn figures_of(node: &NodeRow) -> Result<Option<Figures>, AskFault> {
    let (metrics, hdr) = (get(&node.address, "/metrics").await?, get(&node.address, "/hdr").await?);
    Ok(Figures::read(&metrics, &hdr, node.node.0))
}

#[cfg(test)]
mod tests {
    use schema_store::redis::RedisCondition;

    use super::*;

    fn said(started_at: u64, sent: u64) -> Said {
        let metrics = format!("messages_sent_total {sent}\nrelay_sessions_active 2\n");
        Said { started_at, figures: Figures::read(&metrics, "", 1).unwrap() }
    }

    /// A look at these nodes while Redis has found so many keys.
    fn heard(nodes: Vec<(u16, Said)>, hits: u64) -> Heard {
        let redis = RedisCondition { hits, ..RedisCondition::default() };
        let servers = Servers { database: None, redis: Some(Some(redis)) };
        Heard { nodes, there: BTreeSet::from([1, 2]), servers }
    }

    #[test]
    fn a_stretch_holds_what_happened_in_it() {
        let watch = Watch::default();
        let first = watch.learn(heard(vec![(1, said(7, 500))], 70), 1000);
        assert!(first.is_none(), "nothing to compare with yet");
        let both = vec![(1, said(7, 540)), (2, said(8, 90))];
        let span = watch.learn(heard(both, 75), 2000).unwrap();
        assert_eq!(span.figures.count("redis_hits_total"), 5.0);
        assert_eq!(
            (span.began_at, span.length_ms, span.figures.count("messages_sent_total")),
            (1000, 1000, 40.0)
        );
        assert_eq!(span.figures.level("relay_sessions_active"), 4.0, "the new node's sessions are there");
        let both = vec![(1, said(9, 5)), (2, said(8, 100))];
        let span = watch.learn(heard(both, 75), 3000).unwrap();
        assert_eq!(
            span.figures.count("messages_sent_total"),
            10.0,
            "a node that started anew begins a stretch"
        );
        for n in 4..90 {
            watch.learn(heard(vec![(2, said(8, 100))], 75), n * 1000);
        }
        assert_eq!(watch.recent().len(), LOOKS_MAX);
        assert_eq!(watch.heat(Step::Append, 0).len(), 88);
        assert_eq!(watch.said().len(), 1);
    }
    #[test]
    fn what_a_node_did_while_it_gave_no_answer_is_told_with_the_next_one() {
        let watch = Watch::default();
        let sent = |nodes, at| {
            let span = watch.learn(heard(nodes, 0), at);
            span.map(|span| span.figures.count("messages_sent_total"))
        };
        sent(vec![(1, said(7, 500)), (2, said(8, 90))], 1000);
        assert_eq!(sent(vec![(2, said(8, 95))], 2000), Some(5.0));
        assert_eq!(watch.said().len(), 1, "it is not shown as if it had answered");
        assert_eq!(sent(vec![(2, said(8, 95))], 3000), Some(0.0));
        assert_eq!(
            sent(vec![(1, said(7, 900)), (2, said(8, 95))], 4000),
            Some(400.0),
            "the slowest moments too"
        );
        let gone = Heard { there: BTreeSet::from([2]), ..heard(vec![(2, said(8, 95))], 0) };
        watch.learn(gone, 5000);
        assert_eq!(sent(vec![(1, said(7, 950))], 6000), Some(0.0), "one that was gone begins a stretch");
    }
}
