//! What operators set: each with its default, its bounds, and who changed it, or the environment variable that decides it.
//! A change is in the audit trail with both values.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use leptos::prelude::*;

use crate::app::App;
use crate::frame::Desk;
use crate::frame::fields::Fields;
use crate::frame::render::{self, Page, go};
use crate::frame::route::{ADMINISTRATORS, Entry, OPERATION_READERS, PEOPLE_READERS, Who, read, send};
use crate::frame::trouble::Trouble;
use crate::frame::visit::Visit;
use crate::parts::{csrf, moment};
use crate::settings::{Held, Kept, Kind, Known, NOTICE_BYTES_MAX, REGISTRATION, Room, known, refresh};

/// The routes of this file.
pub fn entries<S: Desk>() -> Vec<Entry<S>> {
    vec![
        read("/settings", Who::Roles(OPERATION_READERS), "settings.read").to(page::<S>),
        send("/settings/{name}", Who::Roles(ADMINISTRATORS), "settings.change").to(change::<S>),
    ]
}

struct Shown {
    kept: Kept,
    held: Held,
    /// Settings that an environment variable decides, with that.
    fixed: Vec<(&'static str, &'static str)>,
    /// What was refused: its name, what was typed, why.
    refused: Option<(&'static str, String, String)>,
}

async fn page<S: Desk>(State(app): State<App<S>>, visit: Visit) -> Result<Response, Trouble> {
    show(&app, visit, StatusCode::OK, None).await
}

async fn show<S: Desk>(
    app: &App<S>,
    visit: Visit,
    status: StatusCode,
    refused: Option<(&'static str, String, String)>,
) -> Result<Response, Trouble> {
    let kept = Kept::load(&app.store).await?;
    let fixed = known().iter().filter_map(|known| Some((known.name, known.fixed_by(&app.config)?))).collect();
    let shown = Shown { kept, held: Held::of(&app.config), fixed, refused };
    Ok(render::show(status, visit, shown, draw).await)
}

async fn change<S: Desk>(
    State(app): State<App<S>>,
    visit: Visit,
    Path(name): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let known = known().into_iter().find(|known| known.name == name).ok_or(Trouble::NotFound)?;
    let value = match known.fixed_by(&app.config) {
        Some(_) => Err("settings-fixed"),
        None if fields.has("default") => Ok(None),
        None => known.accept(fields.raw("value")).map(Some),
    };
    // Whoever registers would wait for a letter that nobody sends.
    let needs_letters = known.name == REGISTRATION && value == Ok(Some("open".to_owned()));
    let value = if needs_letters && !app.post.is_open() { Err("error-no-letters") } else { value };
    match value {
        Ok(value) => {
            // The default, typed, is the default: it changes with the program.
            let value = value.filter(|value| *value != known.default());
            app.store.change_setting(known.name, value, visit.by.clone()).await?;
            refresh(&app).await?;
            Ok(go(visit.jar, "/settings", Some("set")))
        }
        Err(key) => {
            let refused = (known.name, fields.raw("value").to_owned(), visit.t(key));
            show(&app, visit, StatusCode::UNPROCESSABLE_ENTITY, Some(refused)).await
        }
    }
}

fn draw(visit: &Visit, shown: &Shown) -> Page {
    let known = known();
    let rooms = Room::ALL.map(|room| {
        let cards = known.iter().filter(|known| known.room == room).map(|known| setting(visit, shown, known));
        view! {
            <section aria-labelledby=room.key()>
                <h2 id=room.key()>{visit.t(room.key())}</h2>
                <p>{visit.t(&format!("{}-why", room.key()))}</p>
                <div class="tiles">{cards.collect_view()}</div>
            </section>
        }
    });
    let content = visit
        .is_one_of(PEOPLE_READERS)
        .then(|| view! { <a class="button" href="/settings/content">{visit.t("content-rules")}</a> });
    let body = view! {
        <p>{visit.t("settings-why")}</p>
        <p class="row"><a class="button" href="/settings/mail">{visit.t("mail-title")}</a>{content}</p>
        {rooms.into_iter().collect_view()}
    };
    Page { title: visit.t("nav-settings"), body: body.into_any() }
}

fn setting(visit: &Visit, shown: &Shown, known: &Known) -> AnyView {
    let set = shown.kept.set(known.name);
    let refused = shown.refused.as_ref().filter(|(name, ..)| *name == known.name);
    let fixed = shown.fixed.iter().find(|(name, _)| *name == known.name).map(|(_, variable)| *variable);
    let held = fixed.and_then(|_| shown.held.written(known.name));
    let value = match (held, refused, set) {
        (Some(held), ..) => held,
        (None, Some((_, typed, _)), _) => typed.clone(),
        (None, None, Some(set)) => set.value.clone(),
        (None, None, None) => known.default(),
    };
    let fixed_by = fixed.map(|variable| {
        view! { <p class="hint">{visit.language.of("settings-fixed-by", "variable", variable)}</p> }
    });
    let changed = set.map(|set| {
        let by = if set.changed_by.is_empty() { visit.t("somebody-gone") } else { set.changed_by.clone() };
        view! { <p class="hint">{visit.t("settings-changed")}" "<bdi>{by}</bdi>" · "{moment(set.changed_at)}</p> }
    });
    let error = refused.map(|(.., why)| why.clone());
    let may = visit.is_one_of(ADMINISTRATORS) && fixed.is_none();
    let default = (may && set.is_some()).then(|| {
        view! { <button type="submit" name="default" value="yes" class="quiet" formnovalidate="">{visit.t("settings-default")}</button> }
    });
    let keep = may.then(|| view! { <button type="submit">{visit.t("settings-keep")}</button> });
    view! {
        <form method="post" action=format!("/settings/{}", known.name) class="card">
            {csrf(visit)}
            {field(visit, known, value, error, may)}
            {fixed_by}
            {changed}
            <div class="row">{keep}{default}</div>
        </form>
    }
    .into_any()
}

fn field(visit: &Visit, known: &Known, value: String, error: Option<String>, may: bool) -> AnyView {
    let id = known.name;
    let error_id = format!("{id}-error");
    let (is_wrong, about) = (error.is_some().then_some("true"), error.is_some().then(|| error_id.clone()));
    let error = error.map(|text| view! { <p class="error" id=error_id>{text}</p> });
    let input = match &known.kind {
        Kind::Number(number) => view! {
            <input id=id name="value" type="number" min=number.least max=number.most value=value required=true
                readonly=!may aria-invalid=is_wrong aria-describedby=about/>
        }
        .into_any(),
        Kind::Choice(words) => {
            let options = words.iter().map(|word| {
                view! { <option value=*word selected=*word == value>{visit.t(&format!("choice-{word}"))}</option> }
            });
            view! {
                <select id=id name="value" disabled=!may aria-invalid=is_wrong aria-describedby=about>
                    {options.collect_view()}
                </select>
            }
            .into_any()
        }
        Kind::Text { language, .. } => view! {
            <textarea id=id name="value" lang=language.code() required=true maxlength=NOTICE_BYTES_MAX readonly=!may
                aria-invalid=is_wrong aria-describedby=about>{value}</textarea>
        }
        .into_any(),
    };
    view! {
        <div class="field">
            <label for=id>{label(visit, known)}</label>
            {input}
            {error}
        </div>
    }
    .into_any()
}

fn label(visit: &Visit, known: &Known) -> String {
    match &known.kind {
        Kind::Number(_) | Kind::Choice(_) => visit.t(&format!("setting-{}", known.name)),
        Kind::Text { language, key } => {
            format!("{} ({})", visit.t(key.trim_end_matches("-text")), language.own_name())
        }
    }
}
