//! What every example needs: settings from the environment, a login, a connected client and a conversation.
//! RELAY, API, CA, EMAIL, PASSWORD and CONVERSATION are as `messenger up --demo --json` prints them.
#![allow(dead_code)]

use anyhow::Context;
use relay_client::account::{Account, Api};
use relay_client::{Builder, Client, ConversationId, Events};

fn env(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("set {name}"))
}

/// Settings of a client that logs in and refreshes its tokens by itself.
pub async fn builder() -> anyhow::Result<Builder> {
    let ca = env("CA")?;
    let api = Api::new(&env("API")?, Some(ca.as_ref()))?;
    let account = Account::login(api, env("EMAIL")?, env("PASSWORD")?, "example".to_owned()).await?;
    Ok(Client::builder().relay(env("RELAY")?).ca(ca).token_source(account))
}

/// A connected client, its events, and the conversation to talk in.
pub async fn connect() -> anyhow::Result<(Client, Events, ConversationId)> {
    let conversation = ConversationId::parse(&env("CONVERSATION")?).context("CONVERSATION is not an id")?;
    let (client, events) = builder().await?.connect().await?;
    Ok((client, events, conversation))
}
