//! `messenger chat`: a conversation at a terminal. Decides which key or line does what, and keeps screen, session
//! and receipts in step.

mod command;
mod line;
mod screen;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use crossterm::event::{Event as TerminalEvent, EventStream, KeyEventKind};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use relay_client::v1::PresenceState;
use relay_client::{After, Client, ConversationId, Error, Event, Offset, PageRequest, Position, Publishing};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::time::{Instant, sleep_until};

use crate::account::{Flags, Joined};
use crate::chat::command::Said;
use crate::chat::line::{Line, Pressed};
use crate::chat::screen::Screen;
use crate::chat::view::{Row, View, remark, warning};
use crate::text::printable;

/// Messages of the past shown at the beginning.
const HISTORY: u32 = 20;

/// How often others are told that somebody goes on typing.
const TYPING_EVERY: Duration = Duration::from_secs(3);

/// How long a receipt waits for a newer one.
const RECEIPT_AFTER: Duration = Duration::from_millis(400);

/// Messages said and not acked. Beyond: the keyboard waits.
const UNACKED: usize = 32;

#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags,
    /// Don't tell others what was read, and not that somebody types.
    #[arg(long)]
    quiet: bool,
}

/// Where a person's lines come from.
enum Input {
    Keys(EventStream),
    Lines(Lines<BufReader<Stdin>>),
    Ended,
}

/// What a person did.
enum Did {
    Pressed(Pressed),
    Resized,
    Ended,
}

struct Chat {
    client: Client,
    conversation: ConversationId,
    screen: Screen,
    view: View,
    line: Line,
    quiet: bool,
    under_way: FuturesUnordered<Publishing>,
    /// Newest own offset that was acked.
    acked: Offset,
    typed_at: Option<Instant>,
    /// Newest offset the receipt went out for, and when the next may.
    receipted: Offset,
    receipt_at: Option<Instant>,
}

pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let Joined { client, mut events, account, conversation, title, request, names } =
        options.flags.join(Some(1)).await?;
    let me = account.current().await.user().context("the API answered an id that is not one")?;
    let screen = Screen::open().context("taking the terminal")?;
    let mut chat = Chat {
        client: client.clone(),
        conversation,
        screen,
        view: View::new(conversation, names, me),
        line: Line::default(),
        quiet: options.quiet,
        under_way: FuturesUnordered::new(),
        acked: Offset(0),
        typed_at: None,
        receipted: Offset(0),
        receipt_at: None,
    };
    chat.print(remark(format!("{title} – /help lists the commands")))?;
    chat.print(warning("Messages are not yet end-to-end encrypted: whoever runs the relay can read them."))?;
    if let Some(row) = request.as_deref().and_then(view::request) {
        chat.print(row)?;
    }
    let ended = match chat.begin().await {
        Ok(()) => chat.talk(&mut events, &account).await,
        Err(e) => Err(e),
    };
    drop(chat);
    crate::account::leave(&client, &account).await;
    ended.map(|()| ExitCode::SUCCESS)
}

impl Chat {
    /// Shows the latest of the past, follows what comes, says that somebody is here.
    async fn begin(&mut self) -> anyhow::Result<()> {
        let newest = PageRequest { from: Offset(u64::MAX >> 1), limit: HISTORY, backwards: true };
        let page =
            self.client.recover(self.conversation, newest).await.context("reading the history failed")?;
        for item in page.items.iter().rev() {
            let row = self.view.item(item);
            self.print(row)?;
        }
        let after = Position { generation: page.generation, offset: page.head };
        let subscribing = self.client.subscribe(self.conversation, After::Position(after));
        subscribing.await.context("following the conversation failed")?;
        self.receipt_at = Some(Instant::now());
        if !self.quiet {
            let users: Vec<_> = self.view.names.users().take(256).collect();
            self.client.presence(PresenceState::PRESENCE_STATE_ONLINE).await?;
            if let Err(e) = self.client.watch(&[self.conversation], &users).await {
                self.print(remark(format!("typing and receipts of others are not shown: {e}")))?;
            }
        }
        Ok(())
    }

    async fn talk(
        &mut self,
        events: &mut relay_client::Events,
        account: &relay_client::account::Account,
    ) -> anyhow::Result<()> {
        let mut input = match self.screen.is_interactive() {
            true => Input::Keys(EventStream::new()),
            false => Input::Lines(BufReader::new(tokio::io::stdin()).lines()),
        };
        loop {
            let status = self.view.status(Instant::now());
            self.screen.prompt(&status, &self.line)?;
            let deadline = [self.view.next_timeout(), self.receipt_at].into_iter().flatten().min();
            tokio::select! {
                event = events.next() => self.event(event, account).await?,
                did = input.next(&mut self.line), if self.under_way.len() < UNACKED => match did? {
                    Did::Pressed(pressed) => if !self.pressed(pressed, account).await? { return Ok(()) },
                    Did::Resized => {}
                    Did::Ended => input = Input::Ended,
                },
                Some(answer) = self.under_way.next() => self.answered(answer)?,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.receipt().await?,
            }
            // What was said is shown before the end, too.
            let shown = self.view.own >= self.acked;
            if matches!(input, Input::Ended) && self.under_way.is_empty() && shown {
                return Ok(());
            }
        }
    }

    async fn event(
        &mut self,
        event: Option<Event>,
        account: &relay_client::account::Account,
    ) -> anyhow::Result<()> {
        let event = event.context("the client ended")?;
        match &event {
            Event::Closed(why) => bail!("{}", why.as_ref().map(|w| w.to_string()).unwrap_or_default()),
            Event::Delivery(d) => self.view.names.learn(d.sender, account, self.conversation).await,
            _ => {}
        }
        if let Some(row) = self.view.event(Instant::now(), &event) {
            self.print(row)?;
        }
        if self.view.newest > self.receipted && self.receipt_at.is_none() {
            self.receipt_at = Some(Instant::now() + RECEIPT_AFTER);
        }
        Ok(())
    }

    /// False: the person wants to leave.
    async fn pressed(
        &mut self,
        pressed: Pressed,
        account: &relay_client::account::Account,
    ) -> anyhow::Result<bool> {
        match pressed {
            Pressed::Leave => return Ok(false),
            Pressed::Entered(text) => {
                self.typed(false);
                return self.said(command::read(&text), account).await;
            }
            Pressed::Edited => self.typed(!self.line.is_empty()),
            Pressed::Nothing => {}
        }
        Ok(true)
    }

    async fn said(&mut self, said: Said, account: &relay_client::account::Account) -> anyhow::Result<bool> {
        match said {
            Said::Publish(request) => match self.client.enqueue(self.conversation, request).await {
                Ok(publishing) => {
                    self.under_way.push(publishing);
                    if !self.client.is_connected() {
                        self.print(remark("not connected: it goes out as soon as the relay is back"))?;
                    }
                }
                Err(e) => self.print(warning(format!("not sent: {}", printable(&e.to_string()))))?,
            },
            Said::Answer(answer) => self.answer(answer, account).await?,
            Said::Who => self.print(self.view.who())?,
            Said::Help => command::HELP.iter().try_for_each(|line| self.print(remark(*line)))?,
            Said::Leave => return Ok(false),
            Said::Unknown(why) => self.print(warning(why))?,
        }
        Ok(true)
    }

    /// Answers a first contact; what became of it comes back as an event.
    async fn answer(&mut self, answer: &str, account: &relay_client::account::Account) -> anyhow::Result<()> {
        let login = account.current().await;
        match account.api().answer_request(&login, self.conversation, answer).await {
            Ok(()) => Ok(()),
            Err(e) => self.print(warning(format!("/{answer}: {}", printable(&e.to_string())))),
        }
    }

    fn answered(&mut self, answer: Result<relay_client::Ack, Error>) -> anyhow::Result<()> {
        match answer {
            Ok(ack) => {
                self.acked = self.acked.max(ack.position.offset);
                Ok(())
            }
            Err(e) => self.print(warning(format!("not sent: {}", printable(&e.to_string())))),
        }
    }

    /// Tells others that somebody types, at most every few seconds, or stopped.
    fn typed(&mut self, active: bool) {
        let recent = self.typed_at.is_some_and(|at| at.elapsed() < TYPING_EVERY);
        if self.quiet || (active && recent) || (!active && self.typed_at.is_none()) {
            return;
        }
        self.typed_at = active.then(Instant::now);
        self.client.typing(self.conversation, active);
    }

    /// Says how far was read.
    async fn receipt(&mut self) -> anyhow::Result<()> {
        if self.receipt_at.take_if(|at| *at <= Instant::now()).is_none() || self.view.newest <= self.receipted
        {
            return Ok(());
        }
        self.receipted = self.view.newest;
        let (client, conversation, offset, share) =
            (self.client.clone(), self.conversation, self.receipted, !self.quiet);
        tokio::spawn(async move {
            if let Err(e) = client.cursor(conversation, offset, share).await {
                tracing::debug!(error = %e, "the cursor did not move");
            }
        });
        Ok(())
    }

    fn print(&mut self, row: Row) -> anyhow::Result<()> {
        self.screen.print(&row).context("writing to the terminal")
    }
}

impl Input {
    async fn next(&mut self, line: &mut Line) -> anyhow::Result<Did> {
        match self {
            Self::Keys(keys) => match keys.next().await.transpose().context("reading the terminal")? {
                Some(TerminalEvent::Key(key)) if key.kind != KeyEventKind::Release => {
                    Ok(Did::Pressed(line.press(key)))
                }
                Some(_) => Ok(Did::Resized),
                None => Ok(Did::Ended),
            },
            Self::Lines(lines) => match lines.next_line().await.context("reading standard input")? {
                Some(text) if text.is_empty() => Ok(Did::Pressed(Pressed::Nothing)),
                Some(text) => Ok(Did::Pressed(Pressed::Entered(text))),
                None => Ok(Did::Ended),
            },
            Self::Ended => std::future::pending().await,
        }
    }
}
