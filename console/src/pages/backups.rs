//! Backups: how old the newest one is, how they went, and when a restore last proved one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::rows::backup::{BackupEnd, BackupRow, DrillRow};

use crate::app::App;
use crate::frame::Desk;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, OPERATION_READERS, Who, read};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, figures, moment, span, table};
use crate::settings::{BACKUP_AGE, DRILL_AGE, Kept};

/// Attempts shown.
const BACKUPS: u32 = 100;
/// Drills shown.
const DRILLS: u32 = 20;
/// An age of so many times what is allowed is no delay any more.
const FAR_TOO_OLD: u64 = 3;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![read("/backups", Who::Roles(OPERATION_READERS), "backups.read").to(page::<S>)]
}

/// What is known of backups.
pub struct Safety {
    backups: Vec<BackupRow>,
    drills: Vec<DrillRow>,
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
            age_max_ms: kept.number(BACKUP_AGE) * 60_000,
            drill_age_max_ms: kept.number(DRILL_AGE) * 86_400_000,
        })
    }

    fn last_success(&self) -> Option<&BackupRow> {
        self.backups.iter().find(|row| matches!(row.end, BackupEnd::Done { .. }))
    }

    /// How old the newest backup is, in words and in colour.
    pub fn age(&self, visit: &Visit) -> AnyView {
        let Some(last) = self.last_success() else { return badge("bad", visit.t("never")) };
        // What happened while it ran may be in it or not.
        let age = visit.now_ms.saturating_sub(last.started_at);
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

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let safety = Safety::load(&app, BACKUPS, DRILLS).await?;
    Ok(render::show(StatusCode::OK, visit, safety, draw).await)
}

fn draw(visit: &Visit, safety: &Safety) -> Page {
    let nothing = || "–".into_any();
    let last = safety.last_success();
    let took = last.map(|row| span(visit.language, row.finished_at.saturating_sub(row.started_at)));
    let size = last.and_then(|row| size(visit, row));
    let restore = safety.drills.iter().find(|row| row.passed);
    let restore = restore.map(|row| span(visit.language, row.finished_at.saturating_sub(row.started_at)));
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
        {backups(visit, &safety.backups)}
        {drills(visit, &safety.drills)}
    };
    Page { title: visit.t("nav-backups"), body: body.into_any() }
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
                <td class="number">{span(visit.language, row.finished_at.saturating_sub(row.started_at))}</td>
                <td>{outcome}</td>
                <td class="wide"><bdi>{row.detail.clone()}</bdi></td>
            </tr>
        }
        .into_any()
    });
    table(visit.t("drills-title"), heads.map(|key| visit.t(key)).to_vec(), rows.collect())
}
