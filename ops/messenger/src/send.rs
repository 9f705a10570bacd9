//! `messenger send`: publishes a text or each line of standard input, and ends when all are acked or refused.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use relay_client::{Ack, Error, Event, Events, PublishRequest, Publishing};
use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::account::{Flags, Joined};
use crate::text::{printable, rfc3339};

/// Longest line taken, in bytes: one more than a message may have, so that the relay's limit is what refuses it.
const LINE_BYTES_MAX: u64 = 64 * 1024 + 1;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags,
    /// The message. May be given several times.
    #[arg(long, value_name = "TEXT", conflicts_with = "stdin", required_unless_present = "stdin")]
    text: Vec<String>,
    /// Publish one message per line of standard input.
    #[arg(long)]
    stdin: bool,
    /// Print one JSON object per ack or refusal.
    #[arg(long)]
    json: bool,
    /// Messages under way at once. 1 keeps their order strictly, also when the rate limit holds some back.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u8).range(1..=32))]
    in_flight: u8,
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Acked {
        line: u64,
        conversation: String,
        publish_key: String,
        generation: u32,
        offset: u64,
        time: String,
        duplicate: bool,
    },
    Refused {
        line: u64,
        refused: String,
        code: Option<u32>,
        message: String,
    },
}

/// Counts what became of the messages.
struct Report {
    json: bool,
    acked: u64,
    failed: u64,
}

type UnderWay = FuturesOrdered<futures_util::future::Join<std::future::Ready<u64>, Publishing>>;

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let in_flight = usize::from(options.in_flight);
    let Joined { client, events, account, conversation, .. } = options.flags.join(Some(in_flight)).await?;
    let watching = tokio::spawn(tell_of_reconnects(events));
    let mut report = Report { json: options.json, acked: 0, failed: 0 };
    let mut source = source(&options);
    let mut under_way = UnderWay::new();
    let mut line = 0;
    let mut ended = false;
    while !ended || !under_way.is_empty() {
        tokio::select! {
            Some((line, result)) = under_way.next() => report.settled(line, result)?,
            next = source.next(), if !ended && under_way.len() < in_flight => match next? {
                Some(body) => {
                    line += 1;
                    match client.enqueue(conversation, PublishRequest::message(body)).await {
                        Ok(publishing) => under_way.push_back(futures_util::future::join(std::future::ready(line), publishing)),
                        Err(e) => report.settled(line, Err(e))?,
                    }
                }
                None => ended = true,
            }
        }
    }
    crate::account::leave(&client, &account).await;
    watching.await.context("the event reader failed")?;
    if report.failed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    bail!("{} of {} messages were not published", report.failed, report.failed + report.acked)
}

impl Report {
    fn settled(&mut self, line: u64, result: Result<Ack, Error>) -> anyhow::Result<()> {
        match &result {
            Ok(_) => self.acked += 1,
            Err(e) => {
                self.failed += 1;
                tell!("messenger: message {line}: {}", printable(&e.to_string()));
            }
        }
        if self.json {
            say!("{}", serde_json::to_string(&to_line(line, result))?);
        }
        Ok(())
    }
}

fn to_line(line: u64, result: Result<Ack, Error>) -> Line {
    match result {
        Ok(ack) => Line::Acked {
            line,
            conversation: ack.conversation.to_string(),
            publish_key: ack.publish_key.to_string(),
            generation: ack.position.generation.0,
            offset: ack.position.offset.0,
            time: rfc3339(ack.at),
            duplicate: ack.duplicate,
        },
        Err(Error::Refused(r)) => {
            Line::Refused { line, refused: r.name().to_owned(), code: Some(r.code), message: r.message }
        }
        Err(e) => Line::Refused { line, refused: "CLOSED".to_owned(), code: None, message: e.to_string() },
    }
}

/// Where the messages come from.
enum Source {
    Texts(std::vec::IntoIter<String>),
    /// The input, and the beginning of a line whose end has not come.
    Lines(BufReader<tokio::io::Stdin>, Vec<u8>),
}

fn source(options: &Options) -> Source {
    if options.stdin {
        return Source::Lines(BufReader::new(tokio::io::stdin()), Vec::new());
    }
    Source::Texts(options.text.clone().into_iter())
}

impl Source {
    async fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Texts(texts) => Ok(texts.next().map(String::into_bytes)),
            Self::Lines(input, line) => next_line(input, line).await,
        }
    }
}

/// The next line without its end; `None` at the end of the input. May be cancelled: what was read stays in `line`.
async fn next_line(
    input: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> anyhow::Result<Option<Vec<u8>>> {
    let room = (LINE_BYTES_MAX + 2).saturating_sub(line.len() as u64);
    input.take(room).read_until(b'\n', line).await.context("reading standard input")?;
    if line.is_empty() {
        return Ok(None);
    }
    let mut line = std::mem::take(line);
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|last| *last == b'\r');
    }
    if line.len() as u64 > LINE_BYTES_MAX {
        bail!("a line is longer than a message may be (64 KiB)");
    }
    Ok(Some(line))
}

async fn tell_of_reconnects(mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::Reconnecting { delay, why, .. } => {
                tell!("messenger: {why}; trying again in {delay:.1?}")
            }
            Event::Closed(Some(why)) => tell!("messenger: {why}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn each_line_is_a_message_without_its_end() {
        let mut input = &b"one\r\n\ntwo\nlast"[..];
        let (mut lines, mut begun) = (Vec::new(), Vec::new());
        while let Some(line) = next_line(&mut input, &mut begun).await.expect("reads") {
            lines.push(String::from_utf8(line).expect("text"));
        }
        assert_eq!(lines, ["one", "", "two", "last"]);
    }

    #[tokio::test]
    async fn an_endless_line_is_refused_before_it_fills_the_memory() {
        let endless = vec![b'x'; 1 << 20];
        assert!(next_line(&mut &endless[..], &mut Vec::new()).await.is_err());
    }

    #[tokio::test]
    async fn a_line_that_comes_in_pieces_survives_being_cancelled() {
        let (mut keyboard, input) = tokio::io::duplex(16);
        let (mut input, mut begun) = (BufReader::new(input), Vec::new());
        keyboard.write_all(b"tw").await.expect("there is room");
        let cancelled =
            tokio::time::timeout(std::time::Duration::from_millis(10), next_line(&mut input, &mut begun));
        assert!(cancelled.await.is_err(), "the line has no end yet");
        keyboard.write_all(b"o\n").await.expect("there is room");
        let line = next_line(&mut input, &mut begun).await.expect("reads");
        assert_eq!(line.as_deref(), Some(&b"two"[..]));
    }
}
