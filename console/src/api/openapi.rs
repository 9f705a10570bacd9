//! The OpenAPI 3.1 document, printed from the rules of the routes: it can't name a route that does not exist.

use std::collections::HashSet;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::access::limit::Budget;
use crate::front::problem::{Code, ErrorBody};
use crate::front::rule::{Access, Rule, Schemas, Shape};
use utoipa::{PartialSchema, ToSchema};

/// The document of these routes.
pub fn document(title: &str, rules: &[Rule]) -> Value {
    let mut paths = Map::new();
    let mut schemas: Schemas = vec![(ErrorBody::name().into_owned(), ErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    for rule in rules {
        for shape in rule.takes.iter().chain(&rule.gives) {
            (shape.collect)(&mut schemas);
        }
        let path = paths.entry(rule.path).or_insert_with(|| json!({}));
        path[rule.method.as_str().to_ascii_lowercase()] = operation(rule);
    }
    let schemas: Map<String, Value> = schemas
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).expect("schemas are plain data")))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON in, JSON out. Times are unix milliseconds, ids are UUIDs, bytes are base64.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "service": {"type": "http", "scheme": "bearer"},
            },
        },
    })
}

/// The refusals a rule may end in, its own first.
pub fn refusals(rule: &Rule) -> Vec<Code> {
    let mut codes = rule.refuses.to_vec();
    if rule.takes.is_some() {
        codes.extend([Code::Malformed, Code::NotJson, Code::TooLarge]);
    }
    if path_parameters(rule.path).next().is_some() || !rule.query.is_empty() {
        codes.extend([Code::Malformed, Code::Invalid]);
    }
    if rule.is_page {
        codes.push(Code::Malformed);
    }
    if rule.access != Access::Public {
        codes.extend([Code::TokenMissing, Code::TokenInvalid, Code::TokenExpired]);
    }
    if matches!(rule.access, Access::Admin | Access::Service(_)) {
        codes.push(Code::RoleMissing);
    }
    if rule.budget.is_some() {
        codes.push(Code::RateLimited);
    }
    codes.extend([Code::AddressBanned, Code::StoreUnavailable, Code::TimedOut]);
    let mut seen = HashSet::new();
    codes.retain(|code| seen.insert(*code));
    codes
}

fn operation(rule: &Rule) -> Value {
    let mut operation = json!({
        "summary": rule.summary,
        "operationId": operation_id(rule),
        "tags": [tag(rule.path)],
        "responses": responses(rule),
    });
    let parameters = parameters(rule);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(shape) = &rule.takes {
        operation["requestBody"] = json!({"required": true, "content": content(shape)});
    }
    if rule.is_page && rule.method != Method::GET {
        let form = json!({"schema": {"type": "object"}});
        operation["requestBody"] =
            json!({"required": true, "content": {"application/x-www-form-urlencoded": form}});
    }
    operation["security"] = match rule.access {
        Access::Public => json!([]),
        Access::User | Access::Admin => json!([{"bearer": []}]),
        Access::Service(_) => json!([{"service": []}]),
    };
    operation["x-budget"] = match rule.budget {
        Some(Budget::Auth) => "auth".into(),
        Some(Budget::General) => "general".into(),
        None => Value::Null,
    };
    operation
}

fn responses(rule: &Rule) -> Map<String, Value> {
    let mut responses = Map::new();
    let given = match (&rule.gives, rule.is_page) {
        (Some(shape), _) => content(shape),
        (None, true) => json!({"text/html": {}}),
        (None, false) => json!({"application/json": {}}),
    };
    for (status, meaning) in [(rule.status, "Done.")].into_iter().chain(rule.or) {
        responses.insert(status.to_string(), json!({"description": meaning, "content": given}));
    }
    for code in refusals(rule) {
        let response = responses
            .entry(code.status().to_string())
            .or_insert_with(|| json!({"description": "", "content": refused(rule.is_page)}));
        let known = response["description"].as_str().unwrap_or("").to_owned();
        let line = format!("{}: {}", code.name(), code.advice());
        response["description"] = if known.is_empty() { line } else { format!("{known} {line}") }.into();
    }
    responses
}

/// A refusal: pages say it in a page, unless nobody came as far as the page.
fn refused(is_page: bool) -> Value {
    let mut content = json!({"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}});
    if is_page {
        content["text/html"] = json!({});
    }
    content
}

fn content(shape: &Shape) -> Value {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{}", (shape.name)())}}})
}

fn parameters(rule: &Rule) -> Vec<Value> {
    let in_path = path_parameters(rule.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": parameter(name)}));
    let in_query = rule.query.iter().map(|(name, meaning)| {
        json!({"name": name, "in": "query", "required": false, "description": meaning, "schema": asked(name)})
    });
    in_path.chain(in_query).collect()
}

/// Every parameter of a path is an id, but the names of settings.
fn parameter(name: &str) -> Value {
    if name == "name" {
        json!({"type": "string", "minLength": 1})
    } else {
        json!({"type": "string", "format": "uuid"})
    }
}

/// Parameters of queries of one name are of one kind everywhere.
fn asked(name: &str) -> Value {
    match name {
        "limit" => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        "from" => json!({"type": "integer", "minimum": 0, "maximum": i64::MAX}),
        "backwards" => json!({"type": "boolean"}),
        _ => json!({"type": "string"}),
    }
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// The first word of a path after the version; what programs administer stands together.
pub fn tag(path: &str) -> &str {
    if path.starts_with("/admin/") {
        return "admin";
    }
    path.strip_prefix("/api/v1/").and_then(|rest| rest.split('/').next()).unwrap_or("service")
}

fn operation_id(rule: &Rule) -> String {
    let words = rule.path.split(['/', '.', '-']).filter(|part| !matches!(*part, "" | "api" | "v1"));
    let path: Vec<&str> = words.map(|part| part.trim_matches(['{', '}'])).collect();
    format!("{}_{}", rule.method.as_str().to_ascii_lowercase(), path.join("_"))
}
