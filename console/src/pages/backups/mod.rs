//! Backups: how old the newest one is, how they went, when a restore last proved one, and a way to ask for both.

mod chain;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::rows::backup::{
    BackupEnd, BackupRequest, BackupRow, BackupWork, CheckRow, DrillRow, LogNoted, RequestState,
};

use crate::app::App;
use crate::frame::Desk;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, OPERATION_READERS, OPERATORS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, button, figures, moment, span, table};
use crate::settings::{BACKUP_AGE, DRILL_AGE, Kept};

/// Attempts shown.
const BACKUPS: u32 = 100;
/// Drills shown.
const DRILLS: u32 = 20;
/// Checks looked at: the newest is shown.
const CHECKS: u32 = 1;
/// Requests shown.
const REQUESTS: u32 = 10;
/// An age of so many times what is allowed is no delay any more.
const FAR_TOO_OLD: u64 = 3;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![
        read("/backups", Who::Roles(OPERATION_READERS), "backups.read").to(page::<S>),
        send("/backups/run", Who::Roles(OPERATORS), "backup.ask").to(ask_run::<S>),
        send("/backups/drill", Who::Roles(OPERATORS), "drill.ask").to(ask_drill::<S>),
    ]
}

/// What is known of backups.
pub struct Safety {
    backups: Vec<BackupRow>,
    drills: Vec<DrillRow>,
    /// How far the log of a server is sealed.
    log: Option<LogNoted>,
    age_max_ms: u64,
    drill_age_max_ms: u64,
}

impl Safety {
    /// Reads so many attempts.
    pub async fn load<S: Desk>(app: &App<S>, backups: u32, drills: u32) -> Result<Self, Trouble> {
        let kept = Kept::load(&app.store).await?;
        Ok(Self {
            backups: app.store.backups_noted(backups).await?,
            drills: app.store.drills_noted(drills).await?,
            log: app.store.log_noted().await?,
            age_max_ms: kept.number(BACKUP_AGE) * 60_000,
            drill_age_max_ms: kept.number(DRILL_AGE) * 86_400_000,
        })
    }

    fn last_success(&self) -> Option<&BackupRow> {
        self.backups.iter().find(|row| matches!(row.end, BackupEnd::Done { .. }))
    }

    /// The newest moment that a restore reaches: by the newest backup, or by the log that goes on from it.
    fn safe_at(&self) -> Option<u64> {
        // What happened while a backup ran may be in it or not.
        let backup = self.last_success()?.started_at;
        Some(self.log.as_ref().and_then(LogNoted::safe_at).map_or(backup, |log| log.max(backup)))
    }

    /// How old that moment is, in words and in colour.
    pub fn age(&self, visit: &Visit) -> AnyView {
        let Some(safe_at) = self.safe_at() else { return badge("bad", visit.t("never")) };
        let age = visit.now_ms.saturating_sub(safe_at);
        let kind = match age {
            _ if age <= self.age_max_ms => "good",
            _ if age <= self.age_max_ms * FAR_TOO_OLD => "warn",
            _ => "bad",
        };
        badge(kind, span(visit.language, age))
    }

    fn drill(&self, visit: &Visit) -> AnyView {
        let Some(last) = self.drills.iter().find(|row| row.passed) else {
            return badge("bad", visit.t("never"));
        };
        let age = visit.now_ms.saturating_sub(last.finished_at);
        if age > self.drill_age_max_ms {
            let text = visit.language.of("drill-stale", "age", &span(visit.language, age));
            return badge("warn", text);
        }
        badge("good", span(visit.language, age))
    }
}

struct Shown {
    safety: Safety,
    checks: Vec<CheckRow>,
    requests: Vec<BackupRequest>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let safety = Safety::load(&app, BACKUPS, DRILLS).await?;
    let (checks, requests) =
        (app.store.checks_noted(CHECKS).await?, app.store.backup_requests(REQUESTS).await?);
    let shown = Shown { safety, checks, requests };
    Ok(render::show(StatusCode::OK, visit, shown, draw).await)
}

async fn ask_run<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    ask(&app, visit, BackupWork::Run).await
}

async fn ask_drill<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    ask(&app, visit, BackupWork::Drill).await
}

/// The console starts no program: whoever makes backups takes it up.
async fn ask<S: Desk>(app: &App<S>, visit: Visit, work: BackupWork) -> Result<Response, Trouble> {
    let said = match app.store.ask_backup(work, visit.by.clone()).await {
        Ok(()) => "backup-asked",
        Err(AccountError::Overtaken) => "backup-waits",
        Err(error) => return Err(error.into()),
    };
    Ok(go(visit.jar, "/backups", Some(said)))
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let safety = &shown.safety;
    let nothing = || "–".into_any();
    let last = safety.last_success();
    let took = last.map(|row| span(visit.language, row.finished_at.saturating_sub(row.started_at)));
    let size = last.and_then(|row| size(visit, row));
    let restore = safety.drills.iter().find(|row| row.passed);
    let restore = restore.map(|row| span(visit.language, row.restore_ms()));
    let limit = span(visit.language, safety.age_max_ms);
    let facts = vec![
        (visit.t("backup-age"), safety.age(visit)),
        (visit.t("backup-age-max"), limit.into_any()),
        (visit.t("backup-took"), took.map_or_else(nothing, IntoAny::into_any)),
        (visit.t("backup-size"), size.map_or_else(nothing, IntoAny::into_any)),
        (visit.t("drill-last"), safety.drill(visit)),
        (visit.t("drill-took"), restore.map_or_else(nothing, IntoAny::into_any)),
    ];
    let body = view! {
        {figures(facts)}
        {chain::draw(visit, safety.log.as_ref(), shown.checks.first())}
        {visit.is_one_of(OPERATORS).then(|| asking(visit))}
        {requests(visit, &shown.requests)}
        {backups(visit, &safety.backups)}
        {drills(visit, &safety.drills)}
    };
    Page { title: visit.t("nav-backups"), body: body.into_any() }
}

/// What can be asked for.
fn asking(visit: &Visit) -> AnyView {
    view! {
        <section class="card" aria-labelledby="ask">
            <h2 id="ask">{visit.t("backup-ask")}</h2>
            <p class="hint">{visit.t("backup-ask-what")}</p>
            {button(visit, "/backups/run".into(), visit.t("backup-ask-run"), "")}
            {button(visit, "/backups/drill".into(), visit.t("backup-ask-drill"), "")}
        </section>
    }
    .into_any()
}

fn requests(visit: &Visit, rows: &[BackupRequest]) -> AnyView {
    if rows.is_empty() {
        return ().into_any();
    }
    let heads = ["backup-asked-at", "backup-work", "backup-asker", "backup-outcome", "audit-detail"];
    let rows = rows.iter().map(|row| {
        let (state, detail) = match &row.state {
            RequestState::Waits => (badge("", visit.t("backup-request-waits")), None),
            RequestState::Lapsed => (badge("bad", visit.t("backup-request-lapsed")), None),
            RequestState::Taken { at } => {
                let for_ms = span(visit.language, visit.now_ms.saturating_sub(*at));
                (badge("warn", visit.language.of("backup-request-taken", "age", &for_ms)), None)
            }
            RequestState::Ended { succeeded: true, detail, .. } => {
                (badge("good", visit.t("backup-done")), Some(detail.clone()))
            }
            RequestState::Ended { succeeded: false, detail, .. } => {
                (badge("bad", visit.t("backup-failed")), Some(detail.clone()))
            }
        };
        view! {
            <tr>
                <th scope="row">{moment(row.asked_at)}</th>
                <td>{visit.t(&format!("backup-work-{}", row.work.name().to_lowercase()))}</td>
                <td><bdi>{row.asker.clone()}</bdi></td>
                <td>{state}</td>
                <td class="wide"><bdi>{detail}</bdi></td>
            </tr>
        }
        .into_any()
    });
    table(visit.t("backup-requests"), heads.map(|key| visit.t(key)).to_vec(), rows.collect())
}

fn size(visit: &Visit, row: &BackupRow) -> Option<String> {
    match row.end {
        BackupEnd::Done { bytes, .. } => {
            Some(visit.language.count("person-storage-mib", bytes.div_ceil(1024 * 1024)))
        }
        BackupEnd::Failed { .. } => None,
    }
}

fn backups(visit: &Visit, rows: &[BackupRow]) -> AnyView {
    if rows.is_empty() {
        return view! { <p class="card">{visit.t("backups-none")}</p> }.into_any();
    }
    let heads =
        ["decision-at", "backup-kind", "backup-took", "backup-size", "backup-outcome", "backup-place"];
    let rows = rows.iter().map(|row| {
        let outcome = match &row.end {
            BackupEnd::Done { .. } => badge("good", visit.t("backup-done")),
            BackupEnd::Failed { why } => view! {
                {badge("bad", visit.t("backup-failed"))}" "<bdi>{why.clone()}</bdi>
            }
            .into_any(),
        };
        view! {
            <tr>
                <th scope="row">{moment(row.started_at)}</th>
                <td>{visit.t(&format!("backup-kind-{}", row.kind.to_lowercase()))}</td>
                <td class="number">{span(visit.language, row.finished_at.saturating_sub(row.started_at))}</td>
                <td class="number">{size(visit, row)}</td>
                <td class="wide">{outcome}</td>
                <td class="wide"><bdi>{row.location.clone()}</bdi></td>
            </tr>
        }
        .into_any()
    });
    table(visit.t("backups-title"), heads.map(|key| visit.t(key)).to_vec(), rows.collect())
}

fn drills(visit: &Visit, rows: &[DrillRow]) -> AnyView {
    if rows.is_empty() {
        return view! { <p class="card">{visit.t("drills-none")}</p> }.into_any();
    }
    let heads = ["decision-at", "drill-took", "backup-outcome", "audit-detail"];
    let rows = rows.iter().map(|row| {
        let outcome = if row.passed {
            badge("good", visit.t("drill-passed"))
        } else {
            badge("bad", visit.t("backup-failed"))
        };
        view! {
            <tr>
                <th scope="row">{moment(row.started_at)}</th>
                <td class="number">{row.passed.then(|| span(visit.language, row.restore_ms()))}</td>
                <td>{outcome}</td>
                <td class="wide"><bdi>{row.detail.clone()}</bdi></td>
            </tr>
        }
        .into_any()
    });
    table(visit.t("drills-title"), heads.map(|key| visit.t(key)).to_vec(), rows.collect())
}
