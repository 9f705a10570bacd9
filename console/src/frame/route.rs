//! The table of the pages: every route names who may use it and what for, or it does not exist.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schema_store::rows::console::Stage;
use schema_store::rows::role::AccountRole::{self, Admin, Auditor, Moderator, Sre};

use crate::access::limit::Budget;
use crate::app::App;

/// Who reads what concerns people.
pub const PEOPLE_READERS: &[AccountRole] = &[Auditor, Moderator, Admin];
/// Who decides about people.
pub const MODERATORS: &[AccountRole] = &[Moderator, Admin];
/// Who reads the audit trail.
pub const AUDITORS: &[AccountRole] = &[Auditor, Admin];
/// Who reads how the product runs.
pub const OPERATION_READERS: &[AccountRole] = &[Auditor, Sre, Admin];
/// Who runs it.
pub const OPERATORS: &[AccountRole] = &[Sre, Admin];
/// Who does what can't be taken back.
pub const ADMINISTRATORS: &[AccountRole] = &[Admin];
/// Everybody with a role.
pub const STAFF: &[AccountRole] = &[Auditor, Moderator, Sre, Admin];

/// Who may use a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// Everybody, signed in or not.
    Anybody,
    /// Whoever is half-way through signing in.
    Halfway(Stage),
    /// Whoever is signed in with one of these roles.
    Roles(&'static [AccountRole]),
}

impl Who {
    /// Whether somebody signed in with this role may.
    pub fn admits(self, role: AccountRole) -> bool {
        match self {
            Self::Anybody => true,
            Self::Halfway(_) => false,
            Self::Roles(roles) => roles.contains(&role),
        }
    }
}

/// What is settled about a route.
#[derive(Clone, Debug)]
pub struct Duty {
    pub method: Method,
    pub path: &'static str,
    pub who: Who,
    /// What it is for, such as `case.decide`.
    pub action: &'static str,
    pub budget: Budget,
}

/// A route and what it leads to.
pub struct Entry<S> {
    pub duty: Duty,
    pub handler: MethodRouter<App<S>>,
}

/// A page to be read.
pub fn read(path: &'static str, who: Who, action: &'static str) -> Duty {
    Duty { method: Method::GET, path, who, action, budget: Budget::General }
}

/// A form to be sent.
pub fn send(path: &'static str, who: Who, action: &'static str) -> Duty {
    Duty { method: Method::POST, ..read(path, who, action) }
}

impl Duty {
    /// Counts against the stricter budget.
    pub fn guessing(self) -> Self {
        Self { budget: Budget::Auth, ..self }
    }

    /// The route with this duty.
    pub fn to<S, H, T>(self, handler: H) -> Entry<S>
    where
        S: Send + Sync + 'static,
        H: Handler<T, App<S>>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(self.method.clone()).expect("duties name standard methods");
        Entry { duty: self, handler: on(filter, handler) }
    }
}
