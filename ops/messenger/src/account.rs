//! What every client subcommand shares: the flags, logging in, connecting, and whose names belong to which ids.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use relay_client::account::{Account, Api, Conversation};
use relay_client::{Client, ConversationId, Events, Transport, UserId};

/// Largest file a password is read from, in bytes.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// How to reach the relay and as whom.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// What carries the session. Without it: QUIC, or WebSocket when UDP gets no answer.
    #[arg(long, value_enum, env = "MESSENGER_TRANSPORT")]
    transport: Option<Carrier>,
    /// The relay: wss://host:port/ws, quic://host:port or host:port.
    #[arg(long, value_name = "URL_OR_ADDR", env = "MESSENGER_RELAY", default_value = "127.0.0.1:8443")]
    relay: String,
    /// The account API: https://…, or http:// on this machine.
    #[arg(long, value_name = "URL", env = "MESSENGER_API", default_value = "http://127.0.0.1:3001")]
    api: String,
    /// PEM file with the certificate authority to trust instead of the system's.
    #[arg(long, value_name = "FILE", env = "MESSENGER_CA")]
    ca: Option<PathBuf>,
    /// The account to log in with.
    #[arg(long, env = "MESSENGER_EMAIL")]
    email: Option<String>,
    /// File with the password. Without it: $MESSENGER_PASSWORD, or asked for at the terminal.
    #[arg(long, value_name = "FILE", env = "MESSENGER_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// The conversation. Not needed when the account has only one.
    #[arg(long, value_name = "ID", env = "MESSENGER_CONVERSATION")]
    conversation: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Carrier {
    Quic,
    Ws,
}

/// A logged-in, connected client and the conversation it is about.
pub struct Joined {
    pub client: Client,
    pub events: Events,
    pub account: Account,
    pub conversation: ConversationId,
    /// What to call the conversation.
    pub title: String,
    /// A first contact that waits: `received` for this account to accept, `sent` for the other one.
    pub request: Option<String>,
    pub names: Names,
}

impl Joined {
    /// Ends the session and logs the device out, so that devices of short commands do not pile up.
    pub async fn leave(self) {
        leave(&self.client, &self.account).await;
    }
}

/// Ends the session and logs the device out.
pub async fn leave(client: &Client, account: &Account) {
    client.close().await;
    if let Err(e) = account.logout().await {
        tracing::debug!(error = %e, "logging out failed");
    }
}

/// Runs a client subcommand.
pub fn block_on<T>(run: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().context("starting the runtime")?;
    let done = runtime.block_on(run);
    // A read of the terminal may be under way; it ends with the process.
    runtime.shutdown_background();
    done
}

impl Flags {
    /// Logs in, finds the conversation and connects.
    pub async fn join(&self, in_flight: Option<usize>) -> anyhow::Result<Joined> {
        let email = self.email.clone().context("name the account with --email (or MESSENGER_EMAIL)")?;
        let wanted = self.wanted()?;
        let api = Api::new(&self.api, self.ca.as_deref())?;
        let password = self.password(&email)?;
        let device = format!("messenger on {}", hostname());
        let account = Account::login(api, email, password, device).await.context("logging in failed")?;
        let joined = self.connect(&account, wanted, in_flight).await;
        if joined.is_err() {
            let _ = account.logout().await;
        }
        joined
    }

    async fn connect(
        &self,
        account: &Account,
        wanted: Option<ConversationId>,
        in_flight: Option<usize>,
    ) -> anyhow::Result<Joined> {
        let login = account.current().await;
        let conversations =
            account.api().conversations(&login).await.context("listing conversations failed")?;
        let (conversation, title) = choose(wanted, &conversations)?;
        let found = conversations.iter().find(|c| c.id() == Some(conversation));
        let request = found.and_then(|c| c.request.clone());
        let names = Names::fetch(account, conversation).await;
        let transport = match self.transport {
            None => Transport::Auto,
            Some(Carrier::Quic) => Transport::Quic,
            Some(Carrier::Ws) => Transport::WebSocket,
        };
        let mut builder =
            Client::builder().relay(&self.relay).transport(transport).token_source(account.clone());
        builder = builder.agent(concat!("messenger/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &self.ca {
            builder = builder.ca(ca);
        }
        if let Some(publishes) = in_flight {
            builder = builder.in_flight(publishes);
        }
        let connected = builder.connect().await;
        let (client, events) = connected.with_context(|| format!("connecting to {} failed", self.relay))?;
        Ok(Joined { client, events, account: account.clone(), conversation, title, request, names })
    }

    fn wanted(&self) -> anyhow::Result<Option<ConversationId>> {
        let Some(text) = &self.conversation else { return Ok(None) };
        let id =
            ConversationId::parse(text).with_context(|| format!("--conversation {text:?} is not an id"))?;
        Ok(Some(id))
    }

    fn password(&self, email: &str) -> anyhow::Result<String> {
        if let Some(path) = &self.password_file {
            let name = || format!("--password-file {}", path.display());
            let len = std::fs::metadata(path).with_context(name)?.len();
            ensure!(len <= PASSWORD_BYTES_MAX, "{}: too large for a password", name());
            let text = std::fs::read_to_string(path).with_context(name)?;
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        match std::env::var("MESSENGER_PASSWORD") {
            Ok(password) => Ok(password),
            Err(_) if std::io::stdin().is_terminal() => ask_password(email),
            Err(_) => bail!("give the password with --password-file or MESSENGER_PASSWORD"),
        }
    }
}

fn choose(
    wanted: Option<ConversationId>,
    known: &[Conversation],
) -> anyhow::Result<(ConversationId, String)> {
    let title = |c: &Conversation| {
        let name =
            if c.name.is_empty() { c.peer.as_ref().map_or("", |p| p.name.as_str()) } else { c.name.as_str() };
        crate::text::printable(name)
    };
    if let Some(id) = wanted {
        // One beyond the first page of the list has no title here; the relay decides about membership anyway.
        let found = known.iter().find(|c| c.id() == Some(id));
        return Ok((id, found.map_or_else(|| id.to_string(), title)));
    }
    match known {
        [] => bail!("this account is in no conversation yet"),
        [only] => Ok((only.id().context("the API answered an id that is not one")?, title(only))),
        several => {
            let lines: Vec<_> =
                several.iter().filter_map(|c| Some(format!("  {}  {}", c.id()?, title(c)))).collect();
            bail!("choose one with --conversation:\n{}", lines.join("\n"))
        }
    }
}

fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| c.is_ascii_graphic()).take(40).collect();
    if name.is_empty() { "a computer".to_owned() } else { name }
}

/// Reads a line without showing it.
fn ask_password(email: &str) -> anyhow::Result<String> {
    Ok(crate::hidden::ask(&format!("Password of {}: ", crate::text::printable(email)))?)
}

/// Names of the members of a conversation.
#[derive(Clone, Debug, Default)]
pub struct Names {
    known: HashMap<UserId, String>,
    /// Asked for in vain; asked once each.
    strangers: HashSet<UserId>,
}

impl Names {
    /// As the API has them now; empty when it does not answer.
    pub async fn fetch(account: &Account, conversation: ConversationId) -> Self {
        let login = account.current().await;
        let members = account.api().members(&login, conversation).await.unwrap_or_default();
        let me = login.user().map(|id| (id, crate::text::printable(&login.name)));
        let others = members.iter().filter_map(|p| Some((p.id()?, crate::text::printable(&p.name))));
        Self { known: others.chain(me).collect(), strangers: HashSet::new() }
    }

    /// Looks once for a sender who was not a member before.
    pub async fn learn(&mut self, user: UserId, account: &Account, conversation: ConversationId) {
        if !self.known.contains_key(&user) && self.strangers.insert(user) {
            self.known.extend(Self::fetch(account, conversation).await.known);
        }
    }

    /// The user's name, if known.
    pub fn get(&self, user: UserId) -> Option<&str> {
        self.known.get(&user).map(String::as_str)
    }

    /// The user's name, or the beginning of the id.
    pub fn show(&self, user: UserId) -> String {
        self.get(user).map_or_else(|| format!("user {}", &user.to_string()[..8]), str::to_owned)
    }

    /// Everybody known.
    pub fn users(&self) -> impl Iterator<Item = UserId> {
        self.known.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(id: u8, name: &str) -> Conversation {
        let id = ConversationId([id; 16]).to_string();
        let json =
            serde_json::json!({ "id": id, "kind": "group", "name": name, "peer": null, "member_count": 2 });
        serde_json::from_value(json).expect("the shape the API answers")
    }

    #[test]
    fn the_only_conversation_needs_no_flag() {
        let only = [conversation(1, "team")];
        assert_eq!(choose(None, &only).expect("one"), (ConversationId([1; 16]), "team".to_owned()));
        let two = [conversation(1, "team"), conversation(2, "fam\x1bily")];
        let asked = choose(None, &two).expect_err("two to choose from").to_string();
        assert!(asked.contains("02020202-0202-0202-0202-020202020202  fam\u{fffd}ily"), "{asked}");
        assert_eq!(choose(Some(ConversationId([2; 16])), &two).expect("named").0, ConversationId([2; 16]));
        assert!(choose(None, &[]).is_err());
    }
}
