//! Reports, flags and what became of them. A few people get most of the reports, so that many are one card; the newest ones
//! are still open.

use tokio_postgres::{Client, Error};

use crate::copy::Rows;
use crate::people::{Standing, standing, user};
use crate::random::{below, id, skewed};
use crate::{DAY_MS, Shape};

const REASONS: [&str; 7] = ["SPAM", "HARASSMENT", "VIOLENCE", "SEXUAL", "IMPERSONATION", "ILLEGAL", "OTHER"];
const RULES: [&str; 5] = ["RATE", "NEW_ACCOUNT", "SAME_CONTENT", "EVASION", "CONTENT"];
/// Time over which reports came in.
const SPREAD_MS: u64 = 365 * DAY_MS;
/// Of a hundred reports, the newest ones, which nobody decided yet: those of a week.
const OPEN_OF_100: u64 = 2;
/// How long a decision took.
const TAKES_MS: u64 = 3_600_000;

/// People that reports are about.
fn subjects(shape: &Shape) -> u64 {
    (shape.reports / 8).max(1)
}

/// One of them; the first ones are reported most.
pub fn subject(shape: &Shape, place: u64) -> u64 {
    let apart = ((shape.users - shape.staff()) / subjects(shape)).max(1);
    let from = shape.staff() + place * apart;
    (from..from + apart).find(|n| standing(shape, *n) == Standing::Active).unwrap_or(from)
}

fn moderator(shape: &Shape, place: u64) -> [u8; 16] {
    // Every fourth of the staff moderates.
    user(shape, below(shape.staff() / 4, shape.seed, place, 50) * 4 + 1).0
}

/// When the n-th report came in.
fn at(shape: &Shape, n: u64) -> u64 {
    shape.now_ms - SPREAD_MS + SPREAD_MS / shape.reports.max(1) * n
}

fn is_open(shape: &Shape, n: u64) -> bool {
    n * 100 >= shape.reports * (100 - OPEN_OF_100)
}

fn place(shape: &Shape, n: u64) -> u64 {
    skewed(subjects(shape), shape.seed, n, 51)
}

/// The decision that closed a report, if one did by itself.
fn decision(shape: &Shape, n: u64) -> Option<[u8; 16]> {
    (n.is_multiple_of(2) && !is_open(shape, n)).then(|| id(at(shape, n) + TAKES_MS, shape.seed, n, 52))
}

/// Loads them.
pub async fn load(client: &Client, shape: &Shape) -> Result<(), Error> {
    reports(client, shape).await?;
    flags(client, shape).await?;
    cases(client, shape).await?;
    decisions(client, shape).await?;
    actions(client, shape).await?;
    appeals(client, shape).await?;
    notes(client, shape).await
}

async fn reports(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, reporter_id, reported_user_id, reason, comment, evidence, proof, status, created_at, resolved_at,
        resolved_by, resolution, decision_id";
    let mut rows = Rows::begin(client, "reports", columns).await?;
    for n in 0..shape.reports {
        let (created, closed) = (at(shape, n), !is_open(shape, n));
        let reporter = user(shape, below(shape.users, shape.seed, n, 53)).0;
        let row = rows.row().await?.id(id(created, shape.seed, n, 54)).id(reporter);
        row.id(user(shape, subject(shape, place(shape, n))).0).text(REASONS[n as usize % REASONS.len()]);
        row.text("again and again").bytes(b"Cheap watches! Answer now, only today.").text("CLAIMED");
        row.text(if closed { "RESOLVED" } else { "PENDING" }).time(created);
        row.time_opt(closed.then_some(created + TAKES_MS)).id_opt(closed.then(|| moderator(shape, n)));
        match closed {
            true => row.text("WARN"),
            false => row.null(),
        };
        row.id_opt(decision(shape, n));
    }
    rows.end().await
}

fn flag_count(shape: &Shape) -> u64 {
    shape.reports / 6
}

async fn flags(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, user_id, rule, detail, status, created_at, closed_at";
    let mut rows = Rows::begin(client, "flags", columns).await?;
    for n in 0..flag_count(shape) {
        let (created, closed) = (at(shape, n * 6), !is_open(shape, n * 6));
        let row = rows.row().await?.id(id(created, shape.seed, n, 55));
        row.id(user(shape, subject(shape, place(shape, n * 6))).0).text(RULES[n as usize % RULES.len()]);
        row.text("72 messages in one minute").text(if closed { "CLOSED" } else { "OPEN" }).time(created);
        row.time_opt(closed.then_some(created + TAKES_MS));
    }
    rows.end().await
}

async fn cases(client: &Client, shape: &Shape) -> Result<(), Error> {
    let mut known: Vec<Option<(Option<u64>, u64)>> = vec![None; subjects(shape) as usize];
    for n in 0..shape.reports {
        let one = known[place(shape, n) as usize].get_or_insert((None, 0));
        one.1 = at(shape, n) + TAKES_MS;
        if is_open(shape, n) {
            one.0.get_or_insert(at(shape, n));
        }
    }
    let columns = "user_id, state, opened_at, claimed_by, claim_expires_at, resolved_at";
    let mut rows = Rows::begin(client, "moderation_cases", columns).await?;
    for (place, one) in known.into_iter().enumerate() {
        let Some((open, last)) = one else { continue };
        let place = place as u64;
        let claimed = open.is_some() && place % 50 == 1;
        let row = rows.row().await?.id(user(shape, subject(shape, place)).0);
        row.text(if open.is_some() { "OPEN" } else { "RESOLVED" }).time(open.unwrap_or(last - TAKES_MS));
        row.id_opt(claimed.then(|| moderator(shape, place)));
        row.time(if claimed { shape.now_ms + 600_000 } else { 0 }).time_opt(open.is_none().then_some(last));
    }
    rows.end().await
}

async fn decisions(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, user_id, moderator_id, actions, reason, notice, state, created_at, due_at, ended_at";
    let mut rows = Rows::begin(client, "moderation_decisions", columns).await?;
    for n in 0..shape.reports {
        let Some(decision) = decision(shape, n) else { continue };
        let made = at(shape, n) + TAKES_MS;
        let row = rows.row().await?.id(decision).id(user(shape, subject(shape, place(shape, n))).0);
        row.id(moderator(shape, n)).text("WARN").text("spam").text("Please stop.\n\nModerator M-0000");
        row.text("DONE").time(made).time(made + 10_000).time(made + 10_500);
    }
    for n in 0..20 {
        let made = shape.now_ms - n * 60_000;
        let row =
            rows.row().await?.id(id(made, shape.seed, n, 56)).id(user(shape, subject(shape, 100 + n)).0);
        row.id(moderator(shape, n)).text("BAN").text("spam").null().text("WAITING").time(made).null().null();
    }
    rows.end().await
}

async fn actions(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "id, user_id, moderator_id, action, reason, created_at, decision_id";
    let mut rows = Rows::begin(client, "moderation_actions", columns).await?;
    for n in 0..shape.reports {
        let Some(decision) = decision(shape, n) else { continue };
        let made = at(shape, n) + TAKES_MS;
        let row = rows.row().await?.id(id(made, shape.seed, n, 57));
        row.id(user(shape, subject(shape, place(shape, n))).0).id(moderator(shape, n));
        row.text("WARN").text("spam").time(made).id(decision);
    }
    rows.end().await
}

async fn appeals(client: &Client, shape: &Shape) -> Result<(), Error> {
    let columns = "decision_id, user_id, text, state, created_at, answer, answered_by, answered_at";
    let mut rows = Rows::begin(client, "moderation_appeals", columns).await?;
    for n in (0..shape.reports).filter(|n| n % 40 == 0) {
        let Some(decision) = decision(shape, n) else { continue };
        let (made, answered) = (at(shape, n) + 2 * TAKES_MS, n % 400 != 0);
        let row = rows.row().await?.id(decision).id(user(shape, subject(shape, place(shape, n))).0);
        row.text("It was not me.").text(if answered { "UPHELD" } else { "OPEN" }).time(made);
        match answered {
            true => row.text("It was."),
            false => row.null(),
        };
        row.id_opt(answered.then(|| moderator(shape, n + 1))).time_opt(answered.then_some(made + TAKES_MS));
    }
    rows.end().await
}

async fn notes(client: &Client, shape: &Shape) -> Result<(), Error> {
    let mut rows =
        Rows::begin(client, "moderation_notes", "id, user_id, author_id, text, created_at").await?;
    for n in (0..shape.reports).filter(|n| n % 20 == 0) {
        let made = at(shape, n);
        let row = rows.row().await?.id(id(made, shape.seed, n, 58));
        row.id(user(shape, subject(shape, place(shape, n))).0).id(moderator(shape, n));
        row.text("Wrote that it will not happen again.").time(made);
    }
    rows.end().await
}
