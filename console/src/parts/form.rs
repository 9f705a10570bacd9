//! Forms as they are shown: empty, or again with what was typed and the one field that is wrong. Drawn from what they are
//! given, like every other part.

use axum::http::StatusCode;
use leptos::prelude::*;

use super::Field;
use crate::frame::fields::Fields;
use crate::frame::visit::Visit;

/// A field that is wrong, and what to say about it.
pub type Wrong = (&'static str, String);

/// What was typed into a form, and what is wrong with it.
#[derive(Clone, Default, Debug)]
pub struct Typed {
    fields: Fields,
    wrong: Option<Wrong>,
}

impl Typed {
    /// A form that was sent and is not taken.
    pub fn wrong(fields: Fields, wrong: Wrong) -> Self {
        Self { fields, wrong: Some(wrong) }
    }

    /// What was typed into a field.
    pub fn text(&self, name: &str) -> &str {
        self.fields.raw(name)
    }

    /// What is wrong with a field; empty: nothing.
    pub fn error(&self, name: &str) -> String {
        let wrong = self.wrong.as_ref().filter(|(field, _)| *field == name);
        wrong.map(|(_, why)| why.clone()).unwrap_or_default()
    }

    /// Whether it was sent and is not taken.
    pub fn is_refused(&self) -> bool {
        self.wrong.is_some()
    }

    /// Of the page that shows it.
    pub fn status(&self) -> StatusCode {
        if self.is_refused() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }
    }

    /// A line of text with a label, shown as it was typed.
    pub fn line(&self, visit: &Visit, name: &'static str, label: &str, length_max: u32) -> Field<'_> {
        Field {
            name,
            label: visit.t(label),
            value: self.text(name),
            kind: "text",
            fills: "",
            hint: String::new(),
            error: self.error(name),
            length_max,
        }
    }

    /// What is secret: never shown again. `fills` as `autocomplete` knows it.
    pub fn secret(&self, visit: &Visit, name: &'static str, label: &str, fills: &'static str) -> Field<'_> {
        Field { value: "", kind: "password", fills, ..self.line(visit, name, label, 256) }
    }
}

/// One of several, each with its value and its label. `error`: empty where nothing is wrong.
pub fn choice(
    name: &'static str,
    label: String,
    options: impl Iterator<Item = (&'static str, String)>,
    chosen: &str,
    error: String,
) -> AnyView {
    let (error_id, has_error) = (format!("{name}-error"), !error.is_empty());
    let about = has_error.then(|| error_id.clone());
    let options: Vec<_> = options
        .map(|(value, label)| view! { <option value=value selected=value == chosen>{label}</option> })
        .collect();
    view! {
        <div class="field">
            <label for=name>{label}</label>
            <select id=name name=name aria-describedby=about aria-invalid=has_error.then_some("true")>{options}</select>
            {has_error.then(|| view! { <p class="error" id=error_id>{error}</p> })}
        </div>
    }
    .into_any()
}

/// What is shown this once.
pub fn once(why: String, secret: String) -> AnyView {
    view! {
        <div class="card" role="status">
            <p>{why}</p>
            <code class="secret">{secret}</code>
        </div>
    }
    .into_any()
}
