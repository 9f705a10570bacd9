//! The documentation of the API: one page made on the server from the rules, and the OpenAPI document beside it.
//! Nothing is fetched from anywhere else, and nothing runs in the browser.

use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::openapi::{document, refusals, tag};
use crate::access::limit::Budget;
use crate::app::{App, Backing};
use crate::front::problem::Code;
use crate::front::rule::{Access, Route, Rule, public};
use crate::text::Language;

const TITLE: &str = "Secure Messenger API";
const STYLE: &str = include_str!("docs.css");
/// Seconds a browser may keep the documentation.
const DOCS_AGE: &str = "public, max-age=300";

/// The routes of this file.
pub fn routes<S: Backing>() -> Vec<Route<S>> {
    vec![
        public(Method::GET, "/api/docs", "This documentation.").page().to(page::<S>),
        public(Method::GET, "/api/docs/openapi.json", "The same of the account API, as OpenAPI 3.1.")
            .to(accounts::<S>),
        public(
            Method::GET,
            "/admin/openapi.json",
            "The same of the administration interface, as OpenAPI 3.1.",
        )
        .to(administration::<S>),
    ]
}

async fn accounts<S: Backing>() -> Response {
    openapi::<S>("Secure Messenger account API", false)
}

async fn administration<S: Backing>() -> Response {
    openapi::<S>("Secure Messenger administration interface", true)
}

fn openapi<S: Backing>(title: &str, administers: bool) -> Response {
    let rules = super::rules::<S>().into_iter().filter(|rule| (tag(rule.path) == "admin") == administers);
    let text = document(title, &rules.collect::<Vec<_>>()).to_string();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static(DOCS_AGE)),
    ];
    (headers, text).into_response()
}

async fn page<S: Backing>(State(app): State<App<S>>) -> Response {
    let rules = super::rules::<S>();
    let mut html = html(&rules);
    html.push_str(&limits(&app.in_force.held().rate));
    html.push_str("</main></body></html>");
    html_response(html, DOCS_AGE)
}

/// A page with the style above and nothing else allowed.
pub fn html_response(html: String, cache: &'static str) -> Response {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let csp = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_str(&csp).expect("base64 is a header value")),
    ];
    (headers, html).into_response()
}

/// The beginning of every page.
pub fn head(language: Language, title: &str) -> String {
    format!(
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{}</title>\
         <style>{STYLE}</style></head><body><main><h1>{}</h1>",
        language.code(),
        escape(title),
        escape(title)
    )
}

/// Text that can't become markup.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn html(rules: &[Rule]) -> String {
    let document = document(TITLE, rules);
    let mut out = head(Language::English, TITLE);
    out.push_str(
        "<p>JSON in, JSON out. Times are unix milliseconds, ids are UUIDs, bytes are base64. Unknown fields are \
         refused. The same as OpenAPI 3.1: <a href=\"/api/docs/openapi.json\">accounts</a>, \
         <a href=\"/admin/openapi.json\">administration</a>.</p>",
    );
    let mut section = "";
    for rule in rules {
        if tag(rule.path) != section {
            section = tag(rule.path);
            let _ = write!(out, "<h2>{}</h2>", escape(section));
        }
        route(&mut out, rule, &document);
    }
    shapes(&mut out, &document);
    problems(&mut out);
    out
}

fn route(out: &mut String, rule: &Rule, _document: &Value) {
    let _ = write!(
        out,
        "<section><h3><code>{} {}</code></h3><p>{}</p><dl>",
        rule.method,
        escape(rule.path),
        escape(rule.summary)
    );
    let access = match rule.access {
        Access::Public => "everybody".to_owned(),
        Access::User => "access token".to_owned(),
        Access::Admin => "access token of an administrator".to_owned(),
        Access::Service(roles) => {
            let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
            format!("service token with the role {}", names.join(" or "))
        }
    };
    let _ = write!(out, "<dt>Needs</dt><dd>{access}</dd>");
    if rule.budget == Some(Budget::Auth) {
        out.push_str("<dt>Limit</dt><dd>the stricter one</dd>");
    }
    for (name, meaning) in rule.query {
        let _ = write!(out, "<dt><code>?{name}</code></dt><dd>{}</dd>", escape(meaning));
    }
    if let Some(shape) = &rule.takes {
        let _ = write!(out, "<dt>Takes</dt><dd>{}</dd>", link(&(shape.name)()));
    }
    let gives = rule.gives.as_ref().map_or(String::new(), |shape| link(&(shape.name)()));
    let _ = write!(out, "<dt>Gives</dt><dd>{} {gives}</dd><dt>Refuses</dt><dd>", rule.status);
    for code in refusals(rule) {
        let _ = write!(out, "<a href=\"#{0}\">{0}</a> ", code.name());
    }
    out.push_str("</dd></dl></section>");
}

fn link(name: &str) -> String {
    format!("<a href=\"#{0}\"><code>{0}</code></a>", escape(name))
}

fn shapes(out: &mut String, document: &Value) {
    out.push_str("<h2>Shapes</h2>");
    let none = serde_json::Map::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap_or(&none) {
        let text = serde_json::to_string_pretty(schema).unwrap_or_default();
        let _ =
            write!(out, "<h3 id=\"{0}\"><code>{0}</code></h3><pre>{1}</pre>", escape(name), escape(&text));
    }
}

fn problems(out: &mut String) {
    out.push_str(
        "<h2>Refusals</h2><p>Every refusal is <code>{\"error\":{\"code\",\"message\",\"retry_after\"?}}</code>.</p>\
         <table><tr><th>Code</th><th>Status</th><th>What to do</th></tr>",
    );
    for code in Code::ALL {
        let _ = write!(
            out,
            "<tr id=\"{0}\"><td><code>{0}</code></td><td>{1}</td><td>{2}</td></tr>",
            code.name(),
            code.status(),
            escape(code.advice())
        );
    }
    out.push_str("</table>");
}

fn limits(rate: &crate::access::limit::RateLimits) -> String {
    format!(
        "<h2>Limits</h2><p>{} requests per {} s, by user and by address; {} for what guesses at secrets. Beyond: 429 \
         with <code>Retry-After</code>.</p>",
        rate.general, rate.window_s, rate.auth
    )
}
