//! One request of somebody at the pages: who, in which language and colours, where. Every page is drawn from it.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use schema_store::TokenHash;
use schema_store::rows::account::Origin;
use schema_store::rows::console::{ConsoleSession, Stage};
use schema_store::rows::role::AccountRole;
use schema_wire::UserId;

use super::cookie::Jar;
use crate::text::Language;

/// Who is signed in, fully or half-way.
#[derive(Clone, PartialEq, Debug)]
pub struct Viewer {
    pub user: UserId,
    pub name: String,
    pub role: AccountRole,
    pub stage: Stage,
    pub session: TokenHash,
}

impl From<ConsoleSession> for Viewer {
    fn from(session: ConsoleSession) -> Self {
        let ConsoleSession { id, user, name, role, stage, .. } = session;
        Self { user, name, role, stage, session: id }
    }
}

/// Colours somebody chose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Theme {
    Light,
    Dark,
}

impl Theme {
    /// As in the cookie and the page.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Light, Self::Dark].into_iter().find(|theme| theme.name() == name)
    }
}

/// A request, as the guard let it through.
#[derive(Clone, Debug)]
pub struct Visit {
    /// A full session, or one half-way to it.
    pub viewer: Option<Viewer>,
    pub language: Language,
    /// `None`: as the browser likes it.
    pub theme: Option<Theme>,
    /// For the forms of this page.
    pub csrf: String,
    /// Where this is, with its query.
    pub path: String,
    /// What the request before this one left to be said: a key.
    pub said: Option<String>,
    pub now_ms: u64,
    /// Cases that are open; `None`: nobody knows.
    pub open_cases: Option<u64>,
    pub by: Origin,
    pub jar: Jar,
}

impl Visit {
    /// The text of a key in the visitor's language.
    pub fn t(&self, key: &str) -> String {
        self.language.t(key)
    }

    /// Whoever is fully signed in.
    pub fn signed_in(&self) -> Option<&Viewer> {
        self.viewer.as_ref().filter(|viewer| viewer.stage == Stage::Full)
    }

    /// Whether the visitor is signed in with one of these roles.
    pub fn is_one_of(&self, roles: &[AccountRole]) -> bool {
        self.signed_in().is_some_and(|viewer| roles.contains(&viewer.role))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().expect("the guard stands before every page"))
    }
}
