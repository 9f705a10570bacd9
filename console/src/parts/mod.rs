//! Pieces that pages are made of. They draw what they are given: no store, no request in here.

pub mod chart;
pub mod form;
pub mod graph;
pub mod heatmap;

use leptos::prelude::*;

use crate::frame::visit::Visit;
use crate::text::Language;

/// The hidden field that makes a form this browser's own.
pub fn csrf(visit: &Visit) -> AnyView {
    view! { <input type="hidden" name="csrf" value=visit.csrf.clone()/> }.into_any()
}

/// A moment, in UTC, for people and for programs.
pub fn moment(at_ms: u64) -> AnyView {
    let (short, exact) = written(at_ms);
    view! { <time datetime=exact>{short}</time> }.into_any()
}

/// The same as text of a page, for long tables of numbers.
pub fn moment_html(at_ms: u64) -> String {
    let (short, exact) = written(at_ms);
    format!("<time datetime=\"{exact}\">{short}</time>")
}

/// The same as plain text.
pub fn moment_text(at_ms: u64) -> String {
    written(at_ms).0
}

/// A moment as it is read, and as programs read it.
fn written(at_ms: u64) -> (String, String) {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(i64::MAX));
    let at = at.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    (at.strftime("%Y-%m-%d %H:%M UTC").to_string(), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// How long ago, or until when, in the largest unit that fits.
pub fn span(language: Language, ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0 => language.count("span-seconds", ms / 1000),
        1..60 => language.count("span-minutes", minutes),
        60..2880 => language.count("span-hours", minutes / 60),
        _ => language.count("span-days", minutes / 1440),
    }
}

/// A field with its label, what was typed, and what is wrong with it.
pub struct Field<'a> {
    pub name: &'static str,
    pub label: String,
    pub value: &'a str,
    /// `text`, `email`, `password` …
    pub kind: &'static str,
    /// As `autocomplete` knows it; empty: nothing to complete.
    pub fills: &'static str,
    /// A sentence under the label; empty: none.
    pub hint: String,
    /// Empty: nothing is wrong.
    pub error: String,
    pub length_max: u32,
}

impl Field<'_> {
    /// Draws it.
    pub fn draw(self) -> AnyView {
        let Self { name, label, value, kind, fills, hint, error, length_max } = self;
        let (hint_id, error_id) = (format!("{name}-hint"), format!("{name}-error"));
        let (has_hint, has_error) = (!hint.is_empty(), !error.is_empty());
        let mut about = Vec::new();
        about.extend(has_hint.then(|| hint_id.clone()));
        about.extend(has_error.then(|| error_id.clone()));
        let about = (!about.is_empty()).then(|| about.join(" "));
        let fills = if fills.is_empty() { "off" } else { fills };
        view! {
            <div class="field">
                <label for=name>{label}</label>
                {has_hint.then(|| view! { <p class="hint" id=hint_id>{hint}</p> })}
                <input id=name name=name type=kind value=value.to_owned() autocomplete=fills maxlength=length_max
                    aria-describedby=about aria-invalid=has_error.then_some("true")/>
                {has_error.then(|| view! { <p class="error" id=error_id>{error}</p> })}
            </div>
        }
        .into_any()
    }
}

/// The field of a reason, in a form of which a page may have many: with what was typed, and what is wrong with it.
pub fn reason_field(visit: &Visit, id: String, typed: String, error: Option<String>) -> AnyView {
    let error_id = format!("{id}-error");
    let (is_wrong, about) = (error.is_some().then_some("true"), error.is_some().then(|| error_id.clone()));
    let error = error.map(|text| view! { <p class="error" id=error_id>{text}</p> });
    view! {
        <div class="field">
            <label for=id.clone()>{visit.t("decision-reason")}</label>
            <input id=id name="reason" type="text" required=true maxlength="512" autocomplete="off" value=typed
                aria-invalid=is_wrong aria-describedby=about/>
            {error}
        </div>
    }
    .into_any()
}

/// Figures side by side: what each is called, and how it stands.
pub fn figures(facts: Vec<(String, AnyView)>) -> AnyView {
    let facts = facts.into_iter().map(|(name, value)| view! { <div><dt>{name}</dt><dd>{value}</dd></div> });
    view! { <dl class="figures">{facts.collect_view()}</dl> }.into_any()
}

/// A small form that is one button.
pub fn button(visit: &Visit, action: String, label: String, kind: &'static str) -> AnyView {
    view! {
        <form method="post" action=action class="inline">
            {csrf(visit)}
            <button type="submit" class=kind>{label}</button>
        </form>
    }
    .into_any()
}

/// A word that stands out.
pub fn badge(kind: &'static str, label: String) -> AnyView {
    view! { <span class=format!("badge {kind}")>{label}</span> }.into_any()
}

/// A table that scrolls by itself on a narrow screen, reachable with the keyboard.
pub fn table(caption: String, heads: Vec<String>, rows: Vec<AnyView>) -> AnyView {
    let label = caption.clone();
    view! {
        <div class="table" role="region" aria-label=label tabindex="0">
            <table>
                <caption>{caption}</caption>
                <thead>
                    <tr>{heads.into_iter().map(|head| view! { <th scope="col">{head}</th> }).collect_view()}</tr>
                </thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
    .into_any()
}

/// The same with rows that are written already: numbers and moments only, nothing that somebody typed.
pub fn number_table(caption: String, heads: Vec<String>, rows: String) -> AnyView {
    let label = caption.clone();
    view! {
        <div class="table" role="region" aria-label=label tabindex="0">
            <table>
                <caption>{caption}</caption>
                <thead>
                    <tr>{heads.into_iter().map(|head| view! { <th scope="col">{head}</th> }).collect_view()}</tr>
                </thead>
                <tbody inner_html=rows></tbody>
            </table>
        </div>
    }
    .into_any()
}

/// Around numbers that can be copied one by one: a script puts a button beside each.
pub fn copyable(visit: &Visit, body: AnyView) -> AnyView {
    view! {
        <div data-copy=visit.t("copy") data-copy-table=visit.t("copy-table") data-copied=visit.t("copied")>{body}</div>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans_read_well() {
        let (short, exact) = written(1_800_000_000_000);
        assert_eq!((short.as_str(), exact.as_str()), ("2027-01-15 08:00 UTC", "2027-01-15T08:00:00Z"));
        assert_eq!(written(u64::MAX).0, "1970-01-01 00:00 UTC");
        let english = |ms| span(Language::English, ms);
        assert_eq!([0, 59_000, 60_000, 7_200_000].map(english), ["0 s", "59 s", "1 min", "2 h"]);
        assert_eq!(english(3 * 86_400_000), "3 days");
    }
}
