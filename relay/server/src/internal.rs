//! The internal listener's requests and answers: `/health`, `/ready`, `/metrics`, `/hdr`, `/control/…`. Bytes in, bytes
//! out; the thread that owns the sockets collects the snapshots and keeps the deadlines.

use std::sync::Arc;

use crate::access::Secret;
use crate::metrics::{ProcessStats, Snapshot, certificate, hdr_lines, prometheus};
use crate::transport::http::{self, Head, HeadBuffer, Status};

pub mod connection;
pub mod control;
pub mod listener;
#[cfg(test)]
mod tests;

/// Requests after which a connection is closed, so that none lives forever.
pub const REQUESTS_PER_CONNECTION_MAX: u32 = 1_000;

/// What is served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether the process works.
    Health,
    /// Whether it should get clients now.
    Ready,
    /// Prometheus text.
    Metrics,
    /// HDR histograms per shard and step.
    Hdr,
}

impl Route {
    fn from_path(path: &str) -> Option<Self> {
        match path {
            "/health" => Some(Self::Health),
            "/ready" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            "/hdr" => Some(Self::Hdr),
            _ => None,
        }
    }

    /// Whether the answer needs fresh snapshots of the shards.
    pub fn needs_snapshots(self) -> bool {
        matches!(self, Self::Metrics | Self::Hdr)
    }
}

/// A request to answer with [`respond`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub route: Route,
    /// Whether the connection stays open after the answer.
    pub keeps_open: bool,
    is_head: bool,
}

/// What the bytes of a connection amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound {
    /// More bytes are needed.
    NeedMore,
    /// Collect what the route needs and answer.
    Request(Request),
    /// Do as it says and answer with [`accepted`], or a question with [`told`].
    Order {
        /// What somebody with the secret asked for.
        order: control::Order,
        /// Whether the connection stays open after the answer.
        keeps_open: bool,
    },
    /// Send the response; go on if it says so, else close.
    Refused {
        /// The whole response.
        response: Vec<u8>,
        /// Whether the connection stays open after the answer.
        keeps_open: bool,
    },
}

/// One connection of the internal listener.
#[derive(Debug)]
pub struct Exchange {
    head: HeadBuffer,
    requests: u32,
    metrics_enabled: bool,
    secret: Option<Arc<Secret>>,
}

impl Exchange {
    /// A new connection; without metrics, `/metrics` and `/hdr` are not found.
    pub fn new(metrics_enabled: bool) -> Self {
        Self { head: HeadBuffer::default(), requests: 0, metrics_enabled, secret: None }
    }

    /// The same; who shows the secret may give orders. Without one, there are none.
    pub fn controlled(self, secret: Option<Arc<Secret>>) -> Self {
        Self { secret, ..self }
    }

    /// Takes the next bytes. After answering a request, call again, with no bytes if none came, as the next
    /// request may be here already.
    pub fn push(&mut self, input: &[u8]) -> Inbound {
        let length = match self.head.push(input) {
            Head::NeedMore => return Inbound::NeedMore,
            Head::Refused(status) => return refuse(status, "", false, false),
            Head::Complete(length) => length,
        };
        self.requests += 1;
        let may_stay = self.requests < REQUESTS_PER_CONNECTION_MAX;
        let judged = http::parse(&self.head.bytes()[..length], |request| self.judge(request, may_stay));
        self.head.drop_head(length);
        judged.unwrap_or_else(|status| refuse(status, "", false, false))
    }

    fn judge(&self, request: &http::Request<'_, '_>, may_stay: bool) -> Inbound {
        let is_head = request.method == Some("HEAD");
        let has_host = matches!(http::single(request, "Host"), Ok(Some(_)));
        let is_chunked = http::values(request, "Transfer-Encoding").next().is_some();
        let has_body = !matches!(http::single(request, "Content-Length"), Ok(None | Some(b"0")));
        if !has_host || is_chunked || has_body {
            return refuse(Status::BAD_REQUEST, "", is_head, false);
        }
        let keeps_open = may_stay && !http::lists(request, "Connection", "close");
        let path = http::path(request);
        if path.starts_with(control::PREFIX) {
            return match control::judge(request, self.secret.as_deref()) {
                Ok(order) => Inbound::Order { order, keeps_open },
                // Who guesses pays with a connection each time.
                Err(status) => refuse(status, "", is_head, false),
            };
        }
        let served = |route: &Route| self.metrics_enabled || !route.needs_snapshots();
        match Route::from_path(path).filter(served) {
            None => refuse(Status::NOT_FOUND, "", is_head, keeps_open),
            Some(_) if !is_head && request.method != Some("GET") => {
                refuse(Status::METHOD_NOT_ALLOWED, "Allow: GET, HEAD\r\n", false, keeps_open)
            }
            Some(route) => Inbound::Request(Request { route, keeps_open, is_head }),
        }
    }
}

/// The answer to a question that only who knows the secret may ask.
pub fn told(json: &str, keeps_open: bool) -> Vec<u8> {
    http::response(Status::OK, "application/json", connection(keeps_open), json.as_bytes(), false)
}

/// The answer to an order that is being carried out.
pub fn accepted(keeps_open: bool) -> Vec<u8> {
    http::response(Status::ACCEPTED, "application/json", connection(keeps_open), b"{}\n", false)
}

fn refuse(status: Status, fields: &str, is_head: bool, keeps_open: bool) -> Inbound {
    let fields = format!("{fields}{}", connection(keeps_open));
    let body = format!("{}\n", status.phrase);
    let response = http::response(status, "text/plain; charset=utf-8", &fields, body.as_bytes(), is_head);
    Inbound::Refused { response, keeps_open }
}

fn connection(keeps_open: bool) -> &'static str {
    if keeps_open { "" } else { "Connection: close\r\n" }
}

/// What the node knows about itself when it answers.
#[derive(Clone, Debug, Default)]
pub struct NodeState {
    /// The version of this build.
    pub version: &'static str,
    /// Why the process is broken, such as a shard that does not answer; empty when it works.
    pub faults: Vec<String>,
    /// Why no clients should come now, such as draining or a store that does not answer; empty when ready.
    pub obstacles: Vec<String>,
    /// One per shard, for routes that need them.
    pub snapshots: Vec<Snapshot>,
    /// The process's numbers, for `/metrics`.
    pub process: ProcessStats,
    /// End of the validity of the certificate in use, in seconds since 1970.
    pub certificate_not_after_s: i64,
    /// Prometheus text of whatever else runs in this process.
    pub more_metrics: String,
}

/// The whole response to a request.
pub fn respond(request: Request, state: &NodeState) -> Vec<u8> {
    let (status, content_type, body) = match request.route {
        Route::Health => verdict("ok", "failing", &state.faults, state.version),
        Route::Ready => {
            let reasons: Vec<String> = state.faults.iter().chain(&state.obstacles).cloned().collect();
            verdict("ready", "not_ready", &reasons, state.version)
        }
        Route::Metrics => {
            let mut text = prometheus(&state.snapshots, &state.process, state.version);
            text.push_str(&certificate(state.certificate_not_after_s));
            text.push_str(&state.more_metrics);
            (Status::OK, "text/plain; version=0.0.4; charset=utf-8", text)
        }
        Route::Hdr => (Status::OK, "application/x-ndjson", hdr_lines(&state.snapshots)),
    };
    let fields = connection(request.keeps_open);
    http::response(status, content_type, fields, body.as_bytes(), request.is_head)
}

fn verdict(good: &str, bad: &str, reasons: &[String], version: &str) -> (Status, &'static str, String) {
    let (status, word) = match reasons {
        [] => (Status::OK, good),
        _ => (Status::UNAVAILABLE, bad),
    };
    let body = serde_json::json!({ "status": word, "reasons": reasons, "version": version });
    (status, "application/json", format!("{body}\n"))
}
