//! Rules about contents: what is looked for in disclosed messages and in what people write about themselves. A change is in
//! the audit trail.

use axum::extract::{Path, State};
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::rows::detection::{ContentKind, ContentRule, ContentRuleId};
use schema_wire::UserId;

use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, PEOPLE_READERS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::form::{Typed, choice};
use crate::parts::{Field, button, csrf, moment, table};

/// Longest rule, in bytes.
const TEXT_BYTES_MAX: usize = 128;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(ADMINISTRATORS);
    vec![
        read("/settings/content", Who::Roles(PEOPLE_READERS), "content.read").to(page::<S>),
        send("/settings/content", who, "content.change").to(add::<S>),
        send("/settings/content/{rule}/remove", who, "content.change").to(remove::<S>),
    ]
}

struct Shown {
    rules: Vec<ContentRule>,
    typed: Typed,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, Typed::default()).await
}

async fn show<S: Desk>(app: &App<S>, visit: Visit, typed: Typed) -> Result<Response, Trouble> {
    let rules = app.store.content_rules().await?;
    Ok(render::show(typed.status(), visit, Shown { rules, typed }, draw).await)
}

async fn add<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let kind = ContentKind::parse(fields.raw("kind")).ok_or(Trouble::Malformed)?;
    let wrong = match fields.line("text", TEXT_BYTES_MAX) {
        Err(key) => key,
        Ok(text) => match app.store.add_content_rule(kind, text, visit.by.clone()).await {
            Ok(_) => return Ok(go(visit.jar, "/settings/content", Some("set"))),
            Err(AccountError::Overtaken) => "error-rule-twice",
            Err(AccountError::Invalid { .. }) if kind == ContentKind::Shortener => "error-rule-domain",
            Err(AccountError::Invalid { .. }) => "error-rule-words",
            Err(AccountError::TooMany { .. }) => "error-rules-full",
            Err(other) => return Err(other.into()),
        },
    };
    let wrong = ("text", visit.t(wrong));
    show(&app, visit, Typed::wrong(fields, wrong)).await
}

async fn remove<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(rule): Path<String>,
) -> Result<Response, Trouble> {
    let id = UserId::parse(&rule).map(|id| ContentRuleId(id.0)).ok_or(Trouble::NotFound)?;
    let said = match app.store.remove_content_rule(id, visit.by.clone()).await {
        Ok(()) => "rule-removed",
        Err(AccountError::Overtaken) => "overtaken",
        Err(other) => return Err(other.into()),
    };
    Ok(go(visit.jar, "/settings/content", Some(said)))
}

fn kind_name(visit: &Visit, kind: ContentKind) -> String {
    visit.t(&format!("rule-{}", kind.name().to_lowercase()))
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let may = visit.is_one_of(ADMINISTRATORS);
    let heads = ["rule-kind", "rule-text", "decision-by", "decision-at"];
    let heads = heads.into_iter().chain(may.then_some("session-end")).map(|key| visit.t(key)).collect();
    let rows = shown.rules.iter().map(|rule| row(visit, rule, may)).collect();
    let body = view! {
        <p>{visit.t("content-why")}</p>
        {may.then(|| add_form(visit, shown))}
        {table(visit.t("content-rules"), heads, rows)}
    };
    Page { title: visit.t("content-rules"), body: body.into_any() }
}

fn add_form(visit: &Visit, shown: &Shown) -> AnyView {
    let text = Field { hint: visit.t("rule-hint"), ..shown.typed.line(visit, "text", "rule-text", 128) };
    let kinds = ContentKind::ALL.into_iter().map(|kind| (kind.name(), kind_name(visit, kind)));
    view! {
        <form method="post" action="/settings/content" class="card narrow" id="add">
            {csrf(visit)}
            {choice("kind", visit.t("rule-kind"), kinds, shown.typed.text("kind"), String::new())}
            {text.draw()}
            <button type="submit">{visit.t("rule-add")}</button>
        </form>
    }
    .into_any()
}

fn row(visit: &Visit, rule: &ContentRule, may: bool) -> AnyView {
    let action = format!("/settings/content/{}/remove", UserId(rule.id.0));
    let remove = may.then(|| view! { <td>{button(visit, action, visit.t("rule-remove"), "quiet")}</td> });
    view! {
        <tr>
            <td>{kind_name(visit, rule.kind)}</td>
            <th scope="row"><bdi>{rule.text.clone()}</bdi></th>
            <td><bdi>{rule.made_by.clone()}</bdi></td>
            <td>{moment(rule.created_at)}</td>
            {remove}
        </tr>
    }
    .into_any()
}
