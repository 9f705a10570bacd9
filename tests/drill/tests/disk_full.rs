//! A full disk: publishes are refused with a code that says to try again, reads and sessions go on, and when there is
//! room again publishing works by itself. Nothing that was acked is lost.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use drill::http::{Http, Verb};
use drill::random::Random;
use drill::raw::{Raw, message, tls};
use drill::server::{Launch, Server, work_folder};
use relay_client::ConversationId;
use relay_client::account::{Api, Login};
use schema_wire::Refused;
use schema_wire::v1::{self, history_item, server_frame::Body};
use serde_json::json;

/// The whole filesystem, in MiB: room for the empty product and some messages.
const FILESYSTEM_MIB: u32 = 16;
/// Bytes of a message.
const BODY: usize = 8 * 1024;
/// Publishes that may still find room in files that exist already.
const TRIES: usize = 2_000;
/// Publishes refused in a row before the disk counts as full.
const REFUSED: usize = 5;

type Acked = BTreeMap<u64, [u8; 16]>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_publishes_and_keeps_the_rest() -> Result<()> {
    let folder = work_folder("disk-full")?;
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let mut launch = Launch::new(Launch::program()?, data.clone(), folder.join("server.log"))?;
    launch.tiny_mib = Some(FILESYSTEM_MIB);
    let server = tokio::task::block_in_place(|| launch.start())?;
    let filler = server.seen_from_here(&data).join("filler");
    let (mut alice, mut bob, conversation) = people(&server).await?;
    let mut random = Random::new(1, 1);
    let mut acked = Acked::new();
    for _ in 0..20 {
        let key = random.key();
        let offset = publish(&mut alice, conversation, key).await?.expect("there is room yet");
        acked.insert(offset, key);
    }
    fill(&filler)?;
    let refused = until_full(&mut alice, conversation, &mut random, &mut acked).await?;
    let (before, held) = (acked.len(), refused.len());
    let full = "while the disk is full";
    ensure!(read_all(&mut alice, conversation).await.context(full)? == acked, "reads go on {full}");
    ensure!(read_all(&mut bob, conversation).await.context(full)? == acked, "others read {full}");
    let pong = bob.call(v1::Ping::default().into()).await.context(full)?;
    ensure!(matches!(pong, Body::Pong(_)), "{pong:?}");
    std::fs::remove_file(&filler)?;
    for key in refused {
        let offset = insist(&mut alice, conversation, key).await?;
        ensure!(acked.insert(offset, key).is_none(), "offset {offset} was given twice");
    }
    ensure!(acked.len() == before + held, "each refused message found its place");
    ensure!(
        read_all(&mut alice, conversation).await? == acked,
        "nothing acked is lost, and nothing else is there"
    );
    while bob.deliveries < acked.len() as u64 {
        let frame =
            tokio::time::timeout(Duration::from_secs(30), bob.next()).await.context("deliveries")??;
        bob.deliveries += u64::from(matches!(frame.body, Some(Body::Delivery(_))));
    }
    ensure!(tokio::task::block_in_place(|| server.drain())?.success(), "the server ends in order");
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Two people, connected and subscribed, and their conversation.
async fn people(server: &Server) -> Result<(Raw, Raw, ConversationId)> {
    let http = Http::new(&server.ready.api);
    let api = Api::new(&server.ready.api, None)?;
    let mut logins: Vec<Login> = Vec::new();
    for name in ["alice", "bob"] {
        let (email, password) = (format!("{name}@full.example"), "correct horse battery");
        let body = json!({"email": email, "name": name, "password": password});
        let (status, answer) = http.call(Verb::Post, "/api/v1/auth/register", None, body).await?;
        ensure!(status == 202, "{status} {answer}");
        logins.push(api.login(&email, password, "test", None).await?);
    }
    let peer = logins[1].user().context("an id")?.to_string();
    let body = json!({"kind": "direct", "peer": peer});
    let token = Some(logins[0].access_token());
    let (status, answer) = http.call(Verb::Post, "/api/v1/conversations", token, body).await?;
    let conversation = answer["id"].as_str().and_then(ConversationId::parse);
    let conversation = conversation.with_context(|| format!("{status} {answer}"))?;
    // The other one asks as well, so that nothing waits between them.
    let peer = logins[0].user().context("an id")?.to_string();
    let body = json!({"kind": "direct", "peer": peer});
    let (status, answer) =
        http.call(Verb::Post, "/api/v1/conversations", Some(logins[1].access_token()), body).await?;
    ensure!(status == 200, "{status} {answer}");
    let tls = tls(&server.seen_from_here(&server.ready.ca), b"http/1.1")?;
    let mut raws = Vec::new();
    for login in &logins {
        let mut raw = Raw::connect(&server.ready.wss, &tls, login.access_token()).await?;
        let id = conversation.to_bytes();
        let answer = raw.call(v1::Subscribe { conversation: id, ..Default::default() }.into()).await?;
        ensure!(matches!(answer, Body::Subscribed(_)), "{answer:?}");
        raws.push(raw);
    }
    let bob = raws.pop().context("two")?;
    Ok((raws.pop().context("two")?, bob, conversation))
}

/// Publishes once: the offset, or `None` when the store is full.
async fn publish(raw: &mut Raw, conversation: ConversationId, key: [u8; 16]) -> Result<Option<u64>> {
    let body = Bytes::from(vec![b'x'; BODY]);
    let answer = raw.call(message(conversation, key, body));
    match tokio::time::timeout(Duration::from_secs(30), answer).await.context("an answer")?? {
        Body::PublishAck(ack) => Ok(Some(ack.offset)),
        Body::Refusal(refusal) if refusal.code == Refused::StoreFull.code() => Ok(None),
        other => bail!("neither acked nor STORE_FULL: {other:?}"),
    }
}

/// Takes all the room there is.
fn fill(filler: &Path) -> Result<()> {
    let mut file = File::create(filler).with_context(|| filler.display().to_string())?;
    for size in [64 * 1024, 1024] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    Ok(())
}

/// Publishes into what room the store's own files still have, until it is full; the keys refused.
async fn until_full(
    raw: &mut Raw,
    conversation: ConversationId,
    random: &mut Random,
    acked: &mut Acked,
) -> Result<Vec<[u8; 16]>> {
    let (mut refused, mut in_a_row) = (Vec::new(), 0);
    for _ in 0..TRIES {
        let key = random.key();
        match publish(raw, conversation, key).await? {
            Some(offset) => {
                ensure!(acked.insert(offset, key).is_none(), "offset {offset} was given twice");
                in_a_row = 0;
            }
            None => {
                refused.push(key);
                in_a_row += 1;
            }
        }
        if in_a_row == REFUSED {
            return Ok(refused);
        }
    }
    bail!("the disk did not get full")
}

/// Publishes until it is acked: room was made, so it has to work by itself.
async fn insist(raw: &mut Raw, conversation: ConversationId, key: [u8; 16]) -> Result<u64> {
    for _ in 0..100 {
        if let Some(offset) = publish(raw, conversation, key).await? {
            return Ok(offset);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("there is room again, and the store still says that it is full")
}

/// The whole log, by pages.
async fn read_all(raw: &mut Raw, conversation: ConversationId) -> Result<Acked> {
    let (mut all, mut from) = (Acked::new(), 1);
    loop {
        let id = conversation.to_bytes();
        let page = v1::Recover { conversation: id, from, limit: 100, ..Default::default() };
        let page = match raw.call(page.into()).await? {
            Body::HistoryPage(page) => page,
            other => bail!("not a page: {other:?}"),
        };
        for item in page.items {
            match item.item {
                Some(history_item::Item::Delivery(d)) => {
                    ensure!(d.body.len() == BODY, "a body is whole");
                    all.insert(d.offset, d.publish_key[..].try_into()?);
                }
                other => bail!("not a message: {other:?}"),
            }
        }
        if page.next <= from {
            return Ok(all);
        }
        from = page.next;
    }
}
