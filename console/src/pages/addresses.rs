//! Banned addresses and blocks of them: asked for by one moderator, agreed to by another one, lifted by any. Nobody bans the
//! block that they come from.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::rows::moderation::{AddressBan, AddressBanId, AddressBanRequest};
use schema_wire::{Network, UserId};

use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, MODERATORS, PEOPLE_READERS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{Field, button, csrf, moment, reason_field, table};

/// Rows of a page.
const ROWS: u32 = 100;
/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 512;
/// Longest block, in characters.
const NETWORK_CHARS_MAX: u32 = 49;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(MODERATORS);
    vec![
        read("/moderation/addresses", Who::Roles(PEOPLE_READERS), "address.list").to(page::<S>),
        send("/moderation/addresses", who, "address.ask").to(ask::<S>),
        send("/moderation/addresses/lift", who, "address.lift").to(lift::<S>),
        send("/moderation/addresses/{request}/agree", who, "address.agree").to(agree::<S>),
        send("/moderation/addresses/{request}/withdraw", who, "address.withdraw").to(withdraw::<S>),
    ]
}

/// In place of a field: the form that lifts a ban.
const LIFT: &str = "lift";

struct Shown {
    bans: Vec<AddressBan>,
    asked: Vec<AddressBanRequest>,
    typed: Fields,
    /// The field that is wrong, and what to say about it.
    wrong: (&'static str, String),
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let before = fields.raw("before").parse().ok();
    show(&app, visit, before, Fields::default(), ("", String::new())).await
}

async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    before: Option<u64>,
    typed: Fields,
    wrong: (&'static str, String),
) -> Result<Response, Trouble> {
    let code = if wrong.0.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let bans = app.store.address_bans(before, ROWS).await?;
    let asked = app.store.address_bans_asked(ROWS).await?;
    Ok(render::show(code, visit, Shown { bans, asked, typed, wrong }, draw).await)
}

async fn ask<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let wrong = match wanted(&visit, &fields) {
        Err(wrong) => wrong,
        Ok((network, reason)) => match app.store.ask_address_ban(network, reason, visit.by.clone()).await {
            Ok(_) => return Ok(go(visit.jar, "/moderation/addresses", Some("address-asked"))),
            Err(AccountError::Overtaken) => ("network", "error-network-twice"),
            Err(AccountError::Invalid { .. }) => ("network", "error-network-wide"),
            Err(other) => return Err(other.into()),
        },
    };
    let wrong = (wrong.0, visit.t(wrong.1));
    show(&app, visit, None, fields, wrong).await
}

/// What a form asks for; otherwise the field and the key of what is wrong with it.
fn wanted(visit: &Visit, fields: &Fields) -> Result<(Network, String), (&'static str, &'static str)> {
    let text = fields.text("network");
    let network = Network::parse(text).ok_or(("network", "error-network"))?;
    // Bits beyond the prefix may mean that another block is meant.
    let typed = text.split('/').next().and_then(|address| address.trim().parse().ok());
    if typed.is_none_or(|typed: std::net::IpAddr| typed.to_canonical() != network.first()) {
        return Err(("network", "error-network-bits"));
    }
    if visit.by.address.is_some_and(|own| network.contains(own)) {
        return Err(("network", "error-network-own"));
    }
    let reason = fields.line("reason", REASON_BYTES_MAX).map_err(|key| ("reason", key))?;
    Ok((network, reason))
}

fn named(text: &str) -> Result<AddressBanId, Trouble> {
    UserId::parse(text).map(|id| AddressBanId(id.0)).ok_or(Trouble::NotFound)
}

/// Back to the page, with a word about what became of it.
fn answer(visit: &Visit, done: Result<(), AccountError>, said: &str) -> Result<Response, Trouble> {
    let said = match done {
        Ok(()) => said,
        Err(AccountError::Overtaken | AccountError::NotFound) => "overtaken",
        Err(other) => return Err(other.into()),
    };
    Ok(go(visit.jar, "/moderation/addresses", Some(said)))
}

async fn agree<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(request): Path<String>,
) -> Result<Response, Trouble> {
    let id = named(&request)?;
    let asked = app.store.address_bans_asked(ROWS).await?;
    let own = |request: &AddressBanRequest| {
        request.id == id && visit.by.address.is_some_and(|own| request.network.contains(own))
    };
    if asked.iter().any(own) {
        return Ok(go(visit.jar, "/moderation/addresses", Some("address-own")));
    }
    let done = app.store.agree_to_address_ban(id, visit.by.clone()).await;
    answer(&visit, done.map(drop), "address-banned")
}

async fn withdraw<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(request): Path<String>,
) -> Result<Response, Trouble> {
    let done = app.store.withdraw_address_ban(named(&request)?, visit.by.clone()).await;
    answer(&visit, done, "address-withdrawn")
}

async fn lift<S: Desk>(State(app): State<App<S>>, visit: Visit, fields: Fields) -> Result<Response, Trouble> {
    let network = Network::parse(fields.text("network")).ok_or(Trouble::NotFound)?;
    let reason = match fields.line("reason", REASON_BYTES_MAX) {
        Ok(reason) => reason,
        Err(key) => {
            let wrong = (LIFT, visit.t(key));
            return show(&app, visit, None, fields, wrong).await;
        }
    };
    let done = app.store.set_address_ban(network, false, reason, visit.by.clone()).await;
    answer(&visit, done, "address-lifted")
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let may = visit.is_one_of(MODERATORS);
    let body = view! {
        <p>{visit.t("addresses-why")}</p>
        {asked(visit, &shown.asked)}
        {may.then(|| ask_form(visit, shown))}
        {bans(visit, shown)}
    };
    Page { title: visit.t("addresses"), body: body.into_any() }
}

fn ask_form(visit: &Visit, shown: &Shown) -> AnyView {
    let field = |name: &'static str, label: &str, hint: String, length_max: u32| {
        let error = if shown.wrong.0 == name { shown.wrong.1.clone() } else { String::new() };
        let value = if shown.wrong.0 == LIFT { "" } else { shown.typed.raw(name) };
        Field { name, label: visit.t(label), value, kind: "text", fills: "", hint, error, length_max }.draw()
    };
    view! {
        <form method="post" action="/moderation/addresses" class="card narrow" id="ask">
            {csrf(visit)}
            {field("network", "address-network", visit.t("address-hint"), NETWORK_CHARS_MAX)}
            {field("reason", "decision-reason", String::new(), 512)}
            <button type="submit" class="bad">{visit.t("address-ask")}</button>
        </form>
    }
    .into_any()
}

fn asked(visit: &Visit, rows: &[AddressBanRequest]) -> Option<AnyView> {
    if rows.is_empty() {
        return None;
    }
    let heads = ["address-network", "decision-reason", "decision-by", "decision-at", "decision-do"];
    let rows = rows.iter().map(|request| asked_row(visit, request)).collect();
    Some(table(visit.t("waiting-title"), heads.map(|key| visit.t(key)).to_vec(), rows))
}

fn asked_row(visit: &Visit, request: &AddressBanRequest) -> AnyView {
    let id = UserId(request.id.0);
    let (may, is_own) = (
        visit.is_one_of(MODERATORS),
        visit.signed_in().is_some_and(|viewer| viewer.user == request.asked_by),
    );
    let to = |what: &str| format!("/moderation/addresses/{id}/{what}");
    let agree = (may && !is_own).then(|| button(visit, to("agree"), visit.t("decision-agree"), "bad"));
    let withdraw = may.then(|| button(visit, to("withdraw"), visit.t("decision-withdraw"), "quiet"));
    view! {
        <tr>
            <th scope="row">{request.network.to_string()}</th>
            <td class="wide"><bdi>{request.reason.clone()}</bdi></td>
            <td><bdi>{name(visit, &request.asker)}</bdi></td>
            <td>{moment(request.asked_at)}</td>
            <td>{agree}" "{withdraw}</td>
        </tr>
    }
    .into_any()
}

fn name(visit: &Visit, name: &str) -> String {
    if name.is_empty() { visit.t("somebody-gone") } else { name.to_owned() }
}

fn bans(visit: &Visit, shown: &Shown) -> AnyView {
    let rows = &shown.bans;
    if rows.is_empty() {
        return view! { <p class="card">{visit.t("addresses-none")}</p> }.into_any();
    }
    let heads =
        ["address-network", "decision-reason", "decision-by", "decision-at", "invite-until", "reverse"];
    let next = rows.last().filter(|_| rows.len() == ROWS as usize).map(|last| {
        let href = format!("/moderation/addresses?before={}", last.id);
        view! { <p><a class="button" href=href>{visit.t("next-page")}</a></p> }
    });
    let rows = rows.iter().map(|ban| ban_row(visit, shown, ban)).collect();
    view! {
        {table(visit.t("addresses"), heads.map(|key| visit.t(key)).to_vec(), rows)}
        {next}
    }
    .into_any()
}

fn ban_row(visit: &Visit, shown: &Shown, ban: &AddressBan) -> AnyView {
    let lift = visit.is_one_of(MODERATORS).then(|| lift_form(visit, shown, ban));
    view! {
        <tr>
            <th scope="row">{ban.network.to_string()}</th>
            <td class="wide"><bdi>{ban.reason.clone()}</bdi></td>
            <td><bdi>{name(visit, &ban.by)}</bdi></td>
            <td>{moment(ban.created_at)}</td>
            <td>{ban.expires_at.map(moment)}</td>
            <td>{lift}</td>
        </tr>
    }
    .into_any()
}

fn lift_form(visit: &Visit, shown: &Shown, ban: &AddressBan) -> AnyView {
    let is_wrong = shown.wrong.0 == LIFT && shown.typed.raw("network") == ban.network.to_string();
    let (typed, error) =
        if is_wrong { (shown.typed.raw("reason"), Some(shown.wrong.1.clone())) } else { ("", None) };
    view! {
        <details open=is_wrong>
            <summary>{visit.t("address-lift")}</summary>
            <form method="post" action="/moderation/addresses/lift">
                {csrf(visit)}
                <input type="hidden" name="network" value=ban.network.to_string()/>
                {reason_field(visit, format!("lift-{}", ban.id), typed.to_owned(), error)}
                <button type="submit" class="warn">{visit.t("address-lift-do")}</button>
            </form>
        </details>
    }
    .into_any()
}
