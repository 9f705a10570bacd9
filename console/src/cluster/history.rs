//! What is kept of the nodes' figures: stretches of five minutes for two days, of an hour for thirty. Every console does
//! it; of two that keep the same stretch, the first one's stays.

use std::collections::{BTreeSet, VecDeque};

use schema_store::Operations;
use schema_store::accounts::Answer;

use super::figures::Figures;
use super::watch::Span;

/// Length of a fine stretch, in seconds.
pub const FINE_S: u32 = 300;
/// Length of a coarse one.
pub const COARSE_S: u32 = 3600;
const FINE_KEPT_MS: u64 = 2 * 86_400_000;
const COARSE_KEPT_MS: u64 = 30 * 86_400_000;
/// Most stretches read at once: thirty days of hours.
const SPANS_MAX: u32 = 1000;

/// Stretches that may wait for the store: a day of them.
const WAITING_MAX: usize = 288;

/// The stretch that is not over yet, behind those that the store did not take so far; each with where it begins.
#[derive(Default)]
pub struct Collecting(VecDeque<(u64, Figures)>);

/// Takes a look's stretch; keeps the five minutes, and the hour, that it ends. What the store does not take is tried again
/// with the next look.
pub async fn collect<S: Operations>(store: &S, collecting: &mut Collecting, span: Span) -> Answer<()> {
    let began_at = begin(span.ended_at() - 1, FINE_S);
    let Collecting(waiting) = collecting;
    match waiting.back_mut().filter(|(at, _)| *at == began_at) {
        Some((_, figures)) => figures.append_later(&span.figures),
        None => waiting.push_back((began_at, span.figures)),
    }
    if waiting.len() > WAITING_MAX {
        waiting.pop_front();
    }
    while let [(over, figures), (next, _), ..] = &*waiting.make_contiguous() {
        store.keep_span(*over, FINE_S, figures.write()).await?;
        if begin(*over, COARSE_S) != begin(*next, COARSE_S) {
            keep_hours(store, begin(*over, COARSE_S)).await?;
        }
        waiting.pop_front();
    }
    Ok(())
}

/// Keeps this hour, and those before it that nobody kept while their minutes are there; forgets what is old.
async fn keep_hours<S: Operations>(store: &S, last: u64) -> Answer<()> {
    let until = last + ms(COARSE_S);
    let first = until.saturating_sub(FINE_KEPT_MS);
    let kept: BTreeSet<u64> =
        read(store, COARSE_S, first, until).await?.into_iter().map(|span| span.began_at).collect();
    let hours = (first..until).step_by(ms(COARSE_S) as usize);
    for began_at in hours.filter(|began_at| !kept.contains(began_at)) {
        if let Some(whole) = merged(&read(store, FINE_S, began_at, began_at + ms(COARSE_S)).await?) {
            store.keep_span(began_at, COARSE_S, whole.write()).await?;
        }
    }
    store.forget_spans(FINE_S, first).await?;
    store.forget_spans(COARSE_S, until.saturating_sub(COARSE_KEPT_MS)).await
}

/// What is kept from `since` on, oldest first: hours as far as they go, then minutes.
pub async fn kept<S: Operations>(store: &S, since: u64, now: u64, is_coarse: bool) -> Answer<Vec<Span>> {
    Ok(parsed(written(store, since, now, is_coarse).await?))
}

/// A stretch as the store has it.
pub struct Written {
    began_at: u64,
    length_ms: u64,
    figures: Vec<u8>,
}

/// The same as `kept`, not read yet.
pub async fn written<S: Operations>(
    store: &S,
    since: u64,
    now: u64,
    is_coarse: bool,
) -> Answer<Vec<Written>> {
    if !is_coarse {
        return rows(store, FINE_S, since, now).await;
    }
    let mut hours = rows(store, COARSE_S, since, now).await?;
    let rest = hours.last().map_or(since, |last| last.began_at + last.length_ms);
    hours.extend(rows(store, FINE_S, rest, now).await?);
    Ok(hours)
}

/// Reads them. One that another version wrote in another form is no figure of this one.
pub fn parsed(written: Vec<Written>) -> Vec<Span> {
    let read = |Written { began_at, length_ms, figures }: Written| {
        Some(Span { began_at, length_ms, figures: Figures::parse(&figures)? })
    };
    written.into_iter().filter_map(read).collect()
}

async fn read<S: Operations>(store: &S, length_s: u32, from: u64, until: u64) -> Answer<Vec<Span>> {
    Ok(parsed(rows(store, length_s, from, until).await?))
}

async fn rows<S: Operations>(store: &S, length_s: u32, from: u64, until: u64) -> Answer<Vec<Written>> {
    let rows = store.spans(length_s, from, until, SPANS_MAX).await?;
    let length_ms = ms(length_s);
    Ok(rows.into_iter().map(|(began_at, figures)| Written { began_at, length_ms, figures }).collect())
}

/// The same stretches, so many put together that at most `most` are left.
pub fn gathered(spans: &[Span], most: usize) -> Vec<Span> {
    let together = |few: &[Span]| {
        let figures = merged(few)?;
        let (began_at, length_ms) = (few.first()?.began_at, few.iter().map(|span| span.length_ms).sum());
        Some(Span { began_at, length_ms, figures })
    };
    spans.chunks(spans.len().div_ceil(most).max(1)).filter_map(together).collect()
}

/// Everything that happened in these stretches.
pub fn merged(spans: &[Span]) -> Option<Figures> {
    let (first, rest) = spans.split_first()?;
    let mut whole = first.figures.clone();
    rest.iter().for_each(|span| whole.append_later(&span.figures));
    Some(whole)
}

fn ms(length_s: u32) -> u64 {
    u64::from(length_s) * 1000
}

/// Where the stretch begins that a moment is in.
fn begin(at: u64, length_s: u32) -> u64 {
    at - at % ms(length_s)
}

#[cfg(test)]
mod tests {
    use schema_store::SqliteStore;

    use super::*;

    /// The beginning of an hour.
    const BEGIN: u64 = 1_800_000_000_000;

    #[tokio::test]
    async fn minutes_become_an_hour_without_loss() {
        let folder = std::env::temp_dir().join(format!("console-history-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = SqliteStore::open(&folder.join("store.db")).unwrap();
        let mut collecting = Collecting::default();
        // Sixty-six minutes of a message each ten seconds.
        for n in 0..66 * 6 {
            let figures = Figures::read("messages_sent_total 1\nrelay_sessions_active 3\n", "", 1).unwrap();
            let span = Span { began_at: BEGIN + n * 10_000, length_ms: 10_000, figures };
            collect(&store, &mut collecting, span).await.unwrap();
        }
        let spans = kept(&store, BEGIN, BEGIN + 2 * ms(COARSE_S), true).await.unwrap();
        let shape: Vec<_> =
            spans.iter().map(|one| (one.length_ms, one.figures.count("messages_sent_total"))).collect();
        assert_eq!(shape, [(ms(COARSE_S), 360.0), (ms(FINE_S), 30.0)], "an hour, then what followed it");
        assert_eq!(merged(&spans).unwrap().level("relay_sessions_active"), 3.0, "levels are the last ones");
        let fine = kept(&store, BEGIN, BEGIN + 2 * ms(COARSE_S), false).await.unwrap();
        assert_eq!(fine.len(), 13, "the minutes are there as well");
        let few = gathered(&fine, 5);
        let shape: Vec<_> = few.iter().map(|one| one.length_ms / ms(FINE_S)).collect();
        assert_eq!((shape, few[1].began_at), (vec![3, 3, 3, 3, 1], BEGIN + 3 * ms(FINE_S)));
        assert_eq!(merged(&few), merged(&fine), "nothing is lost");
        assert!(gathered(&[], 5).is_empty());
        drop(store);
        std::fs::remove_dir_all(folder).unwrap();
    }
    /// Ten seconds with a message, `n` tens of seconds after the beginning.
    fn span(n: u64) -> Span {
        let figures = Figures::read("messages_sent_total 1\n", "", 1).unwrap();
        Span { began_at: BEGIN + n * 10_000, length_ms: 10_000, figures }
    }

    async fn shape(store: &SqliteStore, hours: u64) -> Vec<(u64, f64)> {
        let spans = kept(store, BEGIN, BEGIN + hours * ms(COARSE_S), true).await.unwrap();
        let shape = |one: &Span| (one.length_ms / ms(FINE_S), one.figures.count("messages_sent_total"));
        spans.iter().map(shape).collect()
    }

    #[tokio::test]
    async fn what_the_store_does_not_take_is_kept_later() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        let store = SqliteStore::open(&file).unwrap();
        let operator = rusqlite::Connection::open(&file).unwrap();
        let mut collecting = Collecting::default();
        operator.execute_batch("ALTER TABLE metric_spans RENAME TO away").unwrap();
        let mut refused = 0;
        for n in 0..62 * 6 {
            refused += u32::from(collect(&store, &mut collecting, span(n)).await.is_err());
        }
        assert!(refused > 0);
        operator.execute_batch("ALTER TABLE away RENAME TO metric_spans").unwrap();
        for n in 62 * 6..66 * 6 {
            collect(&store, &mut collecting, span(n)).await.unwrap();
        }
        assert_eq!(shape(&store, 2).await, [(12, 360.0), (1, 30.0)], "nothing is lost, the hour neither");
    }

    #[tokio::test]
    async fn an_hour_that_nobody_kept_is_made_up_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("store.db")).unwrap();
        // One console keeps minutes until it dies before the hour is over; another one begins in the next hour.
        let mut dies = Collecting::default();
        for n in 0..56 * 6 {
            collect(&store, &mut dies, span(n)).await.unwrap();
        }
        let mut begins = Collecting::default();
        for n in 70 * 6..121 * 6 {
            collect(&store, &mut begins, span(n)).await.unwrap();
        }
        assert_eq!(shape(&store, 2).await, [(12, 330.0), (12, 300.0)], "both hours");
    }
}
