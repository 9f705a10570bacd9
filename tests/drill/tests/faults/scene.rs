//! One node on a private PostgreSQL, one person connected to it, and what was acked so far.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use drill::http::{Http, Verb};
use drill::random::Random;
use drill::raw::{Raw, message, tls};
use drill::server::{Launch, Server, tail, work_folder};
use relay_client::ConversationId;
use relay_client::account::Api;
use schema_wire::Refused;
use schema_wire::v1::{self, history_item, server_frame::Body};
use serde_json::json;

/// How soon a publish is acked after what was away came back.
pub const RECOVERY: Duration = Duration::from_secs(5);
/// How soon a connection shows that it lives, whatever happens behind it.
const LIVENESS: Duration = Duration::from_secs(2);
/// How long a publish may be without an answer: a statement's deadline and some.
const ANSWER: Duration = Duration::from_secs(30);

/// Position (generation, offset) by publish key.
pub type Acked = BTreeMap<[u8; 16], (u32, u64)>;

/// A node and who talks to it.
pub struct Scene {
    pub server: Server,
    pub alice: Raw,
    pub acked: Acked,
    launch: Launch,
    folder: PathBuf,
    conversation: ConversationId,
    random: Random,
}

impl Scene {
    /// Brings the schema, starts the node, and makes alice and her conversation.
    pub async fn open(name: &str, env: &[(&str, &str)]) -> Result<Self> {
        let folder = work_folder(name)?;
        let mut launch = Launch::new(Launch::program()?, folder.join("data"), folder.join("server.log"))?;
        launch.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        launch.shards = Some(1);
        launch.migrate()?;
        let server = launch.start().with_context(|| tail(&launch.log))?;
        let (alice, conversation) = alice(&server).await?;
        let random = Random::new(u64::from(std::process::id()), 3);
        Ok(Self { server, alice, acked: Acked::new(), launch, folder, conversation, random })
    }

    /// Publishes something new until it is acked; how long that took.
    pub async fn publish_acked(&mut self) -> Result<Duration> {
        let (key, began) = (self.random.key(), Instant::now());
        while !self.publish(key).await? {
            ensure!(began.elapsed() < ANSWER, "nothing is acked; {}", tail(&self.launch.log));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(began.elapsed())
    }

    /// Publishes something new, which must be refused with a code that says to try again, and when.
    pub async fn publish_refused(&mut self) -> Result<[u8; 16]> {
        let key = self.random.key();
        ensure!(!self.publish(key).await?, "it was acked while the store was away");
        Ok(key)
    }

    /// Publishes once; whether it was acked.
    pub async fn publish(&mut self, key: [u8; 16]) -> Result<bool> {
        let answer = self.alice.call(message(self.conversation, key, Bytes::from_static(b"hello")));
        match tokio::time::timeout(ANSWER, answer).await.context("an answer to a publish")?? {
            Body::PublishAck(ack) => {
                let place = (ack.generation, ack.offset);
                let first = *self.acked.entry(key).or_insert(place);
                ensure!(first == place, "one key has two places: {first:?} and {place:?}");
                Ok(true)
            }
            Body::Refusal(refusal) => {
                let known = Refused::from_code(refusal.code).context("a known code")?;
                ensure!(
                    known.retriable() && refusal.retry_after_ms > 0,
                    "not to be tried again: {refusal:?}"
                );
                Ok(false)
            }
            other => bail!("neither acked nor refused: {other:?}"),
        }
    }

    /// The connection answers.
    pub async fn is_alive(&mut self) -> Result<()> {
        let pong = tokio::time::timeout(LIVENESS, self.alice.call(v1::Ping::default().into())).await;
        let pong = pong.context("a pong")??;
        ensure!(matches!(pong, Body::Pong(_)), "{pong:?}");
        Ok(())
    }

    /// Everything acked is in the log where it was said to be, and no place is taken twice.
    pub async fn nothing_is_lost(&mut self) -> Result<()> {
        let log = self.read_all().await?;
        for (key, (generation, offset)) in &self.acked {
            let found = log.get(offset).with_context(|| format!("acked {offset} is lost"))?;
            ensure!(found == key, "offset {offset} of generation {generation} means another message");
        }
        Ok(())
    }

    /// The whole log: keys by offset.
    pub async fn read_all(&mut self) -> Result<BTreeMap<u64, [u8; 16]>> {
        let (mut all, mut from) = (BTreeMap::new(), 1);
        loop {
            let id = self.conversation.to_bytes();
            let page = v1::Recover { conversation: id, from, limit: 100, ..Default::default() };
            let page = match self.alice.call(page.into()).await? {
                Body::HistoryPage(page) => page,
                other => bail!("not a page: {other:?}"),
            };
            for item in page.items {
                let Some(history_item::Item::Delivery(d)) = item.item else { bail!("not a message") };
                ensure!(
                    all.insert(d.offset, d.publish_key[..].try_into()?).is_none(),
                    "twice at {}",
                    d.offset
                );
            }
            if page.next <= from {
                return Ok(all);
            }
            from = page.next;
        }
    }

    /// Subscribes after a position.
    pub async fn subscribe(&mut self, generation: u32, offset: u64) -> Result<()> {
        let conversation = self.conversation.to_bytes();
        let after = v1::Position { generation, offset, ..Default::default() };
        let subscribe = v1::Subscribe { conversation, after: Some(after).into(), ..Default::default() };
        let answer = self.alice.call(subscribe.into()).await?;
        ensure!(matches!(answer, Body::Subscribed(_)), "{answer:?}");
        Ok(())
    }

    /// Ends in order and leaves nothing behind.
    pub async fn close(self) -> Result<()> {
        let Self { server, alice, folder, .. } = self;
        drop(alice);
        ensure!(tokio::task::block_in_place(|| server.drain())?.success(), "the node ends in order");
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }
}

async fn alice(server: &Server) -> Result<(Raw, ConversationId)> {
    let (http, api) = (Http::new(&server.ready.api), Api::new(&server.ready.api, None)?);
    let (email, password) = ("alice@fault.example", "correct horse battery");
    let body = json!({"email": email, "name": "alice", "password": password});
    let (status, answer) = http.call(Verb::Post, "/api/v1/auth/register", None, body).await?;
    ensure!(status == 202, "{status} {answer}");
    let login = api.login(email, password, "test", None).await?;
    let body = json!({"kind": "group", "name": "g", "members": []});
    let (status, answer) =
        http.call(Verb::Post, "/api/v1/conversations", Some(login.access_token()), body).await?;
    let conversation = answer["id"].as_str().and_then(ConversationId::parse);
    let conversation = conversation.with_context(|| format!("{status} {answer}"))?;
    let raw =
        Raw::connect(&server.ready.wss, &tls(&server.ready.ca, b"http/1.1")?, login.access_token()).await?;
    Ok((raw, conversation))
}
