//! Numbers over all accounts, as they were counted last: shown, and downloaded as CSV, which is written into the trail.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use leptos::prelude::*;
use schema_store::rows::account::{AuditEntry, audit_event};
use schema_store::rows::operations::{Ranked, Statistics};

use super::audit::quoted;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::render::{self, Page};
use crate::frame::route::{Entry, PEOPLE_READERS, Who, read};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{figures, moment, table};

const MIB: u64 = 1024 * 1024;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(PEOPLE_READERS);
    vec![
        read("/statistics", who, "statistics.read").to(page::<S>),
        read("/statistics.csv", who, "statistics.export").to(export::<S>),
    ]
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let counted = app.store.statistics().await?;
    Ok(render::show(StatusCode::OK, visit, counted, draw).await)
}

async fn export<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    let counted = app.store.statistics().await?.ok_or(Trouble::NotFound)?;
    let entry = AuditEntry { event: audit_event::STATISTICS_EXPORTED, subject: None, detail: String::new() };
    app.store.audit(entry, visit.by.clone()).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"statistics.csv\"")),
    ];
    Ok((headers, written(&counted)).into_response())
}

/// A line a number: what it counts, of whom, and when it was counted.
fn written(counted: &Statistics) -> String {
    let mut text = String::from("name,user,email,number,counted_at\r\n");
    for (name, number) in [("active_users", counted.active), ("new_users_today", counted.new_today)] {
        text += &format!("{name},,,{number},{}\r\n", counted.taken_at);
    }
    for (name, rows) in [("message_count", &counted.senders), ("storage_bytes", &counted.storage)] {
        for row in rows {
            let email = quoted(row.email.as_deref().unwrap_or_default());
            text += &format!("{name},{},{email},{},{}\r\n", row.user, row.number, counted.taken_at);
        }
    }
    text
}

fn draw(visit: &Visit, counted: &Option<Statistics>) -> Page {
    let body = match counted {
        None => view! { <p class="card">{visit.t("statistics-none")}</p> }.into_any(),
        Some(counted) => numbers(visit, counted),
    };
    Page { title: visit.t("nav-statistics"), body }
}

fn numbers(visit: &Visit, counted: &Statistics) -> AnyView {
    let facts = vec![
        (visit.t("statistics-active"), counted.active.to_string().into_any()),
        (visit.t("statistics-new"), counted.new_today.to_string().into_any()),
    ];
    let messages = |row: &Ranked| row.number.to_string();
    let size = |row: &Ranked| visit.language.count("person-storage-mib", row.number.div_ceil(MIB));
    view! {
        <p>{visit.t("statistics-when")}" "{moment(counted.taken_at)}</p>
        {figures(facts)}
        {ranked(visit, "statistics-senders", "statistics-messages", &counted.senders, messages)}
        {ranked(visit, "statistics-storage", "person-storage", &counted.storage, size)}
        <p><a class="button" href="/statistics.csv">{visit.t("audit-export")}</a></p>
    }
    .into_any()
}

fn ranked(
    visit: &Visit,
    title: &str,
    unit: &str,
    rows: &[Ranked],
    number: impl Fn(&Ranked) -> String,
) -> AnyView {
    let rows = rows.iter().map(|row| {
        let email = row.email.clone().unwrap_or_else(|| visit.t("somebody-gone"));
        view! {
            <tr>
                <th scope="row"><a href=format!("/users/{}", row.user)><bdi>{email}</bdi></a></th>
                <td class="number">{number(row)}</td>
            </tr>
        }
        .into_any()
    });
    table(visit.t(title), ["email", unit].map(|key| visit.t(key)).to_vec(), rows.collect())
}

#[cfg(test)]
mod tests {
    use schema_wire::UserId;

    use super::*;

    #[test]
    fn every_number_has_a_line() {
        let user = UserId([1; 16]);
        let row = |email: Option<&str>, number| Ranked { user, email: email.map(str::to_owned), number };
        let counted = Statistics {
            taken_at: 7,
            active: 3,
            new_today: 1,
            senders: vec![row(Some("=a@example.org"), 9), row(None, 2)],
            storage: vec![row(Some("b@example.org"), 5 * MIB)],
        };
        let lines: Vec<String> = written(&counted).lines().map(str::to_owned).collect();
        assert_eq!(lines[1..3], ["active_users,,,3,7", "new_users_today,,,1,7"]);
        assert_eq!(lines[3], format!("message_count,{user},\"'=a@example.org\",9,7"), "no formula");
        assert_eq!(
            lines[4..],
            [
                format!("message_count,{user},\"\",2,7"),
                format!("storage_bytes,{user},\"b@example.org\",5242880,7")
            ]
        );
    }
}
