//! One node on a private PostgreSQL, one person connected to it, and what was acked so far.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use drill::fleet::share;
use drill::http::{Http, Verb};
use drill::random::Random;
use drill::raw::{Raw, message, tls};
use drill::server::{Launch, Server, tail, work_folder};
use relay_client::ConversationId;
use relay_client::account::{Api, Login};
use schema_wire::Refused;
use schema_wire::v1::{self, history_item, server_frame::Body};
use serde_json::json;

/// How soon a publish is acked after what was away came back.
pub const RECOVERY: Duration = Duration::from_secs(5);
/// How soon a connection shows that it lives, whatever happens behind it.
const LIVENESS: Duration = Duration::from_secs(2);
/// How long a publish may be without an answer: a statement's deadline and some.
const ANSWER: Duration = Duration::from_secs(30);

/// Publishes under way at once, and what is in each.
const WINDOW: usize = 32;
pub const BODY: [u8; 256] = [b'x'; 256];

/// Position (generation, offset) by publish key.
pub type Acked = BTreeMap<[u8; 16], (u32, u64)>;

/// A node and who talks to it.
pub struct Scene {
    pub server: Server,
    pub alice: Raw,
    pub acked: Acked,
    pub launch: Launch,
    pub random: Random,
    pub conversation: ConversationId,
    login: Login,
    folder: PathBuf,
}

impl Scene {
    /// Brings the schema, starts the node, and makes alice and her conversation.
    pub async fn open(name: &str, env: &[(&str, &str)]) -> Result<Self> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let stage = |launch: &mut Launch| {
            launch.env.extend(env);
            launch.migrate()
        };
        Self::open_with(name, stage).await
    }

    /// The same, of a node that `stage` readies.
    pub async fn open_with(name: &str, stage: impl FnOnce(&mut Launch) -> Result<()>) -> Result<Self> {
        let folder = work_folder(name)?;
        let mut launch = Launch::new(Launch::program()?, folder.join("data"), folder.join("server.log"))?;
        launch.shards = Some(1);
        stage(&mut launch)?;
        let server = launch.start().with_context(|| tail(&launch.log))?;
        let (login, conversation) = alice(&server).await?;
        let alice = connect(&server, &login).await?;
        let random = Random::new(u64::from(std::process::id()), 3);
        Ok(Self { server, alice, acked: Acked::new(), launch, random, login, folder, conversation })
    }

    /// Starts the node again, and alice connects to it as before.
    pub async fn start_again(&mut self) -> Result<()> {
        let start = || self.launch.start().with_context(|| tail(&self.launch.log));
        self.server = tokio::task::block_in_place(start)?;
        self.reconnect().await
    }

    /// Another node beside it, and another device of alice's there that follows the conversation.
    pub async fn beside(&self) -> Result<(Server, Raw)> {
        self.beside_with(&[]).await
    }

    /// The same, of a node that is told more.
    pub async fn beside_with(&self, env: &[(&str, &str)]) -> Result<(Server, Raw)> {
        let (data, log) = (self.folder.join("data-2"), self.folder.join("server-2.log"));
        let mut launch = Launch::new(self.launch.program.clone(), data, log)?;
        (launch.env, launch.shards) = (self.launch.env.clone(), self.launch.shards);
        launch.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        share(&self.launch.data, &launch.data)?;
        let server = tokio::task::block_in_place(|| launch.start()).with_context(|| tail(&launch.log))?;
        let other = self.follow(&server).await?;
        Ok((server, other))
    }

    /// Another device of alice's on this node that follows the conversation.
    pub async fn another(&self) -> Result<Raw> {
        self.follow(&self.server).await
    }

    async fn follow(&self, server: &Server) -> Result<Raw> {
        let mut other = connect(server, &log_in(server).await?).await?;
        let subscribe = v1::Subscribe { conversation: self.conversation.to_bytes(), ..Default::default() };
        let answer = other.call(subscribe.into()).await?;
        ensure!(matches!(answer, Body::Subscribed(_)), "{answer:?}");
        Ok(other)
    }

    /// What alice says and nobody keeps reaches her other device.
    pub async fn signals_to(&mut self, other: &mut Raw) -> Result<()> {
        let body = Bytes::copy_from_slice(&self.random.key());
        let conversation = self.conversation.to_bytes();
        self.alice.ask(v1::Signal { conversation, body: body.clone(), ..Default::default() }.into()).await?;
        let heard = tokio::time::timeout(LIVENESS, async {
            loop {
                match other.next().await?.body {
                    Some(Body::SignalEvent(event)) if event.body == body => return anyhow::Ok(()),
                    _ => {}
                }
            }
        });
        heard.await.context("a signal")?
    }

    /// Alice logs in anew and connects.
    pub async fn log_in(&mut self) -> Result<()> {
        self.login = log_in(&self.server).await?;
        self.reconnect().await
    }

    /// Alice connects anew, with the token she has.
    pub async fn reconnect(&mut self) -> Result<()> {
        self.alice = connect(&self.server, &self.login).await?;
        Ok(())
    }

    /// Publishes with many under way until `done`, or until the connection ends; how many were acked.
    pub async fn publish_until<T>(&mut self, done: impl Future<Output = T>) -> Result<(usize, T)> {
        let (mut done, before) = (std::pin::pin!(done), self.acked.len());
        let mut open = HashMap::new();
        loop {
            let lost = async {
                while open.len() < WINDOW {
                    let key = self.random.key();
                    let body = message(self.conversation, key, Bytes::from_static(&BODY));
                    open.insert(self.alice.ask(body).await?, key);
                }
                self.alice.next().await
            };
            let frame = tokio::select! {
                ended = &mut done => return Ok((self.acked.len() - before, ended)),
                frame = lost => frame,
            };
            let Ok(frame) = frame else { return Ok((self.acked.len() - before, done.await)) };
            let Some(key) = open.remove(&frame.answers) else { continue };
            match frame.body {
                Some(Body::PublishAck(ack)) => self.note(key, ack.generation, ack.offset)?,
                // Whoever is refused tries again, and not at once.
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    fn note(&mut self, key: [u8; 16], generation: u32, offset: u64) -> Result<()> {
        let first = *self.acked.entry(key).or_insert((generation, offset));
        ensure!(first == (generation, offset), "one key has two places: {first:?} and {generation}/{offset}");
        Ok(())
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
                self.note(key, ack.generation, ack.offset)?;
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
        let mut all = BTreeMap::new();
        for message in self.messages().await? {
            let key = message.publish_key[..].try_into()?;
            ensure!(all.insert(message.offset, key).is_none(), "twice at {}", message.offset);
        }
        Ok(all)
    }

    /// No message is older than the one before it.
    pub async fn times_rise(&mut self) -> Result<()> {
        let messages = self.messages().await?;
        for pair in messages.windows(2) {
            let [first, next] = pair else { continue };
            ensure!(
                first.at <= next.at,
                "{} is of {}, and {} of {}",
                first.offset,
                first.at,
                next.offset,
                next.at
            );
        }
        Ok(())
    }

    /// The whole log, by pages.
    async fn messages(&mut self) -> Result<Vec<v1::Delivery>> {
        let (mut all, mut from) = (Vec::new(), 1);
        loop {
            let id = self.conversation.to_bytes();
            let page = v1::Recover { conversation: id, from, limit: 100, ..Default::default() };
            let page = match self.alice.call(page.into()).await? {
                Body::HistoryPage(page) => page,
                other => bail!("not a page: {other:?}"),
            };
            for item in page.items {
                let Some(history_item::Item::Delivery(message)) = item.item else { bail!("not a message") };
                all.push(message);
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

const EMAIL: &str = "alice@fault.example";
const PASSWORD: &str = "correct horse battery";

async fn alice(server: &Server) -> Result<(Login, ConversationId)> {
    let http = Http::new(&server.ready.api);
    let body = json!({"email": EMAIL, "name": "alice", "password": PASSWORD});
    let (status, answer) = http.call(Verb::Post, "/api/v1/auth/register", None, body).await?;
    ensure!(status == 202, "{status} {answer}");
    let login = log_in(server).await?;
    let body = json!({"kind": "group", "name": "g", "members": []});
    let (status, answer) =
        http.call(Verb::Post, "/api/v1/conversations", Some(login.access_token()), body).await?;
    let conversation = answer["id"].as_str().and_then(ConversationId::parse);
    Ok((login, conversation.with_context(|| format!("{status} {answer}"))?))
}

async fn log_in(server: &Server) -> Result<Login> {
    Ok(Api::new(&server.ready.api, None)?.login(EMAIL, PASSWORD, "test", None).await?)
}

async fn connect(server: &Server, login: &Login) -> Result<Raw> {
    Raw::connect(&server.ready.wss, &tls(&server.ready.ca, b"http/1.1")?, login.access_token()).await
}
