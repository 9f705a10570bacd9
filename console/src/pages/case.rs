//! One case: what was reported, what the account did before, and the decision.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;
use schema_store::AccountError;
use schema_store::moderation::SUSPENSION_DAYS;
use schema_store::rows::moderation::{CaseDetail, CaseState, DecisionState, Measure, NewDecision};
use schema_wire::UserId;
use schema_wire::record::UserStatus;

use super::appeal::{appeals, has_part};
use super::decision::{measures, reverse_form, undo_bar};
use super::evidence::{actions, flag_card, report_card};
use super::queue::{about, keys, state};
use super::user::{hindered, hindrance};
use super::users::status;
use crate::access::seal::Seal;
use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::{Fields, is_unprintable};
use crate::frame::render::{self, Page, go};
use crate::frame::route::{Entry, MODERATORS, PEOPLE_READERS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{badge, button, csrf, moment, span, table};
use crate::settings::{Kept, NOTICE_BYTES_MAX, TEMPLATES};

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    let who = Who::Roles(MODERATORS);
    vec![
        read("/moderation/{user}", Who::Roles(PEOPLE_READERS), "case.read").to(page::<S>),
        send("/moderation/{user}/claim", who, "case.claim").to(claim::<S>),
        send("/moderation/{user}/release", who, "case.claim").to(release::<S>),
        send("/moderation/{user}/decide", who, "case.decide").to(decide::<S>),
    ]
}

/// A case, and what was typed into one of its forms.
pub struct Card {
    pub case: CaseDetail,
    pub typed: Fields,
    /// What is wrong with the form; empty: nothing.
    pub error: String,
    pub error_at: &'static str,
}

async fn page<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    show(&app, visit, subject(&user)?, StatusCode::OK, Fields::default(), ("", String::new())).await
}

fn subject(text: &str) -> Result<UserId, Trouble> {
    UserId::parse(text).ok_or(Trouble::NotFound)
}

/// Shows a case.
pub async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    user: UserId,
    status: StatusCode,
    typed: Fields,
    (error_at, error): (&'static str, String),
) -> Result<Response, Trouble> {
    let case = app.store.case(user).await?;
    Ok(render::show(status, visit, Card { case, typed, error, error_at }, draw).await)
}

async fn claim<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    let said = match app.store.claim_case(subject(&user)?, visit.by.clone()).await {
        Ok(()) => "claimed",
        Err(AccountError::Overtaken) => "overtaken",
        Err(other) => return Err(other.into()),
    };
    Ok(go(visit.jar, &format!("/moderation/{user}"), Some(said)))
}

async fn release<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
) -> Result<Response, Trouble> {
    app.store.release_case(subject(&user)?, visit.by.clone()).await?;
    Ok(go(visit.jar, "/moderation", Some("released")))
}

async fn decide<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(user): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let user = subject(&user)?;
    let kept = Kept::load(&app.store).await?;
    let new = match wanted(&visit, (&kept, &app.seal), user, &fields) {
        Ok(new) => new,
        Err((at, key)) => {
            let error = (at, visit.t(key));
            return show(&app, visit, user, StatusCode::UNPROCESSABLE_ENTITY, fields, error).await;
        }
    };
    match app.store.decide(new, visit.by.clone()).await {
        Ok(decision) => {
            let said = if decision.state == DecisionState::Waiting { Some("waiting") } else { None };
            Ok(go(visit.jar, &format!("/moderation?undo={}", UserId(decision.id.0)), said))
        }
        Err(AccountError::Overtaken) => Ok(go(visit.jar, &format!("/moderation/{user}"), Some("overtaken"))),
        Err(AccountError::NotActive(UserStatus::Banned)) => {
            let error = ("measure", visit.t("error-banned"));
            show(&app, visit, user, StatusCode::UNPROCESSABLE_ENTITY, fields, error).await
        }
        Err(other) => Err(other.into()),
    }
}

/// The decision a form asks for; otherwise the field and the key of what is wrong with it.
fn wanted(
    visit: &Visit,
    (kept, seal): (&Kept, &Seal),
    subject: UserId,
    fields: &Fields,
) -> Result<NewDecision, (&'static str, &'static str)> {
    let moderator = visit.signed_in().map(|viewer| viewer.user).ok_or(("measure", "error-sign-in"))?;
    let measure = Measure::parse(fields.raw("measure")).ok_or(("measure", "error-measure"))?;
    let reason = fields.line("reason", REASON_BYTES_MAX).map_err(|key| ("reason", key))?;
    let days = if measure == Measure::Suspend { fields.text("days").parse().unwrap_or(0) } else { 0 };
    if measure == Measure::Suspend && !SUSPENSION_DAYS.contains(&days) {
        return Err(("days", "error-days"));
    }
    let also_warns = fields.has("also-warn") && matches!(measure, Measure::Suspend | Measure::Ban);
    let measures = also_warns.then_some(Measure::Warn).into_iter().chain([measure]).collect();
    let closes = matches!(measure, Measure::Dismiss | Measure::Mute);
    let notice = if fields.has("notify") && !closes {
        Some(notice(visit, kept, &seal.pseudonym(moderator), fields)?)
    } else {
        None
    };
    let with_address = fields.has("address") && measure == Measure::Ban;
    Ok(NewDecision { subject, moderator, acts_as: None, measures, days, with_address, reason, notice })
}

/// What the account is told: own words or a template, under a name that stands for the moderator.
fn notice(
    visit: &Visit,
    kept: &Kept,
    pseudonym: &str,
    fields: &Fields,
) -> Result<String, (&'static str, &'static str)> {
    let own = fields.text("notice");
    if own.len() > NOTICE_BYTES_MAX {
        return Err(("notice", "error-too-long"));
    }
    if own.chars().any(|c| is_unprintable(c) && c != '\n' && c != '\r') {
        return Err(("notice", "error-control"));
    }
    let template = TEMPLATES.into_iter().find(|name| *name == fields.raw("template")).unwrap_or("other");
    let text = if own.is_empty() { kept.notice(visit.language, template) } else { own.to_owned() };
    Ok(format!("{text}\n\n{pseudonym}"))
}

fn draw(visit: &Visit, card: &Card) -> Page {
    let case = &card.case;
    let may_act = may_decide(visit, case) && case.row.state != CaseState::Decided && !has_part(visit, case);
    let undo = case.decisions.iter().find_map(|decision| undo_bar(visit, decision));
    let reports: Vec<AnyView> = case.reports.iter().map(|report| report_card(visit, report)).collect();
    let flags: Vec<AnyView> = case.flags.iter().map(|flag| flag_card(visit, flag)).collect();
    let body = view! {
        {undo}
        <div class="row middle">{state(visit, &case.row)}{claim_form(visit, case)}</div>
        <div class="columns">
            <div>
                {appeals(visit, card)}
                <h2>{visit.language.count("case-report-count", case.row.reports.into())}</h2>
                {reports}
                {flags}
            </div>
            <div>
                {hindered(visit, case.row.user, case.role)}
                {may_act.then(|| decision_form(visit, card))}
                {facts(visit, case)}
            </div>
        </div>
        {history(visit, card)}
        {actions(visit, &card.case.actions)}
        {keys(visit)}
    };
    Page { title: visit.language.of("case-title", "name", &case.row.name), body: body.into_any() }
}

/// Whether decisions about this account are the visitor's.
pub fn may_decide(visit: &Visit, case: &CaseDetail) -> bool {
    visit.is_one_of(MODERATORS) && hindrance(visit, case.row.user, case.role).is_none()
}

fn claim_form(visit: &Visit, case: &CaseDetail) -> Option<AnyView> {
    let viewer = visit.signed_in().filter(|_| may_decide(visit, case))?;
    if case.row.state != CaseState::Open || has_part(visit, case) {
        return None;
    }
    let user = case.row.user;
    match &case.row.claimed_by {
        None => Some(button(visit, format!("/moderation/{user}/claim"), visit.t("claim"), "quiet")),
        Some((claimer, _)) if *claimer == viewer.user => {
            Some(button(visit, format!("/moderation/{user}/release"), visit.t("release"), "quiet"))
        }
        Some(_) => None,
    }
}

/// The fields of the form below that may be wrong.
const FIELDS: [&str; 4] = ["reason", "days", "notice", "measure"];

fn decision_form(visit: &Visit, card: &Card) -> AnyView {
    let case = &card.case;
    let usual = about(visit, &case.row.about);
    let was_sent = FIELDS.contains(&card.error_at);
    let typed = |name: &str, otherwise: String| {
        if was_sent { card.typed.raw(name).to_owned() } else { otherwise }
    };
    let is_ticked = |name: &str, otherwise: bool| if was_sent { card.typed.has(name) } else { otherwise };
    let is_wrong = |at: &str| (card.error_at == at).then_some("true");
    let error_id = |at: &str| (card.error_at == at).then(|| format!("{at}-error"));
    let error = |at: &str| {
        error_id(at).map(|id| view! { <p class="error" role="alert" id=id>{card.error.clone()}</p> })
    };
    let templates = TEMPLATES.map(|name| {
        view! { <option value=name selected=name == card.typed.raw("template")>{visit.t(&format!("template-{name}"))}</option> }
    });
    view! {
        <form method="post" action=format!("/moderation/{}/decide", case.row.user) class="card" id="decide">
            {csrf(visit)}
            <h2>{visit.t("decide-title")}</h2>
            <div class="field">
                <label for="reason">{visit.t("decision-reason")}</label>
                <input id="reason" name="reason" type="text" required=true maxlength="512" autocomplete="off"
                    value=typed("reason", usual) aria-invalid=is_wrong("reason")
                    aria-describedby=error_id("reason")/>
                {error("reason")}
            </div>
            <div class="row">
                <div class="field">
                    <label for="days">{visit.t("decide-days")}</label>
                    <input id="days" name="days" type="number" min="7" max="30" value=typed("days", "7".into())
                        aria-invalid=is_wrong("days") aria-describedby=error_id("days")/>
                    {error("days")}
                </div>
                <div class="field">
                    <label for="template">{visit.t("decide-template")}</label>
                    <select id="template" name="template">{templates.to_vec()}</select>
                </div>
            </div>
            <div class="field">
                <label for="notice">{visit.t("decide-notice")}</label>
                <textarea id="notice" name="notice" maxlength="1500" aria-invalid=is_wrong("notice")
                    aria-describedby=error_id("notice")>{typed("notice", String::new())}</textarea>
                {error("notice")}
            </div>
            {choice(visit, "notify", "decide-notify", is_ticked("notify", true))}
            {choice(visit, "also-warn", "decide-also-warn", is_ticked("also-warn", false))}
            {choice(visit, "address", "decide-address", is_ticked("address", false))}
            {error("measure")}
            {measure_buttons(visit, case)}
        </form>
    }
    .into_any()
}

fn choice(visit: &Visit, name: &'static str, label: &str, is_ticked: bool) -> AnyView {
    view! {
        <label class="choice"><input type="checkbox" name=name value="yes" checked=is_ticked/>{visit.t(label)}</label>
    }
    .into_any()
}

fn measure_buttons(visit: &Visit, case: &CaseDetail) -> AnyView {
    let all = u64::from(case.row.reports) + u64::from(case.row.flags);
    let mut buttons = vec![
        (Measure::Warn, "w", "warn", visit.t("do-warn")),
        (Measure::Suspend, "s", "warn", visit.t("do-suspend")),
        (Measure::Ban, "b", "bad", visit.t("do-ban")),
    ];
    if case.row.state == CaseState::Open && all > 0 {
        buttons.push((Measure::Dismiss, "d", "", visit.language.count("do-dismiss", all)));
        buttons.push((Measure::Mute, "m", "", visit.language.count("do-mute", all)));
    }
    let buttons = buttons.into_iter().map(|(measure, key, kind, label)| {
        view! {
            <button type="submit" name="measure" value=measure.name() class=kind data-key=key>
                {label}" "<kbd aria-hidden="true">{key}</kbd>
            </button>
        }
    });
    view! { <div class="measures">{buttons.collect_view()}</div> }.into_any()
}

fn facts(visit: &Visit, case: &CaseDetail) -> AnyView {
    let standing = status(visit, case.row.status);
    let age = span(visit.language, visit.now_ms.saturating_sub(case.created_at));
    let muted =
        case.muted_until.map(|until| view! { <dt>{visit.t("fact-muted")}</dt><dd>{moment(until)}</dd> });
    view! {
        <section class="card" aria-labelledby="facts">
            <h2 id="facts">{visit.t("facts-title")}</h2>
            <dl class="facts">
                <dt>{visit.t("fact-status")}</dt><dd>{standing}</dd>
                <dt>{visit.t("fact-age")}</dt><dd>{age}</dd>
                <dt>{visit.t("fact-active")}</dt>
                <dd>{case.last_active_at.map_or_else(|| "–".into_any(), moment)}</dd>
                <dt>{visit.t("fact-devices")}</dt><dd>{case.devices}</dd>
                <dt>{visit.t("fact-strikes")}</dt><dd>{case.strikes}</dd>
                {muted}
                <dt>{visit.t("fact-id")}</dt><dd><code>{case.row.user.to_string()}</code></dd>
            </dl>
        </section>
    }
    .into_any()
}

fn history(visit: &Visit, card: &Card) -> Option<AnyView> {
    let decisions = &card.case.decisions;
    if decisions.is_empty() {
        return None;
    }
    let heads = ["decision-what", "decision-reason", "decision-by", "decision-at", "decision-state"];
    let rows = decisions.iter().map(|decision| {
        let kind = match decision.state {
            DecisionState::Done => "good",
            DecisionState::Waiting | DecisionState::Pending => "warn",
            _ => "",
        };
        let label = visit.t(&format!("decision-{}", decision.state.name().to_lowercase()));
        let reversible = may_decide(visit, &card.case) && decision.state == DecisionState::Done;
        view! {
            <tr>
                <th scope="row">{measures(visit, decision)}</th>
                <td class="wide"><bdi>{decision.reason.clone()}</bdi></td>
                <td><bdi>{decision.moderator_name.clone()}</bdi></td>
                <td>{moment(decision.created_at)}</td>
                <td>{badge(kind, label)}{reversible.then(|| reverse_form(visit, card, decision))}</td>
            </tr>
        }
        .into_any()
    });
    Some(table(visit.t("history-title"), heads.map(|key| visit.t(key)).to_vec(), rows.collect()))
}
