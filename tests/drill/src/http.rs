//! The account API over HTTP, as far as the drill changes things through it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use relay_client::account::Account;
use relay_client::{TokenNeed, TokenSource};
use serde_json::Value;

/// How long a change is tried while the server comes and goes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before a change is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// The API at one address.
#[derive(Clone, Debug)]
pub struct Http {
    base: String,
    agent: ureq::Agent,
}

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Get,
    Post,
    Delete,
}

impl Http {
    /// `base` as the ready line names it.
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)));
        Self { base: base.to_owned(), agent: config.build().into() }
    }

    /// One request; status and body.
    pub async fn call(
        &self,
        verb: Verb,
        path: &str,
        token: Option<&str>,
        body: Value,
    ) -> Result<(u16, Value)> {
        let (agent, url) = (self.agent.clone(), format!("{}{path}", self.base));
        let bearer = token.map(|token| format!("Bearer {token}"));
        let ask = move || -> Result<(u16, Value)> {
            let mut response = match (verb, bearer) {
                (Verb::Get, Some(bearer)) => agent.get(url).header("Authorization", bearer).call()?,
                (Verb::Get, None) => agent.get(url).call()?,
                (Verb::Delete, bearer) => {
                    agent.delete(url).header("Authorization", bearer.unwrap_or_default()).call()?
                }
                (Verb::Post, bearer) => {
                    let request = agent.post(url).header("Content-Type", "application/json");
                    let request = match bearer {
                        Some(bearer) => request.header("Authorization", bearer),
                        None => request,
                    };
                    request.send(body.to_string().as_bytes())?
                }
            };
            let text = response.body_mut().read_to_string()?;
            Ok((response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
        };
        tokio::task::spawn_blocking(ask).await.context("the request was cancelled")?
    }

    /// One request of a user, repeated while the server is away; a refusal comes back with its status.
    pub async fn insist(
        &self,
        account: &Account,
        verb: Verb,
        path: &str,
        body: Value,
    ) -> Result<(u16, Value)> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut need = TokenNeed::Current;
        loop {
            if let Ok(token) = account.token(need).await
                && let Ok((status, answer)) = self.call(verb, path, Some(&token), body.clone()).await
            {
                need = if status == 401 { TokenNeed::Fresh } else { TokenNeed::Current };
                if status != 401 && status != 429 && status < 500 {
                    return Ok((status, answer));
                }
            }
            if tokio::time::Instant::now() > deadline {
                bail!("{verb:?} {path} did not get through within {PATIENCE:?}");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
