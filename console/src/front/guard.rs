//! The guard before every route: address, limits, token, account state, deadline. What it lets through carries
//! the caller and the origin for the audit trail.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schema_store::rows::account::Origin;
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, TokenHash};
use schema_wire::{DeviceId, UserId};

use super::problem::{Code, Problem};
use super::rule::{Access, Rule};
use crate::access::address::{client_address, limit_subject};
use crate::access::limit::{Budget, Subject};
use crate::access::token::TokenFault;
use crate::app::{App, Backing};

/// How long a request may take, its body included.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// When to try again after a limit could not be counted, in seconds.
const UNCOUNTED_RETRY_S: u64 = 2;

/// The other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Who is asking. Only the guard makes one.
#[derive(Clone, PartialEq, Debug)]
pub struct Caller {
    pub user: UserId,
    pub device: DeviceId,
    pub role: AccountRole,
    pub name: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Code::TokenMissing.into())
    }
}

/// Who does something and from where, for the audit trail only.
#[derive(Clone, Debug, Default)]
pub struct By(pub Origin);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// The role of the service token that something is done with: whoever made it may be more.
#[derive(Clone, Copy, Debug)]
pub struct Granted(pub AccountRole);

impl<S: Send + Sync> FromRequestParts<S> for Granted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(|| Code::TokenMissing.into())
    }
}

/// Lets a request through to its route, or not.
pub async fn guard<S: Backing>(
    State((app, rule)): State<(App<S>, Arc<Rule>)>,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&app, &rule, &mut request).await {
        Err(problem) => problem.into_response(),
        Ok(()) => match tokio::time::timeout(REQUEST_DEADLINE, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::from(Code::TimedOut).into_response(),
        },
    }
}

async fn admit<S: Backing>(app: &App<S>, rule: &Rule, request: &mut Request) -> Result<(), Problem> {
    if !is_text(request.uri().path()) || !is_text(request.uri().query().unwrap_or("")) {
        return Err(Problem::with(Code::Malformed, "The address holds bytes that are no text."));
    }
    let peer =
        request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
    let address = client_address(peer, request.headers(), &app.config.trusted_proxies);
    if app.bans.hold(address) {
        return Err(Code::AddressBanned.into());
    }
    count(app, rule.budget, Subject::Address(limit_subject(address))).await?;
    let mut origin =
        Origin { actor: None, address: Some(address), user_agent: user_agent(request.headers()) };
    match rule.access {
        Access::Public => {}
        Access::User | Access::Admin => {
            let caller = authenticate(app, request.headers()).await?;
            if rule.access == Access::Admin && caller.role != AccountRole::Admin {
                return Err(Code::RoleMissing.into());
            }
            count(app, rule.budget, Subject::User(caller.user)).await?;
            origin.actor = Some(caller.user);
            request.extensions_mut().insert(caller);
        }
        Access::Service(roles) => {
            let token = TokenHash::of(bearer(request.headers())?);
            let grant = app.store.service_grant(token).await?.ok_or(Code::TokenInvalid)?;
            if !roles.contains(&grant.role) {
                return Err(Code::RoleMissing.into());
            }
            count(app, rule.budget, Subject::User(grant.user)).await?;
            origin.actor = Some(grant.user);
            origin.user_agent = Some(format!("service token {}", grant.name));
            request.extensions_mut().insert(Granted(grant.role));
        }
    }
    request.extensions_mut().insert(By(origin));
    Ok(())
}

/// Whether what is written as %XX in an address is UTF-8, and none of it U+0000, which not every store takes.
fn is_text(path: &str) -> bool {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (mut bytes, mut decoded) = (path.bytes(), Vec::with_capacity(path.len()));
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            _ => decoded.push(byte),
        }
    }
    !decoded.contains(&0) && str::from_utf8(&decoded).is_ok()
}

/// Why a request is held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Too many; seconds to wait.
    Over(u64),
    /// It may be a guess at a secret, and nobody can say how many there were.
    Uncounted,
}

/// Counts one request of the subject against the budget, for all processes if they share their limits. When nobody can
/// say, guesses at secrets are refused, and the rest is counted here alone.
pub async fn tally<S>(app: &App<S>, budget: Budget, subject: Subject) -> Result<(), Held> {
    let limits = app.in_force.held().rate;
    if let Some(shared) = &app.shared {
        match shared.admit(&limits, budget, &subject).await {
            Ok(counted) => return counted.map_err(Held::Over),
            Err(fault) if budget == Budget::Auth => {
                tracing::debug!(%fault, "a request is refused because its limit cannot be counted");
                return Err(Held::Uncounted);
            }
            Err(_) => {}
        }
    }
    app.limiter.admit(&limits, budget, &[subject], app.clock.now_ms()).map_err(Held::Over)
}

/// The same for the API, where a route may have no budget.
pub async fn count<S>(app: &App<S>, budget: Option<Budget>, subject: Subject) -> Result<(), Problem> {
    let Some(budget) = budget else { return Ok(()) };
    tally(app, budget, subject).await.map_err(|held| match held {
        Held::Over(seconds) => Problem::after(Code::RateLimited, seconds),
        Held::Uncounted => Problem::after(Code::Busy, UNCOUNTED_RETRY_S),
    })
}

async fn authenticate<S: Backing>(app: &App<S>, headers: &HeaderMap) -> Result<Caller, Problem> {
    let token = bearer(headers)?;
    let bearer = app.tokens.verify(token, app.clock.now_s()).map_err(|fault| match fault {
        TokenFault::Invalid => Problem::from(Code::TokenInvalid),
        TokenFault::Expired => Problem::from(Code::TokenExpired),
    })?;
    let grant = app.store.authorise(bearer.user, bearer.device, bearer.issued_at).await;
    let grant = grant.map_err(|error| match error {
        AccountError::NotFound | AccountError::TokenInvalid => Problem::from(Code::TokenInvalid),
        other => other.into(),
    })?;
    Ok(Caller { user: grant.user, device: grant.device, role: grant.role, name: grant.name })
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let line = lines.next().ok_or(Code::TokenMissing)?;
    if lines.next().is_some() {
        return Err(Code::TokenInvalid.into());
    }
    let text = line.to_str().map_err(|_| Code::TokenInvalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(Code::TokenInvalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Code::TokenInvalid.into());
    }
    Ok(token.trim())
}

/// What the client calls itself, cut to what is kept.
pub fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(256).collect())
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn paths_are_text() {
        for good in ["/", "/api/v1/me", "/a%20b", "/zo%C3%AB", "/100%", "/%zz%4", "/zoë"] {
            assert!(is_text(good), "{good}");
        }
        for bad in ["/%ff", "/a%C3", "/%C3%28/b", "/a%00"] {
            assert!(!is_text(bad), "{bad}");
        }
    }
}
