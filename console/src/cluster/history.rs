//! What is kept of the nodes' figures: stretches of five minutes for two days, of an hour for thirty. Every console does
//! it; of two that keep the same stretch, the first one's stays.

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

/// The stretch that is not over yet.
#[derive(Default)]
pub struct Collecting {
    began_at: u64,
    figures: Option<Figures>,
}

/// Takes a look's stretch; keeps the five minutes, and the hour, that it ends.
pub async fn collect<S: Operations>(store: &S, collecting: &mut Collecting, span: Span) -> Answer<()> {
    let began_at = begin(span.ended_at() - 1, FINE_S);
    if collecting.began_at != began_at {
        let over = collecting.began_at;
        if let Some(figures) = collecting.figures.take() {
            store.keep_span(over, FINE_S, figures.write()).await?;
            if begin(over, COARSE_S) != begin(began_at, COARSE_S) {
                keep_hour(store, begin(over, COARSE_S)).await?;
            }
        }
        collecting.began_at = began_at;
    }
    match &mut collecting.figures {
        Some(figures) => figures.append_later(&span.figures),
        none => *none = Some(span.figures),
    }
    Ok(())
}

async fn keep_hour<S: Operations>(store: &S, began_at: u64) -> Answer<()> {
    let until = began_at + ms(COARSE_S);
    if let Some(whole) = merged(&read(store, FINE_S, began_at, until).await?) {
        store.keep_span(began_at, COARSE_S, whole.write()).await?;
    }
    store.forget_spans(FINE_S, until.saturating_sub(FINE_KEPT_MS)).await?;
    store.forget_spans(COARSE_S, until.saturating_sub(COARSE_KEPT_MS)).await
}

/// What is kept from `since` on, oldest first: hours as far as they go, then minutes.
pub async fn kept<S: Operations>(store: &S, since: u64, now: u64, is_coarse: bool) -> Answer<Vec<Span>> {
    if !is_coarse {
        return read(store, FINE_S, since, now).await;
    }
    let mut spans = read(store, COARSE_S, since, now).await?;
    let rest = spans.last().map_or(since, Span::ended_at);
    spans.extend(read(store, FINE_S, rest, now).await?);
    Ok(spans)
}

async fn read<S: Operations>(store: &S, length_s: u32, from: u64, until: u64) -> Answer<Vec<Span>> {
    let rows = store.spans(length_s, from, until, SPANS_MAX).await?;
    // One that another version wrote in another form is no figure of this one.
    let read = |(began_at, written): (u64, Vec<u8>)| {
        Some(Span { began_at, length_ms: ms(length_s), figures: Figures::parse(&written)? })
    };
    Ok(rows.into_iter().filter_map(read).collect())
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
}
