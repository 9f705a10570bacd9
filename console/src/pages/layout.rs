//! What stands around every page: head, navigation, the word about what was just done, language and colours.

use leptos::prelude::*;
use schema_store::rows::role::AccountRole;

use crate::frame::assets::{SCRIPT_PATH, STYLE_PATH};
use crate::frame::render::Page;
use crate::frame::route::{ADMINISTRATORS, AUDITORS, OPERATION_READERS, PEOPLE_READERS, STAFF};
use crate::frame::visit::{Theme, Visit};
use crate::parts::{button, csrf};
use crate::text::Language;

/// Rooms of the console: where, what they are called, for whom.
const ROOMS: &[(&str, &str, &[AccountRole])] = &[
    ("/overview", "nav-overview", STAFF),
    ("/moderation", "nav-moderation", PEOPLE_READERS),
    ("/users", "nav-users", PEOPLE_READERS),
    ("/registration", "nav-registration", ADMINISTRATORS),
    ("/staff", "nav-staff", ADMINISTRATORS),
    ("/statistics", "nav-statistics", PEOPLE_READERS),
    ("/audit", "nav-audit", AUDITORS),
    ("/metrics", "nav-metrics", OPERATION_READERS),
    ("/nodes", "nav-nodes", OPERATION_READERS),
    ("/backups", "nav-backups", OPERATION_READERS),
    ("/settings", "nav-settings", OPERATION_READERS),
    ("/tokens", "nav-tokens", ADMINISTRATORS),
    ("/account", "nav-account", STAFF),
];

/// Where open cases are listed.
const QUEUE: &str = "/moderation";

/// The whole document.
pub fn layout(visit: &Visit, page: Page, nonce: String) -> AnyView {
    let title = format!("{} · {}", page.title, visit.t("product"));
    let said = visit.said.as_deref().map(|key| visit.t(&format!("said-{key}")));
    view! {
        <!DOCTYPE html>
        <html lang=visit.language.code() data-theme=visit.theme.map(Theme::name)>
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <meta name="color-scheme" content="light dark"/>
                <title>{title}</title>
                <link rel="icon" type="image/svg+xml" href="/assets/icon.svg"/>
                <link rel="stylesheet" href=STYLE_PATH.as_str()/>
                <script type="module" src=SCRIPT_PATH.as_str() nonce=nonce blocking="render"></script>
            </head>
            <body>
                <a class="skip" href="#main">{visit.t("skip")}</a>
                {header(visit)}
                <main id="main" tabindex="-1">
                    <div role="status" class="said">{said}</div>
                    <h1>{page.title.clone()}</h1>
                    {page.body}
                </main>
                {footer(visit)}
            </body>
        </html>
    }
    .into_any()
}

fn header(visit: &Visit) -> AnyView {
    let rooms = ROOMS.iter().filter(|(_, _, roles)| visit.is_one_of(roles));
    let links = rooms.map(|(path, key, _)| {
        let waiting = (*path == QUEUE).then(|| waiting(visit)).flatten();
        let is_here =
            visit.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        view! { <li><a href=*path aria-current=is_here.then_some("page")>{visit.t(key)}{waiting}</a></li> }
    });
    let viewer = visit.viewer.as_ref().map(|viewer| {
        let role = visit.t(&format!("role-{}", viewer.role.name().to_lowercase()));
        view! {
            <div class="viewer">
                <span><bdi>{viewer.name.clone()}</bdi>" · "{role}</span>
                {button(visit, "/sign-out".into(), visit.t("sign-out"), "quiet")}
            </div>
        }
    });
    view! {
        <header class="top">
            <a class="brand" href="/">{visit.t("product")}</a>
            <nav aria-label=visit.t("nav")><ul>{links.collect_view()}</ul></nav>
            {viewer}
        </header>
    }
    .into_any()
}

/// How many cases are open, for whoever sees the queue: a number for the eye, a sentence for whoever listens.
fn waiting(visit: &Visit) -> Option<AnyView> {
    let open = visit.open_cases.filter(|open| *open > 0)?;
    let badge = view! {
        " "
        <span class="badge warn" aria-hidden="true" data-open-cases="">{open}</span>
        <span class="heard">" "{visit.language.count("nav-open-cases", open)}</span>
    };
    Some(badge.into_any())
}

fn footer(visit: &Visit) -> AnyView {
    let languages = Language::ALL.map(|language| {
        let is_on = language == visit.language;
        view! { <option value=language.code() selected=is_on lang=language.code()>{language.own_name()}</option> }
    });
    let themes = [("auto", None), ("light", Some(Theme::Light)), ("dark", Some(Theme::Dark))];
    let themes = themes.map(|(name, theme)| {
        view! { <option value=name selected=theme == visit.theme>{visit.t(&format!("theme-{name}"))}</option> }
    });
    // A page that only a form leads to can't be gone back to.
    let back = visit.path.clone();
    view! {
        <footer class="bottom">
            <form method="post" action="/preferences" class="preferences">
                {csrf(visit)}
                <input type="hidden" name="back" value=back/>
                <label>{visit.t("language")}<select name="language">{languages.to_vec()}</select></label>
                <label>{visit.t("theme")}<select name="theme">{themes.to_vec()}</select></label>
                <button type="submit" class="quiet">{visit.t("apply")}</button>
            </form>
        </footer>
    }
    .into_any()
}
