//! The queue: cases to be looked at, oldest first, and decisions that wait for a second pair of eyes.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::detection::{DUPLICATE, EVASION, NEW_ACCOUNT, SIGNALS_MAX};
use schema_store::rows::detection::{Flagged, Signals};
use schema_store::rows::moderation::{
    CaseCounts, CaseFilter, CaseRow, CaseState, Decision, DecisionId, DecisionState, OpenCases,
};
use schema_store::rows::oversight::PersonRow;
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::decision::{measures, undo_bar};
use super::user::{hindered, hindrance};
use super::users::{look_for, people, search_form};
use super::worded::worded;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, MODERATORS, PEOPLE_READERS, Who, read};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, button, figures, moment, span, table};
use crate::settings::{Kept, REPORTS_AN_HOUR};

/// Cases on one page.
const PAGE_ROWS: u32 = 50;
/// Decisions listed for a second pair of eyes.
const WAITING_ROWS: u32 = 50;
/// What may be listed, as it stands in the address.
const FILTERS: [&str; 4] = ["open", "mine", "decided", "resolved"];

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![read("/moderation", Who::Roles(PEOPLE_READERS), "case.list").to(page::<S>)]
}

struct Queue {
    filter: &'static str,
    counts: CaseCounts,
    cases: Vec<CaseRow>,
    waiting: Vec<Decision>,
    signals: Signals,
    /// Reports within an hour that are no peak yet.
    usual: u64,
    /// The decision just made, while it can be undone.
    undo: Option<Decision>,
    /// What somebody looked for, and who was found instead of the cases.
    text: String,
    found: Vec<PersonRow>,
}

async fn page<S: Desk>(
    State(app): State<App<S>>,
    mut visit: Visit,
    fields: Fields,
) -> Result<Response, Trouble> {
    let user = visit.signed_in().ok_or(Trouble::SignIn)?.user;
    let filter = FILTERS.into_iter().find(|name| *name == fields.raw("state")).unwrap_or("open");
    let chosen = match filter {
        "mine" => CaseFilter::ClaimedBy(user),
        "decided" => CaseFilter::Decided,
        "resolved" => CaseFilter::Resolved,
        _ => CaseFilter::Open,
    };
    let (text, found) = if fields.has("q") { look_for(&app, &fields).await? } else { Default::default() };
    let cases = app.store.cases(chosen, after(fields.raw("after")), PAGE_ROWS).await?;
    let counts = app.store.case_counts().await?;
    // What stands in the navigation is what stands on the page.
    visit.open_cases = Some(counts.open);
    app.caseload.learn(Some(OpenCases { open: counts.open, oldest_at: counts.oldest_open_at }));
    let waiting = app.store.waiting_decisions(WAITING_ROWS).await?;
    let signals = app.store.signals().await?;
    let usual = Kept::load(&app.store).await?.number(REPORTS_AN_HOUR);
    let undo = match UserId::parse(fields.raw("undo")) {
        Some(id) => app.store.decision(DecisionId(id.0)).await.ok(),
        None => None,
    };
    let undo = undo.filter(|decision| decision.moderator == user || decision.second == Some(user));
    let queue = Queue { filter, counts, cases, waiting, signals, usual, undo, text, found };
    Ok(render::show(StatusCode::OK, visit, queue, draw).await)
}

/// Where a page begins: time and user of the last row before it.
fn after(text: &str) -> Option<(u64, UserId)> {
    let (at, user) = text.split_once('.')?;
    Some((at.parse().ok()?, UserId::parse(user)?))
}

fn draw(visit: &Visit, queue: &Queue) -> Page {
    let list = if queue.text.is_empty() {
        cases(visit, queue)
    } else {
        people(visit, "/moderation", &queue.text, &queue.found)
    };
    let body = view! {
        {queue.undo.as_ref().and_then(|decision| undo_bar(visit, decision))}
        {search_form(visit, "/moderation", &queue.text)}
        {counts(visit, &queue.counts)}
        <ul class="filters">{FILTERS.map(|name| filter(visit, name, queue.chosen())).into_iter().collect_view()}</ul>
        {list}
        {waiting(visit, &queue.waiting)}
        {signals(visit, &queue.signals, queue.usual)}
        <div class="row">
            <a class="button" href="/moderation/addresses">{visit.t("addresses")}</a>
            <a class="button" href="/settings/content">{visit.t("content-rules")}</a>
        </div>
        {keys(visit)}
    };
    Page { title: visit.t("nav-moderation"), body: body.into_any() }
}

impl Queue {
    /// The list that is shown; empty: none, but people who were looked for.
    fn chosen(&self) -> &'static str {
        if self.text.is_empty() { self.filter } else { "" }
    }
}

fn cases(visit: &Visit, queue: &Queue) -> AnyView {
    if queue.cases.is_empty() {
        return view! { <p class="card">{visit.t("queue-empty")}</p> }.into_any();
    }
    let heads = ["case-subject", "case-about", "case-reports", "case-state", "case-since"];
    let rows: Vec<AnyView> = queue.cases.iter().map(|case| row(visit, case)).collect();
    let caption = visit.t(&format!("queue-{}", queue.filter));
    view! {
        {table(caption, heads.map(|key| visit.t(key)).to_vec(), rows)}
        {next(visit, queue)}
    }
    .into_any()
}

fn counts(visit: &Visit, counts: &CaseCounts) -> AnyView {
    let age = counts.oldest_open_at.map(|at| span(visit.language, visit.now_ms.saturating_sub(at)));
    let mean = counts.mean_resolve_ms.map(|ms| span(visit.language, ms));
    let facts = [
        ("queue-count-open", counts.open.to_string()),
        ("queue-count-claimed", counts.claimed.to_string()),
        ("queue-count-waiting", counts.waiting.to_string()),
        ("queue-count-resolved", counts.resolved_7d.to_string()),
        ("queue-oldest", age.unwrap_or_else(|| "–".into())),
        ("queue-mean", mean.unwrap_or_else(|| "–".into())),
    ];
    figures(facts.into_iter().map(|(key, value)| (visit.t(key), value.into_any())).collect())
}

fn filter(visit: &Visit, name: &'static str, chosen: &str) -> AnyView {
    let current = (name == chosen).then_some("page");
    let label = visit.t(&format!("queue-{name}"));
    view! { <li><a class="button" href=format!("/moderation?state={name}") aria-current=current>{label}</a></li> }
        .into_any()
}

fn row(visit: &Visit, case: &CaseRow) -> AnyView {
    let reports = visit.language.count("case-report-count", case.reports.into());
    let reporters = visit.language.count("case-reporter-count", case.reporters.into());
    let flags =
        (case.flags > 0).then(|| badge("warn", visit.language.count("case-flag-count", case.flags.into())));
    // Of an account that is erased there is no card.
    let card = (case.status != UserStatus::Deleted).then(|| format!("/moderation/{}", case.user));
    let can_be_opened = card.is_some().then_some("");
    let subject = match card {
        Some(card) => view! { <a href=card><bdi>{case.name.clone()}</bdi></a> }.into_any(),
        None => visit.t("somebody-gone").into_any(),
    };
    view! {
        <tr data-case=can_be_opened>
            <th scope="row">{subject}</th>
            <td>{about(visit, &case.about)}</td>
            <td>{reports}", "{reporters}" "{flags}</td>
            <td>{state(visit, case)}</td>
            <td>{moment(case.opened_at)}</td>
        </tr>
    }
    .into_any()
}

/// A reason or rule in words; one that a newer program wrote stands as it is.
pub fn about(visit: &Visit, name: &str) -> String {
    let key = format!("about-{}", name.to_lowercase().replace('_', "-"));
    let text = visit.t(&key);
    if text == key { name.to_owned() } else { text }
}

/// Where a case stands, and who has it.
pub fn state(visit: &Visit, case: &CaseRow) -> AnyView {
    match (case.state, &case.claimed_by) {
        (CaseState::Resolved, _) => badge("good", visit.t("state-resolved")),
        (CaseState::Decided, _) => badge("warn", visit.t("state-decided")),
        (CaseState::Open, Some((_, name))) => badge("warn", visit.language.of("state-claimed", "name", name)),
        (CaseState::Open, None) => badge("", visit.t("state-open")),
    }
}

fn next(visit: &Visit, queue: &Queue) -> Option<AnyView> {
    let last = queue.cases.last().filter(|_| queue.cases.len() == PAGE_ROWS as usize)?;
    let at = if queue.filter == "resolved" { last.resolved_at.unwrap_or(0) } else { last.opened_at };
    let href = format!("/moderation?state={}&after={at}.{}", queue.filter, last.user);
    Some(view! { <p><a class="button" href=href>{visit.t("next-page")}</a></p> }.into_any())
}

fn waiting(visit: &Visit, decisions: &[Decision]) -> Option<AnyView> {
    if decisions.is_empty() {
        return None;
    }
    let heads = ["decision-what", "decision-reason", "decision-by", "decision-at", "decision-do"];
    let rows = decisions.iter().map(|decision| waiting_row(visit, decision)).collect();
    Some(table(visit.t("waiting-title"), heads.map(|key| visit.t(key)).to_vec(), rows))
}

fn waiting_row(visit: &Visit, decision: &Decision) -> AnyView {
    let at = UserId(decision.id.0);
    let own = visit.signed_in().is_some_and(|viewer| viewer.user == decision.moderator);
    let (subject, role) = (decision.subject, decision.subject_role);
    let may_act = visit.is_one_of(MODERATORS) && decision.state == DecisionState::Waiting;
    // Who decided may take it back, whatever became of their role or the account's.
    let is_hindered = hindrance(visit, subject, role).is_some() && !own;
    let act = match (may_act && !is_hindered, own) {
        (false, _) => hindered(visit, subject, role).filter(|_| may_act),
        (true, true) => {
            Some(button(visit, format!("/moderation/decisions/{at}/undo"), visit.t("decision-withdraw"), "quiet"))
        }
        (true, false) => Some(
            view! {
                {button(visit, format!("/moderation/decisions/{at}/agree"), visit.t("decision-agree"), "bad")}
                " "
                {button(visit, format!("/moderation/decisions/{at}/refuse"), visit.t("decision-refuse"), "quiet")}
            }
            .into_any(),
        ),
    };
    view! {
        <tr>
            <th scope="row">
                <a href=format!("/moderation/{}", decision.subject)>{measures(visit, decision)}</a>
            </th>
            <td class="wide"><bdi>{decision.reason.clone()}</bdi></td>
            <td><bdi>{decision.moderator_name.clone()}</bdi></td>
            <td>{moment(decision.created_at)}</td>
            <td>{act}</td>
        </tr>
    }
    .into_any()
}

/// What is worth a look besides the cases.
fn signals(visit: &Visit, signals: &Signals, usual: u64) -> AnyView {
    let reports = if signals.reports > usual {
        badge("bad", visit.language.count("signal-peak", signals.reports))
    } else {
        signals.reports.to_string().into_any()
    };
    let facts = vec![
        (visit.t("signal-reports"), reports),
        (visit.t("signal-busy"), how_many(&signals.busy)),
        (visit.t("signal-evading"), how_many(&signals.evading)),
        (visit.t("signal-same"), how_many(&signals.same)),
    ];
    let groups = [(EVASION, &signals.evading), (NEW_ACCOUNT, &signals.busy), (DUPLICATE, &signals.same)];
    let rows = groups.into_iter().flat_map(|(rule, all)| all.iter().map(move |one| (rule, one)));
    let rows: Vec<AnyView> = rows.map(|(rule, one)| flagged_row(visit, rule, one)).collect();
    let heads = ["case-subject", "case-about", "decision-at"].map(|key| visit.t(key)).to_vec();
    let list = (!rows.is_empty()).then(|| table(visit.t("signals-title"), heads, rows));
    view! {
        <section>
            <h2>{visit.t("signals-title")}</h2>
            {figures(facts)}
            {list}
        </section>
    }
    .into_any()
}

/// Accounts of one rule; of more than are listed nobody counts the rest.
fn how_many(flagged: &[Flagged]) -> AnyView {
    let more = if flagged.len() == SIGNALS_MAX as usize { "+" } else { "" };
    format!("{}{more}", flagged.len()).into_any()
}

fn flagged_row(visit: &Visit, rule: &str, one: &Flagged) -> AnyView {
    view! {
        <tr>
            <th scope="row"><a href=format!("/moderation/{}", one.user)><bdi>{one.name.clone()}</bdi></a></th>
            <td class="wide">{about(visit, rule)}": "<bdi>{worded(visit, &one.detail)}</bdi></td>
            <td>{moment(one.at)}</td>
        </tr>
    }
    .into_any()
}

/// Which keys do what. Open without a script; `?` opens it with one.
pub fn keys(visit: &Visit) -> AnyView {
    let keys = [
        ("j", "key-down"),
        ("k", "key-up"),
        ("Enter", "key-open"),
        ("w", "key-warn"),
        ("s", "key-suspend"),
        ("b", "key-ban"),
        ("d", "key-dismiss"),
        ("m", "key-mute"),
        ("u", "key-undo"),
        ("/", "key-search"),
        ("?", "key-help"),
    ];
    let keys = keys.map(|(key, text)| view! { <dt><kbd>{key}</kbd></dt><dd>{visit.t(text)}</dd> });
    view! {
        <details class="card" id="keys">
            <summary>{visit.t("keys-title")}</summary>
            <dl class="facts">{keys.to_vec()}</dl>
        </details>
    }
    .into_any()
}
