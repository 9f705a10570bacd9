//! The audit trail: filtered, exported, its chain checked. Reading it is written into it.

use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leptos::prelude::*;
use schema_store::accounts::{Answer, PAGE_ROWS_MAX};
use schema_store::audit_chain::Verified;
use schema_store::rows::account::{AuditEntry, AuditRow, audit_event};
use schema_store::rows::oversight::{AuditFilter, FailedSignIns};
use schema_wire::UserId;

use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page};
use crate::frame::route::{AUDITORS, Entry, Who, read};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{moment, table};
use crate::settings::{FAILED_SIGN_INS, Kept};

/// Entries on one page.
const PAGE_ROWS: u32 = 100;
/// Entries in one export; a filter or `before` gets at the rest.
const EXPORT_ROWS: usize = 10_000;
/// Entries checked in one step.
const VERIFY_ROWS: u32 = 10_000;
/// How long one check may take.
const VERIFY_FOR: Duration = Duration::from_secs(10);
const HOUR_MS: u64 = 3_600_000;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(AUDITORS);
    vec![
        read("/audit", who, "audit.read").to(page::<S>),
        read("/audit.csv", who, "audit.export").to(export::<S>),
        read("/audit/verify", who, "audit.verify").to(verify::<S>),
    ]
}

struct Trail {
    filter: Filter,
    rows: Vec<AuditRow>,
    failures: Vec<FailedSignIns>,
    /// Failures that are not worth a look.
    allowed: u64,
    /// What a check just found: a key, and up to which entry.
    checked: Option<(&'static str, u64)>,
}

/// As it was typed.
#[derive(Clone)]
struct Filter {
    event: String,
    user: String,
    error: &'static str,
}

impl Filter {
    fn of(fields: &Fields) -> Self {
        let event: String = fields.text("event").to_uppercase().chars().take(64).collect();
        let user: String = fields.text("user").chars().take(64).collect();
        let is_wrong = !user.is_empty() && UserId::parse(&user).is_none();
        Self { event, user, error: if is_wrong { "error-id" } else { "" } }
    }

    fn kept(&self) -> AuditFilter {
        let event = (!self.event.is_empty()).then(|| self.event.clone());
        AuditFilter { event, subject: UserId::parse(&self.user) }
    }

    fn query(&self) -> String {
        let plain =
            |text: &str| text.chars().filter(|c| c.is_ascii_alphanumeric() || "_-".contains(*c)).collect();
        let (event, user): (String, String) = (plain(&self.event), plain(&self.user));
        format!("event={event}&user={user}")
    }
}

async fn note<S: Desk>(app: &App<S>, visit: &Visit, event: &'static str, filter: &Filter) -> Answer<()> {
    let entry = AuditEntry { event, subject: UserId::parse(&filter.user), detail: filter.query() };
    app.store.audit(entry, visit.by.clone()).await.map(drop)
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let filter = Filter::of(&fields);
    note(&app, &visit, audit_event::AUDIT_READ, &filter).await?;
    show(&app, visit, filter, fields.raw("before").parse().ok(), None).await
}

async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    filter: Filter,
    before: Option<u64>,
    checked: Option<(&'static str, u64)>,
) -> Result<Response, Trouble> {
    let is_wrong = !filter.error.is_empty();
    let rows =
        if is_wrong { Vec::new() } else { app.store.find_audit(filter.kept(), before, PAGE_ROWS).await? };
    let since = app.clock.now_ms().saturating_sub(HOUR_MS);
    let allowed = Kept::load(&app.store).await?.number(FAILED_SIGN_INS);
    let failures = app.store.failed_sign_ins(since, u32::try_from(allowed).unwrap_or(u32::MAX)).await?;
    let status = if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(render::show(status, visit, Trail { filter, rows, failures, allowed, checked }, draw).await)
}

async fn verify<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let filter = Filter::of(&Fields::default());
    note(&app, &visit, audit_event::AUDIT_VERIFIED, &filter).await?;
    let began = Instant::now();
    let mut after = None;
    let checked = loop {
        match app.store.audit_verify(after, VERIFY_ROWS).await? {
            Verified::Broken { id } => break ("audit-broken", id),
            Verified::Intact { head, more: false } => break ("audit-intact", head.id),
            Verified::Intact { head, .. } if began.elapsed() > VERIFY_FOR => break ("audit-so-far", head.id),
            Verified::Intact { head, .. } => after = Some(head),
        }
    };
    show(&app, visit, filter, None, Some(checked)).await
}

async fn export<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let filter = Filter::of(&fields);
    // Not everything in place of what could not be read.
    if !filter.error.is_empty() {
        return show(&app, visit, filter, None, None).await;
    }
    note(&app, &visit, audit_event::AUDIT_EXPORTED, &filter).await?;
    let mut text = String::from("id,at,event,subject,actor,address,user_agent,detail,hash\r\n");
    let mut before = fields.raw("before").parse().ok();
    for _ in 0..EXPORT_ROWS / PAGE_ROWS_MAX as usize {
        let rows = app.store.find_audit(filter.kept(), before, PAGE_ROWS_MAX).await?;
        rows.iter().for_each(|row| text += &line(row));
        match rows.last() {
            Some(last) if rows.len() == PAGE_ROWS_MAX as usize => before = Some(last.id),
            _ => break,
        }
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"audit.csv\"")),
    ];
    Ok((headers, text).into_response())
}

fn line(row: &AuditRow) -> String {
    let id = |user: Option<UserId>| user.map(|user| user.to_string()).unwrap_or_default();
    let hash: String = row.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let address = row.address.map(|address| address.to_string()).unwrap_or_default();
    let agent = row.user_agent.clone().unwrap_or_default();
    let cells = [id(row.subject), id(row.actor), address, agent, row.detail.clone(), hash];
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    format!("{},{},{},{}\r\n", row.id, row.created_at, quoted(&row.event), cells.join(","))
}

/// A cell that no spreadsheet takes for a formula.
pub fn quoted(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

fn draw(visit: &Visit, trail: &Trail) -> Page {
    let heads = [
        "audit-id",
        "decision-at",
        "audit-event",
        "audit-subject",
        "audit-actor",
        "session-from",
        "audit-detail",
    ];
    let rows: Vec<AnyView> = trail.rows.iter().map(row).collect();
    let query = trail.filter.query();
    let last = trail.rows.last().filter(|_| trail.rows.len() == PAGE_ROWS as usize);
    let next = last.map(|last| {
        let href = format!("/audit?{query}&before={}", last.id);
        view! { <p><a class="button" href=href>{visit.t("next-page")}</a></p> }
    });
    let checked = trail.checked.map(|(key, id)| {
        view! { <p class="card" role="status">{visit.language.count(key, id)}</p> }
    });
    let list = if rows.is_empty() {
        view! { <p class="card">{visit.t("audit-none")}</p> }.into_any()
    } else {
        table(visit.t("nav-audit"), heads.map(|key| visit.t(key)).to_vec(), rows)
    };
    let body = view! {
        {checked}
        {filter_form(visit, &trail.filter)}
        <div class="row">
            <a class="button" href=format!("/audit.csv?{query}")>{visit.t("audit-export")}</a>
            <a class="button" href="/audit/verify">{visit.t("audit-verify")}</a>
        </div>
        {list}
        {next}
        {failures(visit, trail)}
    };
    Page { title: visit.t("nav-audit"), body: body.into_any() }
}

fn filter_form(visit: &Visit, filter: &Filter) -> AnyView {
    let error = (!filter.error.is_empty()).then(|| visit.t(filter.error));
    let described = error.is_some().then_some("user-error");
    view! {
        <form method="get" action="/audit" class="row" role="search">
            <div class="field">
                <label for="event">{visit.t("audit-event")}</label>
                <input id="event" name="event" type="text" value=filter.event.clone() maxlength="64"
                    autocomplete="off" data-search=""/>
            </div>
            <div class="field">
                <label for="user">{visit.t("audit-subject")}</label>
                <input id="user" name="user" type="text" value=filter.user.clone() maxlength="64" autocomplete="off"
                    aria-invalid=described.map(|_| "true") aria-describedby=described/>
                {error.map(|text| view! { <p class="error" id="user-error">{text}</p> })}
            </div>
            <button type="submit">{visit.t("search")}</button>
        </form>
    }
    .into_any()
}

fn row(row: &AuditRow) -> AnyView {
    let person = |user: Option<UserId>| {
        user.map(|user| view! { <a href=format!("/users/{user}")><code>{user.to_string()}</code></a> })
    };
    view! {
        <tr>
            <th scope="row">{row.id}</th>
            <td>{moment(row.created_at)}</td>
            <td><code>{row.event.clone()}</code></td>
            <td>{person(row.subject)}</td>
            <td>{person(row.actor)}</td>
            <td>{row.address.map(|address| address.to_string())}</td>
            <td class="wide"><bdi>{row.detail.clone()}</bdi></td>
        </tr>
    }
    .into_any()
}

fn failures(visit: &Visit, trail: &Trail) -> Option<AnyView> {
    if trail.failures.is_empty() {
        return None;
    }
    let rows = trail.failures.iter().map(|one| {
        view! { <tr><th scope="row">{one.address.to_string()}</th><td class="number">{one.attempts}</td></tr> }
            .into_any()
    });
    let heads = ["session-from", "audit-attempts"].map(|key| visit.t(key)).to_vec();
    Some(table(visit.language.count("audit-failures", trail.allowed), heads, rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }
}
