//! The account API over HTTP: log in, refresh, log out, conversations and their members. Also the usual token
//! source. Runs in client programs; plain HTTP is spoken to this machine only.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use schema_wire::{ConversationId, DeviceId, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, http};

use crate::error::ConnectError;
use crate::limits;
use crate::tls::{Roots, provider};
use crate::token::{TokenError, TokenFuture, TokenNeed, TokenSource};

/// What the API said, or that it could not be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// An expected no.
    #[error("{code}: {message}")]
    Refused { status: u16, code: String, message: String, retry_after: Option<Duration> },
    /// Not reached, or an answer that is not one.
    #[error("{0}")]
    Unreachable(String),
    /// A setting that can't work.
    #[error("{0}")]
    Config(String),
}

impl ApiError {
    /// Whether the same request may succeed later.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Refused { status, retry_after, .. } => {
                retry_after.is_some() || *status == 429 || *status >= 500
            }
            Self::Unreachable(_) => true,
            Self::Config(_) => false,
        }
    }
}

impl From<ApiError> for TokenError {
    fn from(e: ApiError) -> Self {
        Self { message: e.to_string(), definite: !e.retriable() }
    }
}

/// What a login or a refresh gave.
#[derive(Clone, Deserialize)]
pub struct Login {
    access_token: String,
    refresh_token: String,
    user: String,
    device: String,
    /// The user's name.
    pub name: String,
}

/// A conversation, as the caller sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Conversation {
    id: String,
    /// `direct` or `group`.
    pub kind: String,
    /// Empty for direct ones.
    pub name: String,
    pub peer: Option<Person>,
    /// A first contact that waits: `received` for the caller to accept, `sent` for the peer.
    #[serde(default)]
    pub request: Option<String>,
    pub member_count: u32,
}

/// Somebody with a name.
#[derive(Clone, Debug, Deserialize)]
pub struct Person {
    #[serde(alias = "user")]
    id: String,
    pub name: String,
}

#[derive(Deserialize)]
struct Conversations {
    conversations: Vec<Conversation>,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<Person>,
}

#[derive(Deserialize)]
struct Failed {
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
    message: String,
    retry_after: Option<u64>,
}

impl Conversation {
    /// Its id.
    pub fn id(&self) -> Option<ConversationId> {
        ConversationId::parse(&self.id)
    }
}

impl Person {
    /// The user's id.
    pub fn id(&self) -> Option<UserId> {
        UserId::parse(&self.id)
    }
}

/// The API at one address.
#[derive(Clone, Debug)]
pub struct Api {
    base: String,
    agent: Agent,
}

impl Api {
    /// `https://…` with the certificates of `ca` (or the system's), or `http://` on loopback.
    pub fn new(base: &str, ca: Option<&Path>) -> Result<Self, ApiError> {
        let base = base.trim_end_matches('/').to_owned();
        let uri: http::Uri = base.parse().map_err(|_| ApiError::Config(format!("{base} is not a URL")))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let loopback =
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if loopback => {}
            _ => {
                return Err(ApiError::Config(format!(
                    "{base}: passwords travel over https, or http on loopback only"
                )));
            }
        }
        let roots = ca.map_or(Roots::System, |path| Roots::Pem(path.to_owned()));
        let tls = if uri.scheme_str() == Some("https") { Some(tls(&roots)?) } else { None };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(limits::API_REQUEST))
            .tls_config(tls.unwrap_or_else(|| TlsConfig::builder().build()));
        Ok(Self { base, agent: config.build().into() })
    }

    /// Logs a device in; with `device_id` the same device as before.
    pub async fn login(
        &self,
        email: &str,
        password: &str,
        device: &str,
        device_id: Option<DeviceId>,
    ) -> Result<Login, ApiError> {
        #[derive(Serialize)]
        struct Wanted<'a> {
            email: &'a str,
            password: &'a str,
            device: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            device_id: Option<String>,
        }
        let device_id = device_id.map(|id| id.to_string());
        self.post("/api/v1/auth/login", None, &Wanted { email, password, device, device_id }).await
    }

    /// Exchanges the refresh token for fresh tokens; it works once.
    pub async fn refresh(&self, login: &Login) -> Result<Login, ApiError> {
        let wanted = serde_json::json!({ "refresh_token": login.refresh_token });
        self.post("/api/v1/auth/refresh", None, &wanted).await
    }

    /// Logs the device out.
    pub async fn logout(&self, login: &Login) -> Result<(), ApiError> {
        let nothing = serde_json::json!({});
        let done: serde_json::Value =
            self.post("/api/v1/auth/logout", Some(&login.access_token), &nothing).await?;
        drop(done);
        Ok(())
    }

    /// The caller's conversations, most recently active first (one page).
    pub async fn conversations(&self, login: &Login) -> Result<Vec<Conversation>, ApiError> {
        let page: Conversations = self.get("/api/v1/conversations", login).await?;
        Ok(page.conversations)
    }

    /// A conversation's members (the first 200).
    pub async fn members(
        &self,
        login: &Login,
        conversation: ConversationId,
    ) -> Result<Vec<Person>, ApiError> {
        let page: Members = self.get(&format!("/api/v1/conversations/{conversation}/members"), login).await?;
        Ok(page.members)
    }

    /// Answers a first contact: `accept`, `delete` or `block`.
    pub async fn answer_request(
        &self,
        login: &Login,
        conversation: ConversationId,
        answer: &str,
    ) -> Result<(), ApiError> {
        let path = format!("/api/v1/conversations/{conversation}/request");
        let done: serde_json::Value =
            self.put(&path, login, &serde_json::json!({ "answer": answer })).await?;
        drop(done);
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, login: &Login) -> Result<T, ApiError> {
        let request = self.agent.get(self.url(path)).header("Authorization", bearer(&login.access_token));
        answer(move || request.call()).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&str>,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(|e| ApiError::Config(e.to_string()))?;
        let mut request = self.agent.post(self.url(path)).header("Content-Type", "application/json");
        if let Some(token) = token {
            request = request.header("Authorization", bearer(token));
        }
        answer(move || request.send(&body[..])).await
    }

    async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        login: &Login,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        let body = serde_json::to_vec(body).map_err(|e| ApiError::Config(e.to_string()))?;
        let request = self.agent.put(self.url(path)).header("Content-Type", "application/json");
        let request = request.header("Authorization", bearer(&login.access_token));
        answer(move || request.send(&body[..])).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn tls(roots: &Roots) -> Result<TlsConfig, ApiError> {
    let certificates = roots.certificates().map_err(|e: ConnectError| ApiError::Config(e.to_string()))?;
    let certificates: Vec<_> = certificates.iter().map(|c| Certificate::from_der(c).to_owned()).collect();
    let roots = RootCerts::new_with_certs(&certificates);
    Ok(TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider()).build())
}

/// Runs a request beside the async threads and reads its answer.
async fn answer<T: DeserializeOwned>(
    call: impl FnOnce() -> Result<http::Response<Body>, ureq::Error> + Send + 'static,
) -> Result<T, ApiError> {
    let unreachable =
        |e: &dyn std::fmt::Display| ApiError::Unreachable(format!("the account API did not answer: {e}"));
    let read = move || -> Result<(u16, Vec<u8>), ureq::Error> {
        let mut response = call()?;
        let body = response.body_mut().with_config().limit(limits::API_ANSWER_BYTES).read_to_vec()?;
        Ok((response.status().as_u16(), body))
    };
    let done = tokio::task::spawn_blocking(read).await.map_err(|e| unreachable(&e))?;
    let (status, body) = done.map_err(|e| unreachable(&e))?;
    if (200..300).contains(&status) {
        return serde_json::from_slice(&body).map_err(|e| unreachable(&e));
    }
    let failure = serde_json::from_slice::<Failed>(&body).map(|f| f.error).unwrap_or(Failure {
        code: format!("HTTP_{status}"),
        message: "the account API answered with an error it does not explain".to_owned(),
        retry_after: None,
    });
    let retry_after = failure.retry_after.map(Duration::from_secs);
    Err(ApiError::Refused { status, code: failure.code, message: failure.message, retry_after })
}

/// A logged-in device: gives access tokens, refreshes them, and logs in again when the refresh token is void.
#[derive(Clone)]
pub struct Account(Arc<Inner>);

struct Inner {
    api: Api,
    email: String,
    password: String,
    device: String,
    login: Mutex<Login>,
}

impl Account {
    /// Logs in. `device` is the name shown in the list of devices.
    pub async fn login(api: Api, email: String, password: String, device: String) -> Result<Self, ApiError> {
        let login = Mutex::new(api.login(&email, &password, &device, None).await?);
        Ok(Self(Arc::new(Inner { api, email, password, device, login })))
    }

    /// The API it is logged in at.
    pub fn api(&self) -> &Api {
        &self.0.api
    }

    /// The newest tokens.
    pub async fn current(&self) -> Login {
        self.0.login.lock().await.clone()
    }

    /// Logs the device out; its tokens are void afterwards.
    pub async fn logout(&self) -> Result<(), ApiError> {
        let login = self.current().await;
        self.0.api.logout(&login).await
    }

    async fn fresh(&self) -> Result<String, ApiError> {
        let inner = &self.0;
        let mut login = inner.login.lock().await;
        let refreshed = match inner.api.refresh(&login).await {
            Err(ApiError::Refused { status: 401, .. }) => {
                // The answer to an earlier refresh may have been lost: its token counts as used.
                let device = DeviceId::parse(&login.device);
                inner.api.login(&inner.email, &inner.password, &inner.device, device).await
            }
            other => other,
        };
        *login = refreshed?;
        Ok(login.access_token.clone())
    }
}

impl Login {
    /// The user's id.
    pub fn user(&self) -> Option<UserId> {
        UserId::parse(&self.user)
    }

    /// The device's id.
    pub fn device(&self) -> Option<DeviceId> {
        DeviceId::parse(&self.device)
    }

    /// For the relay and for `Authorization: Bearer`.
    pub fn access_token(&self) -> &str {
        &self.access_token
    }
}

impl TokenSource for Account {
    fn token(&self, need: TokenNeed) -> TokenFuture<'_> {
        Box::pin(async move {
            match need {
                TokenNeed::Current => Ok(self.current().await.access_token),
                TokenNeed::Fresh => Ok(self.fresh().await?),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_do_not_leave_the_machine_in_the_clear() {
        for allowed in
            ["http://127.0.0.1:3001", "http://[::1]:3001/", "http://localhost:3001", "https://chat.example"]
        {
            assert!(Api::new(allowed, None).is_ok(), "{allowed}");
        }
        for refused in
            ["http://chat.example", "http://10.0.0.1:3001", "ftp://localhost", "localhost:3001", ""]
        {
            assert!(matches!(Api::new(refused, None), Err(ApiError::Config(_))), "{refused}");
        }
    }

    #[test]
    fn waiting_helps_against_limits_and_faults_only() {
        let refused = |status| ApiError::Refused {
            status,
            code: String::new(),
            message: String::new(),
            retry_after: None,
        };
        assert!(refused(429).retriable() && refused(503).retriable() && !refused(401).retriable());
        assert!(TokenError::from(refused(403)).definite);
    }
}
