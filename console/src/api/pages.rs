//! Pages that links in letters lead to. They work without scripts; opening one changes nothing, so that a
//! mail scanner that follows links does no harm: the button does it.

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode};
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
    vec![
        public(Method::GET, "/verify-mail", "Page behind the link of a verification letter.").to(verify_form),
        public(Method::POST, "/verify-mail", "What its button does (form data).").guessing().to(verify::<S>),
        public(Method::GET, "/reset-password", "Page behind the link of a reset letter.").to(reset_form),
        public(Method::POST, "/reset-password", "What its button does (form data).")
            .guessing()
            .to(reset::<S>),
    ]
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct NewPassword {
    token: String,
    password: String,
}

async fn verify_form(Query(link): Query<Link>) -> Response {
    let token = escape(&link.token);
    page(
        Language::English,
        "Confirm your address",
        &format!(
            "<form method=\"post\" action=\"/verify-mail\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
             <button>Confirm</button></form>"
        ),
        StatusCode::OK,
    )
}

async fn verify<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    form: Result<Form<Link>, FormRejection>,
) -> Response {
    let outcome = match form {
        Ok(Form(link)) => verify_mail(&app, &link.token, origin).await,
        Err(_) => Err(Code::Malformed.into()),
    };
    told(outcome, "Your address is confirmed. You can log in now.")
}

async fn reset_form(Query(link): Query<Link>) -> Response {
    let token = escape(&link.token);
    page(
        Language::English,
        "Choose a new password",
        &format!(
            "<form method=\"post\" action=\"/reset-password\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
             <label>New password (10 characters or more)<br><input type=\"password\" name=\"password\" minlength=\"10\" \
             autocomplete=\"new-password\" required></label><button>Set it</button></form>"
        ),
        StatusCode::OK,
    )
}

async fn reset<S: Backing>(
    State(app): State<App<S>>,
    By(origin): By,
    form: Result<Form<NewPassword>, FormRejection>,
) -> Response {
    let outcome = match form {
        Ok(Form(new)) => reset_password(&app, &new.token, new.password, origin).await,
        Err(_) => Err(Code::Malformed.into()),
    };
    told(outcome, "The new password is set, and every device was logged out. You can log in now.")
}

fn told(outcome: Result<(), Problem>, done: &str) -> Response {
    match outcome {
        Ok(()) => page(Language::English, "Done", &format!("<p>{}</p>", escape(done)), StatusCode::OK),
        Err(problem) => {
            let status = StatusCode::from_u16(problem.code().status()).unwrap_or(StatusCode::BAD_REQUEST);
            page(
                Language::English,
                "That did not work",
                &format!("<p>{}</p>", escape(problem.message())),
                status,
            )
        }
    }
}

/// A page that nobody keeps.
pub fn page(language: Language, title: &str, inside: &str, status: StatusCode) -> Response {
    let head = head(language, title);
    let mut response = html_response(format!("{head}{inside}</main></body></html>"), "no-store");
    *response.status_mut() = status;
    response
}
