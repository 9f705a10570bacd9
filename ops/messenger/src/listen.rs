//! `messenger listen`: prints each message of a conversation as it comes, one line each, for people or for scripts.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use relay_client::{After, Delivery, Event, Generation, Offset, Position};
use serde::Serialize;

use crate::account::{Flags, Joined, Names};
use crate::text::{body, clock, rfc3339};

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags,
    /// Print one JSON object per message and line.
    #[arg(long)]
    json: bool,
    /// End after this many messages.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Begin with the first message the account may read, instead of the next one.
    #[arg(long, conflicts_with = "after")]
    from_start: bool,
    /// Begin after this offset (or GENERATION:OFFSET).
    #[arg(long, value_name = "OFFSET", value_parser = position)]
    after: Option<(Option<Generation>, Offset)>,
}

fn position(text: &str) -> Result<(Option<Generation>, Offset), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
    match text.split_once(':') {
        Some((generation, offset)) => {
            let generation = generation.parse().map_err(|e| format!("{generation:?}: {e}"))?;
            Ok((Some(Generation(generation)), Offset(number(offset)?)))
        }
        None => Ok((None, Offset(number(text)?))),
    }
}

/// One line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    conversation: String,
    offset: u64,
    generation: u32,
    sender: String,
    sender_name: Option<&'a str>,
    device: String,
    time: String,
    kind: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    relates_to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    publish_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let mut joined = options.flags.join(None).await?;
    let printed = tokio::select! {
        printed = listen(&options, &mut joined) => printed,
        () = stopped() => Ok(()),
    };
    joined.leave().await;
    printed.map(|()| ExitCode::SUCCESS)
}

async fn listen(options: &Options, joined: &mut Joined) -> anyhow::Result<()> {
    let mut left = options.count.unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(());
    }
    let generation = generation(joined).await?;
    let after = match options.after {
        Some((named, offset)) => {
            After::Position(Position { generation: named.unwrap_or(generation), offset })
        }
        None if options.from_start => After::Start,
        None => After::Now,
    };
    let (client, conversation) = (joined.client.clone(), joined.conversation);
    let mut subscribing = Box::pin(client.subscribe(conversation, after));
    let mut subscribed = false;
    loop {
        tokio::select! {
            begun = &mut subscribing, if !subscribed => {
                let begun = begun.context("following the conversation failed")?;
                subscribed = true;
                tell!("messenger: listening, newest offset {}", begun.head.0);
            }
            event = joined.events.next() => {
                let event = event.context("the client ended")?;
                left -= u64::from(print(options, joined, event).await?);
                if left == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// The store's generation, from the first session.
async fn generation(joined: &mut Joined) -> anyhow::Result<Generation> {
    loop {
        match joined.events.next().await.context("the client ended")? {
            Event::Connected(linked) => return Ok(linked.generation),
            Event::Closed(why) => bail!("closed: {}", why.map(|w| w.to_string()).unwrap_or_default()),
            _ => {}
        }
    }
}

/// Prints a delivery; tells people about the rest on the error stream. True when it was a delivery.
async fn print(options: &Options, joined: &mut Joined, event: Event) -> anyhow::Result<bool> {
    match event {
        Event::Delivery(delivery) => {
            joined.names.learn(delivery.sender, &joined.account, joined.conversation).await;
            let line =
                if options.json { json(&delivery, &joined.names)? } else { plain(&delivery, &joined.names) };
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}").and_then(|()| out.flush()).context("writing to standard output")?;
            return Ok(true);
        }
        Event::Gone(gone) => tell!("messenger: offsets {}–{} are gone", gone.from.0, gone.to.0),
        Event::Rewound { head, .. } => tell!("messenger: the store went back to offset {}", head.0),
        Event::Reconnecting { delay, why, .. } => tell!("messenger: {why}; trying again in {delay:.1?}"),
        Event::Connected(_) => tell!("messenger: connected again"),
        Event::Unsubscribed { refusal, .. } => {
            bail!(
                "the conversation ended for this account{}",
                refusal.map(|r| format!(": {r}")).unwrap_or_default()
            )
        }
        Event::Closed(why) => bail!("closed: {}", why.map(|w| w.to_string()).unwrap_or_default()),
        _ => {}
    }
    Ok(false)
}

fn json(d: &Delivery, names: &Names) -> anyhow::Result<String> {
    let text = std::str::from_utf8(&d.body).ok();
    let line = Line {
        conversation: d.conversation.to_string(),
        offset: d.position.offset.0,
        generation: d.position.generation.0,
        sender: d.sender.to_string(),
        sender_name: names.get(d.sender),
        device: d.device.to_string(),
        time: rfc3339(d.at),
        kind: d.kind,
        relates_to: d.relates_to.map(|o| o.0),
        expires_at: d.expires_at.map(rfc3339),
        publish_key: d.publish_key.to_string(),
        text,
        body_base64: text.is_none().then(|| BASE64_STANDARD.encode(&d.body)),
    };
    Ok(serde_json::to_string(&line)?)
}

fn plain(d: &Delivery, names: &Names) -> String {
    format!("{} {} {}: {}", d.position.offset.0, clock(d.at), names.show(d.sender), body(&d.body))
}

/// SIGINT or SIGTERM.
async fn stopped() {
    let terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let Ok(mut terminated) = terminated else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_client::{ConversationId, DeviceId, PublishKey, UserId};

    fn delivery(body: &'static [u8]) -> Delivery {
        Delivery {
            conversation: ConversationId([1; 16]),
            position: Position { generation: Generation(2), offset: Offset(3) },
            kind: 0,
            sender: UserId([4; 16]),
            device: DeviceId([5; 16]),
            at: 1_700_000_000_000,
            relates_to: None,
            expires_at: None,
            stamp: None,
            body: body.into(),
            publish_key: PublishKey([6; 16]),
            own: false,
        }
    }

    #[test]
    fn one_object_per_line_whatever_the_text_holds() {
        let line = json(&delivery(b"two\nlines \"quoted\""), &Names::default()).expect("serialises");
        assert!(!line.contains('\n'));
        let read: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert_eq!(read["text"], "two\nlines \"quoted\"");
        assert_eq!((&read["offset"], &read["generation"]), (&3.into(), &2.into()));
        assert_eq!(read["time"], "2023-11-14T22:13:20Z");
        assert!(read.get("body_base64").is_none());
    }

    #[test]
    fn what_is_not_text_comes_as_base64() {
        let line = json(&delivery(&[0xff, 0x00]), &Names::default()).expect("serialises");
        let read: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert_eq!(read["body_base64"], "/wA=");
        assert!(read.get("text").is_none());
    }

    #[test]
    fn positions_are_read_with_and_without_generation() {
        assert_eq!(position("7"), Ok((None, Offset(7))));
        assert_eq!(position("2:7"), Ok((Some(Generation(2)), Offset(7))));
        assert!(position("x").is_err() && position("1:").is_err() && position("-1").is_err());
    }
}
