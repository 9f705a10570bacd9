//! Long ranges of figures, put together once for all who look: what is kept changes every five minutes, and thirty days of
//! histograms take a second to read and merge.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use schema_store::Operations;
use schema_store::accounts::Answer;

use super::figures::Figures;
use super::history::{self, FINE_S, gathered, merged};
use super::watch::Span;

/// Most moments of a chart and its table; more are put together. The files have all.
const MOMENTS_MAX: usize = 96;
/// From so many hours on, hours are shown instead of five minutes.
pub const COARSE_FROM_H: u64 = 48;
const SLOT_MS: u64 = FINE_S as u64 * 1000;
/// How long after the end of five minutes they are kept at the latest, but for a store that is away.
const SETTLED_MS: u64 = 15_000;
/// How long a range that nobody looks at is kept ready.
const READY_MS: u64 = 3_600_000;

/// Rooms of the page of figures, by their keys, as they are written.
pub type Written = Vec<(&'static str, String)>;

/// A range of time as a page shows it.
pub struct Past {
    /// Its moments, oldest first.
    pub spans: Vec<Span>,
    /// Everything that happened in it.
    pub whole: Figures,
    /// The moments' lengths together.
    pub length_ms: u64,
    written: Mutex<BTreeMap<String, Arc<Written>>>,
}

impl Past {
    /// Of these stretches, oldest first; `None` without any.
    pub fn of(spans: &[Span]) -> Option<Self> {
        let spans = gathered(spans, MOMENTS_MAX);
        let length_ms = spans.iter().map(|span| span.length_ms).sum();
        Some(Self { whole: merged(&spans)?, spans, length_ms, written: Mutex::default() })
    }

    /// What is written of it under this name (a language, a step), once for all who read the same.
    pub fn written(&self, name: &str, write: impl FnOnce() -> Written) -> Arc<Written> {
        let known = || self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(written) = known().get(name) {
            return written.clone();
        }
        // Others read meanwhile; two who write the same write it twice.
        let written = Arc::new(write());
        known().insert(name.to_owned(), written.clone());
        written
    }
}

/// Ranges that somebody looked at, by their length in hours.
#[derive(Default)]
pub struct Pasts {
    known: Mutex<BTreeMap<u64, Known>>,
    /// Held while one is put together: who comes meanwhile waits for it instead of doing the same.
    making: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    past: Option<Arc<Past>>,
    /// Which five minutes it was put together in.
    slot: u64,
    looked_at: u64,
}

impl Pasts {
    /// The last `hours` as kept. One that just ended its five minutes is shown until `refresh` was there.
    pub async fn last<S: Operations>(&self, store: &S, hours: u64, now: u64) -> Answer<Option<Arc<Past>>> {
        if let Some(known) = self.look(hours, now) {
            return Ok(known.past);
        }
        let _alone = self.making.lock().await;
        match self.look(hours, now) {
            Some(known) => Ok(known.past),
            None => self.make(store, hours, now, now).await,
        }
    }

    /// Puts together anew what is out of date, and forgets what nobody looks at.
    pub async fn refresh<S: Operations>(&self, store: &S, now: u64) -> Answer<()> {
        self.known().retain(|_, known| known.looked_at + READY_MS > now);
        let old =
            |(hours, known): (&u64, &Known)| (known.slot != slot(now)).then_some((*hours, known.looked_at));
        let old: Vec<_> = self.known().iter().filter_map(old).collect();
        for (hours, looked_at) in old {
            let _alone = self.making.lock().await;
            self.make(store, hours, now, looked_at).await?;
        }
        Ok(())
    }

    /// What is known and new enough; notes that somebody looks.
    fn look(&self, hours: u64, now: u64) -> Option<Known> {
        let mut known = self.known();
        let known = known.get_mut(&hours).filter(|known| known.slot + SLOT_MS >= slot(now))?;
        known.looked_at = now;
        Some(known.clone())
    }

    async fn make<S: Operations>(
        &self,
        store: &S,
        hours: u64,
        now: u64,
        looked_at: u64,
    ) -> Answer<Option<Arc<Past>>> {
        let since = now.saturating_sub(hours * 3_600_000);
        let written = history::written(store, since, now, hours >= COARSE_FROM_H).await?;
        // Other requests go on meanwhile.
        let made = tokio::task::spawn_blocking(move || Past::of(&history::parsed(written)));
        let past = made.await.expect("figures are merged without a panic").map(Arc::new);
        let mut all = self.known();
        let known = all.entry(hours).or_insert(Known { past: None, slot: 0, looked_at });
        // Somebody may have looked at the old one meanwhile.
        *known = Known { past: past.clone(), slot: slot(now), looked_at: looked_at.max(known.looked_at) };
        Ok(past)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The five minutes whose predecessors are all kept by now.
fn slot(now: u64) -> u64 {
    let settled = now.saturating_sub(SETTLED_MS);
    settled - settled % SLOT_MS
}

#[cfg(test)]
mod tests {
    use schema_store::SqliteStore;

    use super::*;

    /// The beginning of five minutes.
    const BEGIN: u64 = 1_800_000_000_000;

    fn figures() -> Figures {
        Figures::read("messages_sent_total 1\n", "", 1).unwrap()
    }

    async fn keep(store: &SqliteStore, slot: u64) {
        store.keep_span(BEGIN + slot * SLOT_MS, FINE_S, figures().write()).await.unwrap();
    }

    fn sent(past: Option<&Arc<Past>>) -> f64 {
        past.map_or(0.0, |past| past.whole.count("messages_sent_total"))
    }

    #[tokio::test]
    async fn who_looks_within_five_minutes_sees_the_same_and_then_what_was_kept_since() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.db")).unwrap();
        let pasts = Pasts::default();
        for slot in 0..3 {
            keep(&store, slot).await;
        }
        let now = BEGIN + 3 * SLOT_MS + SETTLED_MS;
        let first = pasts.last(&store, 24, now).await.unwrap();
        assert_eq!((sent(first.as_ref()), first.as_ref().unwrap().length_ms), (3.0, 3 * SLOT_MS));
        keep(&store, 3).await;
        let second = pasts.last(&store, 24, now + SLOT_MS - 1).await.unwrap();
        assert!(Arc::ptr_eq(first.as_ref().unwrap(), second.as_ref().unwrap()), "nobody merges it again");
        pasts.refresh(&store, now + SLOT_MS - 1).await.unwrap();
        assert_eq!(
            sent(pasts.last(&store, 24, now + SLOT_MS - 1).await.unwrap().as_ref()),
            3.0,
            "nor for nothing"
        );
        pasts.refresh(&store, now + SLOT_MS).await.unwrap();
        assert_eq!(sent(pasts.last(&store, 24, now + SLOT_MS).await.unwrap().as_ref()), 4.0);
        keep(&store, 4).await;
        let late = pasts.last(&store, 24, now + 3 * SLOT_MS).await.unwrap();
        assert_eq!(sent(late.as_ref()), 5.0, "nothing old is shown when nobody refreshed it");
        assert_eq!(sent(pasts.last(&store, 1, now).await.unwrap().as_ref()), 4.0, "each range by itself");
        pasts.refresh(&store, now + 3 * SLOT_MS + READY_MS).await.unwrap();
        assert!(pasts.known().is_empty(), "and forgotten once nobody looks");
    }

    #[test]
    fn a_range_has_few_moments_and_loses_nothing() {
        let spans: Vec<Span> = (0..720)
            .map(|n| Span { began_at: BEGIN + n * 3_600_000, length_ms: 3_600_000, figures: figures() })
            .collect();
        let past = Past::of(&spans).unwrap();
        assert_eq!((past.spans.len(), past.whole.count("messages_sent_total")), (90, 720.0));
        assert_eq!(past.length_ms, 720 * 3_600_000);
        assert_eq!(Some(&past.whole), merged(&spans).as_ref());
        assert!(Past::of(&[]).is_none());
    }

    #[test]
    fn what_was_written_is_not_written_again() {
        let past = Past::of(&[Span { began_at: BEGIN, length_ms: SLOT_MS, figures: figures() }]).unwrap();
        let first = past.written("en append", || vec![("metrics-traffic", "<p>1</p>".to_owned())]);
        let again = past.written("en append", || panic!("it is known"));
        assert!(Arc::ptr_eq(&first, &again));
        assert!(past.written("fr append", Vec::new).is_empty(), "each name by itself");
    }
}
