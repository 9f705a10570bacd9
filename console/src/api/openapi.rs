//! The OpenAPI 3.1 document, printed from the rules of the routes: it can't name a route that does not exist.

use serde_json::{Map, Value, json};

use crate::access::limit::Budget;
use crate::front::problem::{Code, ErrorBody};
use crate::front::rule::{Access, Rule, Schemas, Shape};
use utoipa::{PartialSchema, ToSchema};

/// The document.
pub fn document(rules: &[Rule]) -> Value {
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
            "title": "Secure Messenger account API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Accounts, devices, keys and conversations. Messages travel through the relay.",
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
    let mut success = json!({"description": "Done."});
    if let Some(shape) = &rule.gives {
        success["content"] = content(shape);
    }
    responses.insert(rule.status.to_string(), success);
    for code in refusals(rule) {
        let error = json!({"$ref": "#/components/schemas/ErrorBody"});
        let response = responses.entry(code.status().to_string()).or_insert_with(
            || json!({"description": "", "content": {"application/json": {"schema": error}}}),
        );
        let known = response["description"].as_str().unwrap_or("").to_owned();
        let line = format!("{}: {}", code.name(), code.advice());
        response["description"] = if known.is_empty() { line } else { format!("{known} {line}") }.into();
    }
    responses
}

fn content(shape: &Shape) -> Value {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{}", (shape.name)())}}})
}

fn parameters(rule: &Rule) -> Vec<Value> {
    let in_path = path_parameters(rule.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = rule.query.iter().map(|(name, meaning)| {
        json!({"name": name, "in": "query", "required": false, "description": meaning, "schema": {"type": "string"}})
    });
    in_path.chain(in_query).collect()
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
