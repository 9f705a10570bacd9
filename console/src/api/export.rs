//! Everything kept about a user, as one JSON document. It is written as it is read, so its size costs no memory.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use schema_store::accounts::Answer;
use schema_store::rows::account::{AuditEntry, Origin, audit_event};
use schema_store::rows::export::{ExportPlace, ExportRecord, ExportValue};
use schema_wire::UserId;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::app::{App, Backing};
use crate::front::guard::{By, Caller};
use crate::front::problem::Problem;
use crate::front::rule::{Route, user};

/// Records read from the store at once.
const PAGE_RECORDS: u32 = 200;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        user(
            Method::POST,
            "/api/v1/me/data-export",
            "Everything kept about the caller: profile, devices, conversations, own messages as stored, and more.",
        )
        .guessing()
        .gives::<ExportBody>()
        .to(export::<S>),
    ]
}

/// The document of a data export.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct ExportBody {
    /// Always `secure-messenger-export`.
    format: String,
    version: u32,
    /// Unix milliseconds.
    exported_at: u64,
    sections: Vec<ExportSection>,
    /// Always true; missing when the document was cut off.
    complete: bool,
}

/// A part of it; a name may come more than once.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct ExportSection {
    /// `profile`, `devices`, `conversations`, `messages` …
    name: String,
    /// Ids as text, times in unix milliseconds, bytes as base64.
    #[schema(value_type = Vec<Object>)]
    records: Vec<Value>,
}

async fn export<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    caller: Caller,
) -> Result<Response, Problem> {
    Ok(document(app, caller.user, "asked for by the account", origin).await?)
}

/// The document about somebody, sent as it is read. That it was asked for is in the audit trail.
pub async fn document<S: Backing>(app: App<S>, user: UserId, why: &str, origin: Origin) -> Answer<Response> {
    let entry = AuditEntry { event: audit_event::DATA_EXPORTED, subject: Some(user), detail: why.to_owned() };
    app.store.audit(entry, origin).await?;
    let first = app.store.export(user, ExportPlace::default(), PAGE_RECORDS).await?;
    let head = format!(
        r#"{{"format":"secure-messenger-export","version":1,"exported_at":{},"sections":["#,
        app.clock.now_ms()
    );
    let mut writer = Writer { section: None, out: head };
    writer.write(first.records);
    let rest = Rest { app, user, next: first.next, writer: Some(writer) };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"data-export.json\"")),
    ];
    Ok((headers, Body::from_stream(stream::unfold(rest, Rest::step))).into_response())
}

/// What is still to be written.
struct Rest<S> {
    app: App<S>,
    user: UserId,
    next: Option<ExportPlace>,
    /// `None` once everything was handed over.
    writer: Option<Writer>,
}

impl<S: Backing> Rest<S> {
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let mut writer = self.writer.take()?;
        let chunk = std::mem::take(&mut writer.out);
        match self.next.take() {
            None => return Some((Ok((chunk + writer.close()).into()), self)),
            Some(place) => match self.app.store.export(self.user, place, PAGE_RECORDS).await {
                Ok(page) => {
                    writer.write(page.records);
                    self.next = page.next;
                    self.writer = Some(writer);
                }
                // The document ends without `complete`: whoever reads it knows that it is not whole.
                Err(fault) => tracing::warn!(%fault, "a data export was cut off"),
            },
        }
        Some((Ok(chunk.into()), self))
    }
}

/// Builds the document.
struct Writer {
    section: Option<&'static str>,
    out: String,
}

impl Writer {
    fn write(&mut self, records: Vec<ExportRecord>) {
        for record in records {
            if self.section == Some(record.section) {
                self.out.push(',');
            } else {
                self.out.push_str(if self.section.is_some() { "]}," } else { "" });
                self.out.push_str(&format!(r#"{{"name":{},"records":["#, json!(record.section)));
                self.section = Some(record.section);
            }
            let fields: Map<String, Value> =
                record.fields.into_iter().map(|(name, value)| (name, plain(value))).collect();
            self.out.push_str(&Value::Object(fields).to_string());
        }
    }

    fn close(&self) -> &'static str {
        if self.section.is_some() { r#"]}],"complete":true}"# } else { r#"],"complete":true}"# }
    }
}

fn plain(value: ExportValue) -> Value {
    match value {
        ExportValue::Null => Value::Null,
        ExportValue::Number(number) => number.into(),
        ExportValue::Text(text) => text.into(),
        ExportValue::Bytes(bytes) => STANDARD.encode(bytes).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(section: &'static str, n: i64) -> ExportRecord {
        ExportRecord { section, fields: vec![("n".to_owned(), ExportValue::Number(n))] }
    }

    #[test]
    fn records_are_grouped_into_sections() {
        let mut writer = Writer { section: None, out: r#"{"sections":["#.to_owned() };
        writer.write(vec![record("a", 1), record("a", 2)]);
        writer.write(vec![record("a", 3), record("b", 4)]);
        let text = writer.out.clone() + writer.close();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["sections"][0]["records"].as_array().unwrap().len(), 3);
        assert_eq!(value["sections"][1], json!({"name": "b", "records": [{"n": 4}]}));
        assert_eq!(value["complete"], true);
        let empty = Writer { section: None, out: r#"{"sections":["#.to_owned() };
        assert!(serde_json::from_str::<Value>(&(empty.out.clone() + empty.close())).is_ok());
    }
}
