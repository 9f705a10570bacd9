//! The nodes: what each is and does, and a way to send its clients elsewhere.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::account::{AuditEntry, audit_event};
use schema_store::rows::node::{NodeRow, NodeState};

use crate::app::App;
use crate::cluster::ask::order;
use crate::cluster::watch::{Said, is_there};
use crate::frame::Desk;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, OPERATION_READERS, OPERATORS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, csrf, moment, span, table};

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![
        read("/nodes", Who::Roles(OPERATION_READERS), "nodes.read").to(page::<S>),
        send("/nodes/{node}/drain", Who::Roles(OPERATORS), "node.drain").to(drain::<S>),
    ]
}

struct Nodes {
    rows: Vec<NodeRow>,
    said: BTreeMap<u16, Said>,
    /// Whether orders can be given from here.
    has_control: bool,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let rows = app.store.nodes().await?;
    let nodes = Nodes { rows, said: app.watch.said(), has_control: app.config.control.is_some() };
    Ok(render::show(StatusCode::OK, visit, nodes, draw).await)
}

async fn drain<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(node): Path<String>,
) -> Result<Response, Trouble> {
    let number: u16 = node.parse().map_err(|_| Trouble::NotFound)?;
    let row =
        app.store.nodes().await?.into_iter().find(|row| row.node.0 == number).ok_or(Trouble::NotFound)?;
    let Some(secret) = &app.config.control else { return Ok(go(visit.jar, "/nodes", Some("drain-closed"))) };
    if !is_there(&row, visit.now_ms) {
        return Ok(go(visit.jar, "/nodes", Some("overtaken")));
    }
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
        "node-version",
        "node-uptime",
        "node-sessions",
        "node-websocket",
        "node-quic",
        "node-memory",
        "node-do",
    ];
    let rows: Vec<AnyView> = nodes.rows.iter().map(|node| row(visit, nodes, node)).collect();
    let list = if rows.is_empty() {
        view! { <p class="card">{visit.t("nodes-none")}</p> }.into_any()
    } else {
        table(visit.t("nav-nodes"), heads.map(|key| visit.t(key)).to_vec(), rows)
    };
    let closed = (visit.is_one_of(OPERATORS) && !nodes.has_control)
        .then(|| view! { <p class="hint">{visit.t("drain-why-closed")}</p> });
    let body = view! { {list}{closed} };
    Page { title: visit.t("nav-nodes"), body: body.into_any() }
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
    let may = visit.is_one_of(OPERATORS) && nodes.has_control && is_there && node.state == NodeState::Ready;
    view! {
        <tr>
            <th scope="row">{node.node.0}</th>
            <td><bdi>{node.name.clone()}</bdi></td>
            <td>{state}" "{(!is_there).then(|| moment(node.seen_at))}</td>
            <td>{node.version.clone()}</td>
            <td>{uptime}</td>
            <td class="number">{level(&["relay_sessions_active"])}</td>
            <td class="number">{level(&["websocket_connections_active"])}</td>
            <td class="number">{level(&["quic_connections_active"])}</td>
            <td class="number">{memory.map(|mib| visit.language.count("person-storage-mib", mib))}</td>
            <td>{may.then(|| drain_form(visit, node))}</td>
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
