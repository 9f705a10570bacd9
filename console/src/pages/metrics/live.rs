//! The newest figures as they come, for the heatmap: server-sent events of one step. A stream ends with the session it
//! was opened in, with its role, and with the console.

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use schema_wire::Step;

use super::{Asked, WHO};
use crate::app::App;
use crate::cluster::heat::Column;
use crate::cluster::live::Place;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::trouble::Trouble;
use crate::frame::visit::{Viewer, Visit};

/// Whoever hears nothing for longer thinks that the way is broken.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What a new stream begins with, in milliseconds.
const SHOWN_MS: u64 = 300_000;
/// When to come back if all places are taken, in seconds.
const RETRY_S: u64 = 10;

struct Stream<S> {
    app: App<S>,
    viewer: Viewer,
    step: Step,
    place: Place,
    /// Up to where columns were sent, unix ms; `None` before the first.
    sent_until: Option<u64>,
    is_over: bool,
}

/// Opens one.
pub async fn stream<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let viewer = visit.signed_in().cloned().ok_or(Trouble::SignIn)?;
    let place = app.watch.live.place().ok_or(Trouble::TooMany(RETRY_S))?;
    let stream =
        Stream { app, viewer, step: Asked::of(&fields).step, place, sent_until: None, is_over: false };
    let events = unfold(stream, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(event)), stream))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // A proxy that collects what it passes on would keep back what is live.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(events)).into_response())
}

impl<S: Desk> Stream<S> {
    /// The next event; `None` when there is none any more.
    async fn next(&mut self) -> Option<String> {
        if self.is_over {
            return None;
        }
        if self.sent_until.is_none() {
            return Some(self.columns());
        }
        match tokio::time::timeout(HEARTBEAT, self.place.ticks.changed()).await {
            Ok(Err(_)) => return None,
            Ok(Ok(())) if self.place.ticks.borrow_and_update().is_over => return None,
            Ok(Ok(())) | Err(_) => {}
        }
        // A look at the session is no use of it: nobody stays signed in by watching.
        let sessions = self.app.store.console_sessions(self.viewer.user).await.ok()?;
        if sessions.iter().any(|one| one.id == self.viewer.session && WHO.admits(one.role)) {
            return Some(self.columns());
        }
        self.is_over = true;
        Some("event: over\ndata:\n\n".to_owned())
    }

    /// What came since the last event, or a sign of life.
    fn columns(&mut self) -> String {
        let first = self.sent_until.is_none();
        let since = self.sent_until.unwrap_or_else(|| self.app.clock.now_ms().saturating_sub(SHOWN_MS));
        let columns = self.app.watch.heat(self.step, since);
        self.sent_until = Some(columns.last().map_or(since, Column::ended_at));
        if columns.is_empty() && !first {
            return ":\n\n".to_owned();
        }
        written(&columns)
    }
}

fn written(columns: &[Column]) -> String {
    let mut event = String::from("event: columns\ndata: [");
    for (at, column) in columns.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let (began_at, length_ms, counts) = (column.began_at, column.length_ms, column.counts);
        let _ = write!(event, "{comma}{{\"at\":{began_at},\"ms\":{length_ms},\"counts\":{counts:?}}}");
    }
    event + "]\n\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::heat::ROWS;

    #[test]
    fn events_are_json_on_one_line() {
        let mut counts = [0; ROWS];
        counts[2] = 7;
        let column = Column { began_at: 5_000, length_ms: 5_000, counts };
        let event = written(&[column, column]);
        let data = event.strip_prefix("event: columns\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        let read: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!((&read[1]["at"], &read[1]["counts"][2]), (&5_000.into(), &7.into()));
        assert_eq!(written(&[]), "event: columns\ndata: []\n\n");
    }
}
