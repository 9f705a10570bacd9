//! Pages that links in letters lead to, in the browser's language. They work without scripts; opening one changes nothing,
//! so that a mail scanner that follows links does no harm: the button does it.

use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use super::docs::{escape, head, html_response};
use super::links::{reset_password, verify_mail};
use crate::app::{App, Backing};
use crate::front::guard::By;
use crate::front::problem::{Code, Problem};
use crate::front::rule::{Route, public};
use crate::text::Language;

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    const LINK: &[(&str, &str)] = &[("token", "As the letter has it.")];
    vec![
        public(Method::GET, "/verify-mail", "Page behind the link of a verification letter.")
            .page()
            .asks(LINK)
            .to(verify_form),
        public(Method::POST, "/verify-mail", "What its button does (form data).")
            .guessing()
            .page()
            .refuses(&[Code::LinkInvalid])
            .to(verify::<S>),
        public(Method::GET, "/reset-password", "Page behind the link of a reset letter.")
            .page()
            .asks(LINK)
            .to(reset_form),
        public(Method::POST, "/reset-password", "What its button does (form data).")
            .guessing()
            .page()
            .refuses(&[Code::LinkInvalid, Code::WeakPassword])
            .to(reset::<S>),
    ]
}

/// What the address of such a page holds; a query that can't be read is no link.
pub type Followed = Result<Query<Link>, QueryRejection>;

/// A link of a letter.
#[derive(Deserialize)]
pub struct Link {
    #[serde(default)]
    pub token: String,
}

#[derive(Deserialize)]
struct NewPassword {
    token: String,
    #[serde(default)]
    password: String,
}

/// The language a browser likes best.
pub fn language(headers: &HeaderMap) -> Language {
    let wished = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    Language::accepted(wished.unwrap_or(""))
}

async fn verify_form(headers: HeaderMap, link: Followed) -> Response {
    let language = language(&headers);
    let Ok(Query(link)) = link else { return refused(language, &Code::LinkInvalid.into()) };
    let inside = form(language, "/verify-mail", &link.token, "", "link-verify-do");
    page(language, &language.t("link-verify-title"), &inside, StatusCode::OK)
}

async fn verify<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    headers: HeaderMap,
    form: Result<Form<Link>, FormRejection>,
) -> Response {
    let outcome = match form {
        Ok(Form(link)) => verify_mail(&app, &link.token, origin).await,
        Err(_) => Err(Code::Malformed.into()),
    };
    told(language(&headers), outcome, "link-verified")
}

async fn reset_form(headers: HeaderMap, link: Followed) -> Response {
    let language = language(&headers);
    match link {
        Ok(Query(link)) => ask(language, &link.token, StatusCode::OK),
        Err(_) => refused(language, &Code::LinkInvalid.into()),
    }
}

async fn reset<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    headers: HeaderMap,
    form: Result<Form<NewPassword>, FormRejection>,
) -> Response {
    let language = language(&headers);
    let Ok(Form(new)) = form else { return refused(language, &Code::Malformed.into()) };
    let outcome = reset_password(&app, &new.token, new.password, origin).await;
    match outcome {
        Err(problem) if problem.code() == Code::WeakPassword => {
            ask(language, &new.token, StatusCode::UNPROCESSABLE_ENTITY)
        }
        outcome => told(language, outcome, "link-reset-done"),
    }
}

/// Asks for a new password, again if the first was too weak. What was typed is not written into a page.
fn ask(language: Language, token: &str, status: StatusCode) -> Response {
    let t = |key: &str| escape(&language.t(key));
    let (wrong, about) = match status {
        StatusCode::OK => (String::new(), ""),
        _ => (
            format!("<p id=\"wrong\" role=\"alert\">{}</p>", t("link-reset-weak")),
            " aria-invalid=\"true\" aria-describedby=\"wrong\"",
        ),
    };
    let field = format!(
        "<label for=\"password\">{}</label>{wrong}<input type=\"password\" id=\"password\" name=\"password\" \
         minlength=\"10\" maxlength=\"256\" autocomplete=\"new-password\" required{about}>",
        t("link-reset-label")
    );
    let inside = form(language, "/reset-password", token, &field, "link-reset-do");
    page(language, &language.t("link-reset-title"), &inside, status)
}

fn form(language: Language, action: &str, token: &str, fields: &str, button: &str) -> String {
    format!(
        "<form method=\"post\" action=\"{action}\"><input type=\"hidden\" name=\"token\" value=\"{}\">{fields}\
         <p><button>{}</button></p></form>",
        escape(token),
        escape(&language.t(button))
    )
}

fn told(language: Language, outcome: Result<(), Problem>, done: &str) -> Response {
    match outcome {
        Ok(()) => {
            let inside = format!("<p role=\"status\">{}</p>", escape(&language.t(done)));
            page(language, &language.t("link-done"), &inside, StatusCode::OK)
        }
        Err(problem) => refused(language, &problem),
    }
}

/// A page that says why not.
pub fn refused(language: Language, problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.code().status()).unwrap_or(StatusCode::BAD_REQUEST);
    let why = match problem.code() {
        Code::LinkInvalid | Code::NotFound => "link-wrong",
        Code::Malformed => "error-malformed",
        _ => "error-unavailable",
    };
    let inside = format!("<p role=\"alert\">{}</p>", escape(&language.t(why)));
    page(language, &language.t("error-title"), &inside, status)
}

/// A page that nobody keeps.
pub fn page(language: Language, title: &str, inside: &str, status: StatusCode) -> Response {
    let head = head(language, title);
    let mut response = html_response(format!("{head}{inside}</main></body></html>"), "no-store");
    *response.status_mut() = status;
    response
}
