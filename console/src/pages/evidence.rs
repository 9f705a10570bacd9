//! What a case is about, as its card shows it: reports with where and when it happened, flags, and what was done about the
//! account without a decision.

use leptos::prelude::*;
use schema_store::moderation::NEAR_MESSAGES;
use schema_store::rows::conversation::ConversationKind;
use schema_store::rows::moderation::{ActionRow, FlagRow, Proof, ReportRow, ReportedMessage};

use super::queue::about;
use super::worded::worded;
use crate::frame::route::MODERATORS;
use crate::frame::visit::Visit;
use crate::parts::{badge, moment, table};
use crate::text::Argument;

/// A report.
pub fn report_card(visit: &Visit, report: &ReportRow) -> AnyView {
    let is_open = report.status == "PENDING";
    let reporter =
        if report.reporter_name.is_empty() { visit.t("somebody-gone") } else { report.reporter_name.clone() };
    // What was disclosed is for those who decide, and folded until they want to see it.
    let evidence = report.evidence.as_ref().filter(|_| visit.is_one_of(MODERATORS)).map(|bytes| {
        let proof = match report.proof {
            Proof::Stored => badge("good", visit.t("proof-stored")),
            Proof::Committed => badge("good", visit.t("proof-committed")),
            Proof::Claimed | Proof::None => badge("warn", visit.t("proof-claimed")),
        };
        view! {
            <details class="evidence">
                <summary>{visit.t("evidence-show")}" "{proof}</summary>
                <blockquote>{shown(visit, bytes)}</blockquote>
            </details>
        }
    });
    let comment = (!report.comment.is_empty()).then(|| view! { <p><bdi>{report.comment.clone()}</bdi></p> });
    let closed = (!is_open).then(|| badge("", visit.t("report-closed")));
    let place = report.message.as_ref().map(|message| place(visit, message));
    view! {
        <article class="card">
            <p>
                <strong>{about(visit, &report.reason)}</strong>
                " · "<bdi>{reporter}</bdi>" · "{moment(report.created_at)}" "{closed}
            </p>
            {place}
            {comment}
            {evidence}
        </article>
    }
    .into_any()
}

/// Evidence as text where it is one; otherwise only how long it is.
fn shown(visit: &Visit, bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => text.to_owned(),
        _ => visit.language.count("evidence-bytes", bytes.len() as u64),
    }
}

/// A flag.
pub fn flag_card(visit: &Visit, flag: &FlagRow) -> AnyView {
    let closed = (!flag.open).then(|| badge("", visit.t("report-closed")));
    view! {
        <article class="card">
            <p>
                {badge("warn", visit.t("flag"))}" "<strong>{about(visit, &flag.rule)}</strong>
                " · "{moment(flag.created_at)}" "{closed}
            </p>
            <p><bdi>{worded(visit, &flag.detail)}</bdi></p>
        </article>
    }
    .into_any()
}

/// Where and when the message was sent that a report is about.
fn place(visit: &Visit, message: &ReportedMessage) -> AnyView {
    let kind = match message.kind {
        Some(ConversationKind::Direct) => visit.t("place-direct"),
        Some(ConversationKind::Group) => visit.language.count("place-group", message.members.into()),
        None => visit.t("place-gone"),
    };
    let (sent, gone) = match message.sent_at {
        Some(at) => (moment(at), message.is_gone.then(|| badge("", visit.t("message-gone")))),
        None => ("–".into_any(), Some(badge("", visit.t("message-gone")))),
    };
    let near = [("own", message.near_own), ("near", message.near), ("each", NEAR_MESSAGES)];
    let near = near.map(|(name, count)| (name, Argument::Number(count.into())));
    view! {
        <dl class="facts" data-place="">
            <dt>{visit.t("place-title")}</dt>
            <dd>{kind}" "<code>{message.conversation.to_string()}</code></dd>
            <dt>{visit.t("place-offset")}</dt>
            <dd>{message.offset.0}</dd>
            <dt>{visit.t("place-sent")}</dt>
            <dd>{sent}" "{gone}</dd>
            <dt>{visit.t("place-near")}</dt>
            <dd>{visit.language.with("place-near-own", &near)}</dd>
        </dl>
    }
    .into_any()
}

/// What was done about the account without a decision.
pub fn actions(visit: &Visit, actions: &[ActionRow]) -> Option<AnyView> {
    if actions.is_empty() {
        return None;
    }
    let heads = ["decision-what", "decision-reason", "decision-by", "decision-at", "action-until"];
    let rows = actions.iter().map(|action| action_row(visit, action)).collect();
    Some(table(visit.t("actions-title"), heads.map(|key| visit.t(key)).to_vec(), rows))
}

fn action_row(visit: &Visit, action: &ActionRow) -> AnyView {
    let key = format!("action-{}", action.action.to_lowercase());
    let what = visit.t(&key);
    // One that a newer program wrote stands as it is.
    let what = if what == key { action.action.clone() } else { what };
    let by = match action.by.as_deref() {
        None => visit.t("action-itself"),
        Some("") => visit.t("somebody-gone"),
        Some(name) => name.to_owned(),
    };
    let undone = action.undone_at.map(|_| badge("", visit.t("decision-reversed")));
    view! {
        <tr>
            <th scope="row">{what}</th>
            <td class="wide"><bdi>{worded(visit, &action.reason)}</bdi></td>
            <td><bdi>{by}</bdi></td>
            <td>{moment(action.created_at)}</td>
            <td>{action.until.map_or_else(|| "–".into_any(), moment)}" "{undone}</td>
        </tr>
    }
    .into_any()
}
