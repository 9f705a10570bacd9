//! The nodes: what each is and does, until when its certificate holds, who takes what is sent to them most slowly; a way
//! to send its clients elsewhere, and to close one connection.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::account::{AuditEntry, audit_event};
use schema_store::rows::node::{NodeRow, NodeState};
use schema_wire::{SessionId, UserId};

use crate::access::secret::Secret;
use crate::app::App;
use crate::cluster::ask::order;
use crate::cluster::consumers::{Consumer, NODES_ASKED, slowest};
use crate::cluster::watch::{Said, is_there};
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, OPERATION_READERS, OPERATORS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, copyable, csrf, moment, span, table};

const DAY_MS: u64 = 86_400_000;
/// A certificate that ends sooner should have been replaced.
const CERTIFICATE_WARN_MS: u64 = 30 * DAY_MS;
/// One that ends sooner is about to keep everybody out.
const CERTIFICATE_BAD_MS: u64 = 7 * DAY_MS;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![
        read("/nodes", Who::Roles(OPERATION_READERS), "nodes.read").to(page::<S>),
        send("/nodes/{node}/drain", Who::Roles(OPERATORS), "node.drain").to(drain::<S>),
        send("/nodes/{node}/connections/{session}/close", Who::Roles(OPERATORS), "connection.close")
            .to(close::<S>),
    ]
}

struct Nodes {
    rows: Vec<NodeRow>,
    said: BTreeMap<u16, Said>,
    /// Who is slow, if nodes can be asked and given orders from here.
    slow: Option<Vec<Consumer>>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let rows = app.store.nodes().await?;
    let slow = match &app.config.control {
        Some(secret) => {
            let there: Vec<&NodeRow> = rows.iter().filter(|row| is_there(row, visit.now_ms)).collect();
            Some(slowest(&there, secret).await)
        }
        None => None,
    };
    let nodes = Nodes { rows, said: app.watch.said(), slow };
    Ok(render::show(StatusCode::OK, visit, nodes, draw).await)
}

/// The node, and the secret it obeys; otherwise what there is to say about that.
async fn reached<'a, S: Desk>(
    app: &'a App<S>,
    node: &str,
    now: u64,
) -> Result<Result<(NodeRow, &'a Secret), &'static str>, Trouble> {
    let number: u16 = node.parse().map_err(|_| Trouble::NotFound)?;
    let row =
        app.store.nodes().await?.into_iter().find(|row| row.node.0 == number).ok_or(Trouble::NotFound)?;
    let Some(secret) = &app.config.control else { return Ok(Err("drain-closed")) };
    Ok(if is_there(&row, now) { Ok((row, secret)) } else { Err("overtaken") })
}

/// Closes the connection of somebody who does not keep up. They may come back and resume.
async fn close<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path((node, session)): Path<(String, String)>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let session = SessionId(session.parse().map_err(|_| Trouble::NotFound)?);
    let user = UserId::parse(fields.raw("user")).ok_or(Trouble::NotFound)?;
    let (row, secret) = match reached(&app, &node, visit.now_ms).await? {
        Ok(reached) => reached,
        Err(said) => return Ok(go(visit.jar, "/nodes", Some(said))),
    };
    // Written first: an order whose answer is lost was given all the same.
    let detail = format!("connection {:x} of node {node} ({})", session.0, row.name);
    let entry = AuditEntry { event: audit_event::CONNECTION_CLOSE_ORDERED, subject: Some(user), detail };
    app.store.audit(entry, visit.by.clone()).await?;
    let path = format!("/control/close?session={}&user={user}", session.0);
    let said = match order(&row.address, &path, secret).await {
        Ok(()) => "close-ordered",
        Err(fault) => {
            tracing::warn!(node = row.node.0, %fault, "a node could not be told to close a connection");
            "close-failed"
        }
    };
    Ok(go(visit.jar, "/nodes", Some(said)))
}

async fn drain<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(node): Path<String>,
) -> Result<Response, Trouble> {
    let (row, secret) = match reached(&app, &node, visit.now_ms).await? {
        Ok(reached) => reached,
        Err(said) => return Ok(go(visit.jar, "/nodes", Some(said))),
    };
    let number = row.node.0;
    // Written first: an order whose answer is lost was given all the same.
    let detail = format!("node {number} ({})", row.name);
    let entry = AuditEntry { event: audit_event::NODE_DRAIN_ORDERED, subject: None, detail };
    app.store.audit(entry, visit.by.clone()).await?;
    let said = match order(&row.address, "/control/drain", secret).await {
        Ok(()) => "drain-ordered",
        Err(fault) => {
            tracing::warn!(node = number, %fault, "a node could not be told to drain");
            "drain-failed"
        }
    };
    Ok(go(visit.jar, "/nodes", Some(said)))
}

fn draw(visit: &Visit, nodes: &Nodes) -> Page {
    let heads = [
        "node",
        "node-name",
        "case-state",
        "node-do",
        "node-certificate",
        "node-version",
        "node-uptime",
        "node-shards",
        "node-sessions",
        "node-websocket",
        "node-quic",
        "node-waiting",
        "node-lag",
        "node-memory",
    ];
    let rows: Vec<AnyView> = nodes.rows.iter().map(|node| row(visit, nodes, node)).collect();
    let list = if rows.is_empty() {
        view! { <p class="card">{visit.t("nodes-none")}</p> }.into_any()
    } else {
        table(visit.t("nav-nodes"), heads.map(|key| visit.t(key)).to_vec(), rows)
    };
    let closed = (visit.is_one_of(OPERATORS) && nodes.slow.is_none())
        .then(|| view! { <p class="hint">{visit.t("drain-why-closed")}</p> });
    let body = view! { {list}{closed}{consumers(visit, nodes)} };
    Page { title: visit.t("nav-nodes"), body: copyable(visit, body.into_any()) }
}

fn consumers(visit: &Visit, nodes: &Nodes) -> Option<AnyView> {
    let slow = nodes.slow.as_ref()?;
    let rows: Vec<AnyView> = slow.iter().map(|one| consumer(visit, one)).collect();
    let heads = [
        "node",
        "consumer-connection",
        "audit-subject",
        "consumer-transport",
        "consumer-frames",
        "consumer-bytes",
        "consumer-waited",
        "node-do",
    ];
    let list = if rows.is_empty() {
        view! { <p class="card">{visit.t("consumers-none")}</p> }.into_any()
    } else {
        table(visit.t("consumers-title"), heads.map(|key| visit.t(key)).to_vec(), rows)
    };
    let there = nodes.rows.iter().filter(|row| is_there(row, visit.now_ms)).count();
    let more = (there > NODES_ASKED)
        .then(|| view! { <p class="hint">{visit.language.count("consumers-more", NODES_ASKED as u64)}</p> });
    let section = view! {
        <section aria-labelledby="consumers">
            <h2 id="consumers">{visit.t("consumers-title")}</h2>
            {list}
            {more}
        </section>
    };
    Some(section.into_any())
}

fn consumer(visit: &Visit, one: &Consumer) -> AnyView {
    let action = format!("/nodes/{}/connections/{}/close", one.node, one.session);
    let form = visit.is_one_of(OPERATORS).then(|| {
        view! {
            <form method="post" action=action class="inline">
                {csrf(visit)}
                <input type="hidden" name="user" value=one.user.to_string()/>
                <button type="submit" class="warn">{visit.t("consumer-close")}</button>
            </form>
        }
    });
    view! {
        <tr>
            <th scope="row">{one.node}</th>
            <td><code>{format!("{:x}", one.session)}</code></td>
            <td><code>{one.user.to_string()}</code></td>
            <td>{visit.t(&format!("node-{}", one.transport))}</td>
            <td class="number">{one.frames}</td>
            <td class="number">{one.bytes}</td>
            <td class="number">{span(visit.language, one.waited_ms)}</td>
            <td>{form}</td>
        </tr>
    }
    .into_any()
}

/// Until when the certificate holds, in words and in colour.
fn certificate(visit: &Visit, said: &Said) -> Option<AnyView> {
    let ends_s = said.figures.level("relay_certificate_expiry_timestamp_seconds");
    let left = ((ends_s * 1000.0) as u64).saturating_sub(visit.now_ms);
    let kind = match left {
        0..CERTIFICATE_BAD_MS => "bad",
        CERTIFICATE_BAD_MS..CERTIFICATE_WARN_MS => "warn",
        _ => "good",
    };
    let text = if left == 0 { visit.t("certificate-over") } else { span(visit.language, left) };
    (ends_s != 0.0).then(|| badge(kind, text))
}

fn row(visit: &Visit, nodes: &Nodes, node: &NodeRow) -> AnyView {
    let is_there = is_there(node, visit.now_ms);
    let state = match (node.state, is_there) {
        (NodeState::Gone, _) => badge("", visit.t("node-gone")),
        (_, false) => badge("bad", visit.t("node-silent")),
        (NodeState::Ready, true) => badge("good", visit.t("node-ready")),
        (NodeState::Draining, true) => badge("warn", visit.t("node-draining")),
    };
    let said = nodes.said.get(&node.node.0).filter(|said| is_there && said.started_at == node.started_at);
    let level = |names: &[&str]| {
        said.map(|said| names.iter().map(|name| said.figures.level(name)).sum::<f64>() as u64)
    };
    let memory = level(&["process_resident_memory_bytes"]).map(|bytes| bytes.div_ceil(1024 * 1024));
    let uptime = is_there.then(|| span(visit.language, visit.now_ms.saturating_sub(node.started_at)));
    let shards = said.map(|said| said.figures.shards.len());
    let waiting = level(&["relay_outbox_bytes"]).map(|bytes| bytes.div_ceil(1024));
    let lag = level(&["relay_bus_lag_microseconds"]).filter(|us| *us > 0);
    let lag = lag.map_or_else(|| "–".to_owned(), |us| format!("{:.1} ms", us as f64 / 1000.0));
    let may =
        visit.is_one_of(OPERATORS) && nodes.slow.is_some() && is_there && node.state == NodeState::Ready;
    view! {
        <tr>
            <th scope="row">{node.node.0}</th>
            <td><bdi>{node.name.clone()}</bdi></td>
            <td>{state}" "{(!is_there).then(|| moment(node.seen_at))}</td>
            <td>{may.then(|| drain_form(visit, node))}</td>
            <td>{said.and_then(|said| certificate(visit, said))}</td>
            <td>{node.version.clone()}</td>
            <td>{uptime}</td>
            <td class="number">{shards}</td>
            <td class="number">{level(&["relay_sessions_active"])}</td>
            <td class="number">{level(&["websocket_connections_active"])}</td>
            <td class="number">{level(&["quic_connections_active"])}</td>
            <td class="number">{waiting.map(|kib| visit.language.count("kib", kib))}</td>
            <td class="number">{said.map(|_| lag)}</td>
            <td class="number">{memory.map(|mib| visit.language.count("person-storage-mib", mib))}</td>
        </tr>
    }
    .into_any()
}

fn drain_form(visit: &Visit, node: &NodeRow) -> AnyView {
    view! {
        <details>
            <summary>{visit.t("drain")}</summary>
            <form method="post" action=format!("/nodes/{}/drain", node.node.0)>
                {csrf(visit)}
                <p class="hint">{visit.t("drain-what")}</p>
                <button type="submit" class="warn">{visit.t("drain-do")}</button>
            </form>
        </details>
    }
    .into_any()
}
