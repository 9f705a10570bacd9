//! Letters that decisions, answers to appeals and changed second factors owe: the store knows them until a server took them,
//! so that neither an outage of that server nor a crash loses one. One console sends at a time; if it dies between a
//! letter and the note that it is sent, the letter goes out twice.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use schema_store::accounts::Answer;
use schema_store::rows::console::FactorLetterId;
use schema_store::rows::moderation::{DecisionId, DueLetter, Told};
use schema_wire::UserId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::app::App;
use crate::frame::Desk;
use crate::mail::{Delivery, LETTER_WITHIN, Letter, MailSink, deliver};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);
/// Pause of a letter that was not taken, and of all when several were not, doubled up to the longest one.
const AFTER_FAULT: Duration = Duration::from_secs(5);
const AFTER_FAULTS: Duration = Duration::from_secs(300);
/// So many letters in a row that are not taken are no accident of theirs: the others wait as well.
const FAULTS_IN_A_ROW: u32 = 3;
/// Letters of a kind looked at in one go, besides those that wait for another try; and all of them.
const LETTERS: u32 = 200;
const LETTERS_MAX: u32 = 2_000;
/// A letter that nobody takes for so long is given up (RFC 5321 section 4.5.4.1), in milliseconds.
const GIVEN_UP_MS: u64 = 5 * 24 * 3_600_000;
/// A letter is given up earlier when it was refused for so long, and so often while others were taken.
const REFUSED_MS: u64 = 3_600_000;
const REFUSALS: u32 = 3;
const WORK: &str = "letters";
/// Longer than one letter takes, so that nobody else begins meanwhile.
const HELD_MS: u64 = 2 * LETTER_WITHIN.as_millis() as u64;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Decision(DecisionId, Told),
    Factor(FactorLetterId),
}

/// For the log: nobody's name.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decision(decision, told) => write!(f, "{told:?} of {}", UserId(decision.0)),
            Self::Factor(letter) => write!(f, "Factor {}", UserId(letter.0)),
        }
    }
}

/// What became so far of a letter that was not taken.
struct Patience {
    /// Unix milliseconds.
    since: u64,
    again_at: Instant,
    pause: Duration,
    /// How often it was refused after others had been taken.
    refusals: u32,
    /// How many others had been taken then.
    taken: u64,
}

/// One console's sending.
struct Sender {
    /// Names this process.
    id: [u8; 16],
    /// Letters that are still owed after they were not taken.
    waiting: HashMap<Name, Patience>,
    /// How many letters were taken.
    taken: u64,
    /// Its sender is gone once the console stops.
    stopping: watch::Receiver<bool>,
}

/// Sends until the console stops; the letter that is on its way then is noted first.
pub async fn send_owed<S: Desk>(app: App<S>, stopping: watch::Receiver<bool>) {
    let Some(sink) = app.letters.clone() else { return };
    let mut id = [0; 16];
    if let Err(fault) = getrandom::fill(&mut id) {
        tracing::error!(%fault, "no letters are sent: the system has no randomness");
        return;
    }
    let mut sender = Sender { id, waiting: HashMap::new(), taken: 0, stopping };
    let mut pause = EVERY;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            _ = sender.stopping.changed() => return,
        }
        pause = match sender.round(&app, &*sink).await {
            Ok(true) => EVERY,
            Ok(false) => (pause * 2).clamp(AFTER_FAULT, AFTER_FAULTS),
            Err(error) => {
                tracing::warn!(%error, "letters could not be sent; trying again");
                AFTER_FAULT
            }
        };
    }
}

impl Sender {
    /// Sends what is owed and due; false when no letter seems to be taken at present.
    async fn round<S: Desk>(&mut self, app: &App<S>, sink: &dyn MailSink) -> Answer<bool> {
        let owed = owed(app, self.waiting.len()).await?;
        self.waiting.retain(|name, _| owed.contains(name));
        let now = Instant::now();
        let is_due = |name: &Name| self.waiting.get(name).is_none_or(|waits| waits.again_at <= now);
        let due: Vec<_> = owed.into_iter().filter(is_due).collect();
        if due.is_empty() {
            return Ok(true);
        }
        let mut in_a_row = 0;
        for name in due {
            // Each letter goes out under a hold that lasts longer than it takes.
            if self.stopping.has_changed().is_err() || !self.hold(app, HELD_MS).await? {
                break;
            }
            in_a_row = if self.send(app, sink, name).await? { 0 } else { in_a_row + 1 };
            if in_a_row == FAULTS_IN_A_ROW {
                break;
            }
        }
        self.let_go(app).await?;
        Ok(in_a_row < FAULTS_IN_A_ROW)
    }

    async fn hold<S: Desk>(&self, app: &App<S>, for_ms: u64) -> Answer<bool> {
        app.store.hold_work(WORK, self.id, for_ms).await
    }

    /// Whoever else holds it keeps it.
    async fn let_go<S: Desk>(&self, app: &App<S>) -> Answer<()> {
        self.hold(app, 0).await.map(drop)
    }

    /// False when it is still owed. Looked up again: meanwhile another console may have sent it, the decision may be
    /// reversed, the account erased or at another address.
    async fn send<S: Desk>(&mut self, app: &App<S>, sink: &dyn MailSink, name: Name) -> Answer<bool> {
        let Some(letter) = letter(app, name).await? else { return Ok(true) };
        match deliver(sink, letter).await {
            Delivery::Sent => self.taken += 1,
            Delivery::Never => given_up(name),
            refused @ (Delivery::Later | Delivery::Refused) => {
                if self.waits(name, refused, app.clock.now_ms()) {
                    return Ok(false);
                }
                given_up(name);
            }
        }
        self.waiting.remove(&name);
        match name {
            Name::Decision(decision, told) => app.store.letter_sent(decision, told).await?,
            Name::Factor(letter) => app.store.factor_letter_sent(letter).await?,
        }
        Ok(true)
    }

    /// Whether a letter that was not taken is tried again.
    fn waits(&mut self, name: Name, delivery: Delivery, now: u64) -> bool {
        let (taken, pause) = (self.taken, AFTER_FAULT / 2);
        let first = || Patience { since: now, again_at: Instant::now(), pause, refusals: 0, taken };
        let patience = self.waiting.entry(name).or_insert_with(first);
        if delivery == Delivery::Refused && taken > patience.taken {
            (patience.refusals, patience.taken) = (patience.refusals + 1, taken);
        }
        patience.pause = (patience.pause * 2).min(AFTER_FAULTS);
        patience.again_at = Instant::now() + patience.pause;
        let age = now.saturating_sub(patience.since);
        age < GIVEN_UP_MS && (age < REFUSED_MS || patience.refusals < REFUSALS)
    }
}

fn given_up(name: Name) {
    tracing::warn!(letter = %name, "a letter that nobody takes is given up");
}

/// What is owed now, oldest first of each kind; those that wait for another try take no other's place.
async fn owed<S: Desk>(app: &App<S>, waiting: usize) -> Answer<Vec<Name>> {
    let limit = looked_at(waiting);
    let decisions = app.store.due_letters(limit).await?;
    let factors = app.store.due_factor_letters(limit).await?;
    let decisions = decisions.into_iter().map(|letter| Name::Decision(letter.decision, letter.told));
    Ok(decisions.chain(factors.into_iter().map(|letter| Name::Factor(letter.id))).collect())
}

/// How many letters of a kind are looked at while so many wait.
fn looked_at(waiting: usize) -> u32 {
    u32::try_from(waiting).unwrap_or(LETTERS_MAX).saturating_add(LETTERS).min(LETTERS_MAX)
}

/// The letter as it is owed now; `None`: it is not any more.
async fn letter<S: Desk>(app: &App<S>, name: Name) -> Answer<Option<Letter>> {
    Ok(match name {
        Name::Decision(decision, told) => {
            app.store.due_letter(decision, told).await?.map(|letter| notice(app, letter))
        }
        Name::Factor(letter) => app.store.due_factor_letter(letter).await?.map(Letter::factor),
    })
}

/// Only a decision can be answered.
fn notice<S: Desk>(app: &App<S>, letter: DueLetter) -> Letter {
    let link = (letter.told == Told::Decision)
        .then(|| format!("{}/appeal?token={}", app.public_url, app.seal.link_to(letter.decision)));
    Letter::notice(letter.email, letter.text, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_wait_take_no_others_place() {
        assert_eq!([0, 1, 200, 1_500].map(looked_at), [200, 201, 400, 1_700]);
        assert_eq!([1_900, usize::MAX].map(looked_at), [LETTERS_MAX; 2], "but it is bounded");
    }
}
