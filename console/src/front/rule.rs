//! The rule of a route: who may call it, what it costs, what it takes and gives. Routes are registered with their
//! rule or not at all, and the documentation is printed from the same rules.

use std::borrow::Cow;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schema_store::rows::role::AccountRole;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::problem::Code;
use crate::access::limit::Budget;
use crate::app::App;

/// Largest body of most routes, in bytes.
pub const BODY_BYTES: usize = 64 * 1024;
/// Largest body of routes that carry lists or keys, in bytes.
pub const BODY_BYTES_LARGE: usize = 3 * 1024 * 1024;

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Everybody.
    Public,
    /// Whoever brings a valid access token of an active account.
    User,
    /// The same, and the account has the role ADMIN.
    Admin,
    /// Whoever brings a service token with one of these roles.
    Service(&'static [AccountRole]),
}

/// A named collection of schemas.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A type as the documentation needs it.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: fn() -> Cow<'static, str>,
    pub collect: fn(&mut Schemas),
}

impl Shape {
    fn of<T: ToSchema>() -> Self {
        fn collect<T: ToSchema>(schemas: &mut Schemas) {
            schemas.push((T::name().into_owned(), T::schema()));
            T::schemas(schemas);
        }
        Self { name: T::name, collect: collect::<T> }
    }
}

/// What is settled about a route before anybody calls it.
#[derive(Clone)]
pub struct Rule {
    pub method: Method,
    /// With parameters in braces.
    pub path: &'static str,
    /// One sentence.
    pub summary: &'static str,
    pub access: Access,
    /// `None`: not counted (health checks).
    pub budget: Option<Budget>,
    pub body_bytes_max: usize,
    /// Query parameters with their meaning.
    pub query: &'static [(&'static str, &'static str)],
    pub takes: Option<Shape>,
    pub gives: Option<Shape>,
    /// Whether it takes forms and gives pages.
    pub is_page: bool,
    pub status: u16,
    /// Another status of the same answer, and what it says.
    pub or: Option<(u16, &'static str)>,
    /// Refusals of its own, besides those every route may give.
    pub refuses: &'static [Code],
}

/// A route that counts against the general budget and needs a signed-in user.
pub fn user(method: Method, path: &'static str, summary: &'static str) -> Rule {
    Rule {
        method,
        path,
        summary,
        access: Access::User,
        budget: Some(Budget::General),
        body_bytes_max: BODY_BYTES,
        query: &[],
        takes: None,
        gives: None,
        is_page: false,
        status: 200,
        or: None,
        refuses: &[],
    }
}

/// A route for administrators.
pub fn admin(method: Method, path: &'static str, summary: &'static str) -> Rule {
    Rule { access: Access::Admin, ..user(method, path, summary) }
}

/// A route for programs.
pub fn service(
    method: Method,
    path: &'static str,
    roles: &'static [AccountRole],
    summary: &'static str,
) -> Rule {
    Rule { access: Access::Service(roles), ..user(method, path, summary) }
}

/// A route for everybody.
pub fn public(method: Method, path: &'static str, summary: &'static str) -> Rule {
    Rule { access: Access::Public, ..user(method, path, summary) }
}

impl Rule {
    /// Counts against the stricter budget.
    pub fn guessing(self) -> Self {
        Self { budget: Some(Budget::Auth), ..self }
    }

    /// Counts against no budget.
    pub fn uncounted(self) -> Self {
        Self { budget: None, ..self }
    }

    /// Takes a large body.
    pub fn large(self) -> Self {
        Self { body_bytes_max: BODY_BYTES_LARGE, ..self }
    }

    /// Takes a JSON body of this type.
    pub fn takes<T: ToSchema>(self) -> Self {
        Self { takes: Some(Shape::of::<T>()), ..self }
    }

    /// Understands these query parameters.
    pub fn asks(self, query: &'static [(&'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    /// Gives a JSON body of this type.
    pub fn gives<T: ToSchema>(self) -> Self {
        Self { gives: Some(Shape::of::<T>()), ..self }
    }

    /// Takes forms of browsers and gives pages.
    pub fn page(self) -> Self {
        Self { is_page: true, ..self }
    }

    /// Answers with this status.
    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Or with this one, which says something else.
    pub fn or(self, status: u16, meaning: &'static str) -> Self {
        Self { or: Some((status, meaning)), ..self }
    }

    /// May refuse with these.
    pub fn refuses(self, refuses: &'static [Code]) -> Self {
        Self { refuses, ..self }
    }

    /// The route with this rule.
    pub fn to<S, H, T>(self, handler: H) -> Route<S>
    where
        S: Send + Sync + 'static,
        H: Handler<T, App<S>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(self.method.clone()).expect("rules name standard methods");
        Route { rule: self, handler: on(filter, handler) }
    }
}

/// A rule and what it leads to.
pub struct Route<S> {
    pub rule: Rule,
    pub handler: MethodRouter<App<S>>,
}
