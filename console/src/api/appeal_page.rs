//! The page behind the link of a notice: whoever is suspended or banned can't sign in, but can answer. It works without
//! scripts, in the browser's language, and shows what became of the answer.

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use schema_store::AccountError;
use schema_store::rows::moderation::{Appeal, AppealState, Decision, DecisionId};
use serde::Deserialize;

use super::appeals::accept;
use super::docs::escape;
use super::pages::{Followed, language, page, refused};
use crate::app::{App, Backing};
use crate::front::guard::By;
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, public};
use crate::text::Language;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        public(Method::GET, "/appeal", "Page behind the link of a notice about an account.")
            .page()
            .asks(&[("token", "As the letter has it.")])
            .refuses(&[Code::LinkInvalid])
            .to(read::<S>),
        public(Method::POST, "/appeal", "What its button does (form data).")
            .guessing()
            .page()
            .refuses(&[Code::LinkInvalid, Code::Invalid])
            .to(send::<S>),
    ]
}

#[derive(Deserialize)]
struct Filled {
    token: String,
    #[serde(default)]
    text: String,
}

/// What the page shows.
struct Shown {
    language: Language,
    token: String,
    decision: Decision,
    appeal: Option<Appeal>,
    typed: String,
    /// The key of what is wrong; empty: nothing.
    wrong: &'static str,
}

async fn read<S: Backing>(State(app): State<App<S>>, headers: HeaderMap, link: Followed) -> Response {
    let language = language(&headers);
    let Ok(Query(link)) = link else { return refused(language, &Code::LinkInvalid.into()) };
    show(&app, language, link.token, String::new(), "").await
}

async fn send<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    headers: HeaderMap,
    form: Result<Form<Filled>, FormRejection>,
) -> Response {
    let language = language(&headers);
    let Ok(Form(filled)) = form else { return refused(language, &Code::Malformed.into()) };
    let Some(decision) = app.seal.linked(&filled.token) else {
        return refused(language, &Code::LinkInvalid.into());
    };
    let wrong = match accept(&filled.text) {
        Err(_) => "appeal-text-wrong",
        Ok(text) => match app.store.appeal(decision, text, origin).await {
            // Sent twice is sent once: the page shows what there is.
            Ok(()) | Err(AccountError::Overtaken) => "",
            Err(AccountError::Invalid { .. }) => "appeal-late",
            Err(other) => return refused(language, &other.into()),
        },
    };
    show(&app, language, filled.token, filled.text, wrong).await
}

async fn show<S: Backing>(
    app: &App<S>,
    language: Language,
    token: String,
    typed: String,
    wrong: &'static str,
) -> Response {
    let Some(id) = app.seal.linked(&token) else { return refused(language, &Code::LinkInvalid.into()) };
    match told(app, id).await {
        Ok(Some((decision, appeal))) => draw(&Shown { language, token, decision, appeal, typed, wrong }),
        Ok(None) => refused(language, &Code::LinkInvalid.into()),
        Err(problem) => refused(language, &problem),
    }
}

async fn told<S: Backing>(
    app: &App<S>,
    id: DecisionId,
) -> Result<Option<(Decision, Option<Appeal>)>, Problem> {
    let subject = app.store.decision(id).await?.subject;
    let told = app.store.decisions_told(subject).await?;
    Ok(told.into_iter().find(|(decision, _)| decision.id == id))
}

fn draw(shown: &Shown) -> Response {
    let t = |key: &str| escape(&shown.language.t(key));
    let notice = escape(shown.decision.notice.as_deref().unwrap_or_default());
    let status = if shown.wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let rest = match &shown.appeal {
        Some(appeal) => outcome(shown, appeal),
        None => form(shown),
    };
    let inside =
        format!("<p>{}</p><blockquote class=\"lines\">{notice}</blockquote>{rest}", t("appeal-about"));
    page(shown.language, &shown.language.t("appeal-title"), &inside, status)
}

fn outcome(shown: &Shown, appeal: &Appeal) -> String {
    let t = |key: &str| escape(&shown.language.t(key));
    let state = match appeal.state {
        AppealState::Open => "appeal-sent",
        AppealState::Upheld => "appeal-told-upheld",
        AppealState::Granted => "appeal-told-granted",
    };
    format!(
        "<h2>{}</h2><blockquote class=\"lines\">{}</blockquote><p role=\"status\">{}</p><p class=\"lines\">{}</p>",
        t("appeal-yours"),
        escape(&appeal.text),
        t(state),
        escape(&appeal.answer)
    )
}

fn form(shown: &Shown) -> String {
    let t = |key: &str| escape(&shown.language.t(key));
    let (wrong, about) = match shown.wrong {
        "" => (String::new(), ""),
        key => (
            format!("<p id=\"wrong\" role=\"alert\">{}</p>", t(key)),
            " aria-invalid=\"true\" aria-describedby=\"wrong\"",
        ),
    };
    format!(
        "<form method=\"post\" action=\"/appeal\"><input type=\"hidden\" name=\"token\" value=\"{}\">\
         <label for=\"text\">{}</label>{wrong}\
         <textarea id=\"text\" name=\"text\" rows=\"8\" cols=\"60\" maxlength=\"2000\" required{about}>\n{}</textarea>\
         <p><button>{}</button></p></form>",
        escape(&shown.token),
        t("appeal-why"),
        escape(&shown.typed),
        t("appeal-send")
    )
}
