//! Looks at every node now and then, remembers the last minutes, and hands full stretches to the history.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use schema_store::accounts::Answer;
use schema_store::rows::node::{NODE_LEASE_MS, NodeRow, NodeState};

use super::ask::{AskFault, get};
use super::figures::Figures;
use super::history;
use crate::app::{App, Backing};

/// How often the nodes are asked.
pub const EVERY: Duration = Duration::from_secs(10);
/// Looks remembered here: five minutes.
const LOOKS_MAX: usize = 30;
/// Nodes asked at once; more are left out, and that is said.
const NODES_MAX: usize = 256;

/// A stretch of time and what happened in it, over all nodes.
#[derive(Clone, Debug)]
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
    pub at: u64,
    pub figures: Figures,
}

/// What is known of the nodes. Shared by the pages and the task that looks.
#[derive(Default)]
pub struct Watch {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    said: BTreeMap<u16, Said>,
    spans: VecDeque<Span>,
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

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes what the nodes said at `now`; returns the stretch since the last look.
    fn learn(&self, heard: Vec<(u16, Said)>, now: u64) -> Option<Span> {
        let mut known = self.known();
        let began_at = known.said.values().map(|said| said.at).max();
        let mut sum = Figures::default();
        for (node, said) in &heard {
            let grown = match known.said.get(node) {
                Some(before) if before.started_at == said.started_at => said.figures.since(&before.figures),
                // What it did before anybody looked belongs to no stretch.
                _ => Figures { levels: said.figures.levels.clone(), ..Figures::default() },
            };
            sum.add(&grown);
        }
        known.said = heard.into_iter().collect();
        let began_at = began_at.filter(|at| *at < now)?;
        let span = Span { began_at, length_ms: now - began_at, figures: sum };
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
    let there: Vec<NodeRow> =
        app.store.nodes().await?.into_iter().filter(|node| is_there(node, now)).collect();
    if there.len() > NODES_MAX {
        tracing::warn!(nodes = there.len(), asked = NODES_MAX, "there are more nodes than the console asks");
    }
    let asked = there.iter().take(NODES_MAX).map(|node| async move {
        match ask(node).await {
            Ok(figures) => {
                figures.map(|figures| (node.node.0, Said { started_at: node.started_at, at: now, figures }))
            }
            Err(fault) => {
                tracing::debug!(node = node.node.0, %fault, "a node gave no figures");
                None
            }
        }
    });
    let heard: Vec<(u16, Said)> = join_all(asked).await.into_iter().flatten().collect();
    match app.watch.learn(heard, now) {
        Some(span) => history::collect(&app.store, collecting, span).await,
        None => Ok(()),
    }
}

async fn ask(node: &NodeRow) -> Result<Option<Figures>, AskFault> {
    let (metrics, hdr) = (get(&node.address, "/metrics").await?, get(&node.address, "/hdr").await?);
    Ok(Figures::read(&metrics, &hdr))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(started_at: u64, at: u64, sent: u64) -> Said {
        let figures =
            Figures::read(&format!("messages_sent_total {sent}\nrelay_sessions_active 2\n"), "").unwrap();
        Said { started_at, at, figures }
    }

    #[test]
    fn a_stretch_holds_what_happened_in_it() {
        let watch = Watch::default();
        assert!(watch.learn(vec![(1, said(7, 1000, 500))], 1000).is_none(), "nothing to compare with yet");
        let span = watch.learn(vec![(1, said(7, 2000, 540)), (2, said(8, 2000, 90))], 2000).unwrap();
        assert_eq!(
            (span.began_at, span.length_ms, span.figures.count("messages_sent_total")),
            (1000, 1000, 40.0)
        );
        assert_eq!(span.figures.level("relay_sessions_active"), 4.0, "the new node's sessions are there");
        let span = watch.learn(vec![(1, said(9, 3000, 5)), (2, said(8, 3000, 100))], 3000).unwrap();
        assert_eq!(
            span.figures.count("messages_sent_total"),
            10.0,
            "a node that started anew begins a stretch"
        );
        for n in 4..60 {
            watch.learn(vec![(2, said(8, n * 1000, 100))], n * 1000);
        }
        assert_eq!(watch.recent().len(), LOOKS_MAX);
        assert_eq!(watch.said().len(), 1);
    }
}
