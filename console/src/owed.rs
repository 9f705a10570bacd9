//! Letters that decisions, answers to appeals and changed second factors owe: the store knows them until a server took them,
//! so that neither an outage of that server nor a crash loses one. One console sends at a time; if it dies between a
//! letter and the note that it is sent, the letter goes out twice.

use std::collections::HashMap;
use std::time::Duration;

use schema_store::accounts::Answer;
use schema_store::rows::console::FactorLetterId;
use schema_store::rows::moderation::{DecisionId, Told};

use crate::app::App;
use crate::frame::Desk;
use crate::mail::{Delivery, Errand, LETTER_WITHIN};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);
/// Pause after a letter that was not taken, doubled up to the longest one.
const AFTER_FAULT: Duration = Duration::from_secs(5);
const AFTER_FAULTS: Duration = Duration::from_secs(300);
/// Letters of a kind looked at in one go.
const LETTERS: u32 = 200;
/// A letter that nobody takes for so long is given up, in milliseconds.
const GIVEN_UP_MS: u64 = 24 * 3_600_000;
const WORK: &str = "letters";
/// Longer than one letter takes, so that nobody else begins meanwhile.
const HELD_MS: u64 = 2 * LETTER_WITHIN.as_millis() as u64;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Decision(DecisionId, Told),
    Factor(FactorLetterId),
}

/// One console's sending.
struct Sender {
    /// Names this process.
    id: [u8; 16],
    /// When each letter that is still owed was refused first, unix milliseconds.
    refused: HashMap<Name, u64>,
}

/// Sends until it is dropped.
pub async fn send_owed<S: Desk>(app: App<S>) {
    let mut id = [0; 16];
    if let Err(fault) = getrandom::fill(&mut id) {
        tracing::error!(%fault, "no letters are sent: the system has no randomness");
        return;
    }
    let mut sender = Sender { id, refused: HashMap::new() };
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(pause).await;
        pause = match sender.round(&app).await {
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
    /// Sends what is owed; false when something still is.
    async fn round<S: Desk>(&mut self, app: &App<S>) -> Answer<bool> {
        if !app.post.is_open() || owed(app).await?.is_empty() || !self.hold(app, HELD_MS).await? {
            return Ok(true);
        }
        // Once more: what another console sent meanwhile is owed no longer.
        let letters = owed(app).await?;
        self.refused.retain(|name, _| letters.iter().any(|(owed, _)| owed == name));
        let mut all = true;
        for (name, errand) in letters {
            if !self.hold(app, HELD_MS).await? {
                return Ok(true);
            }
            all &= self.send(app, name, errand).await?;
        }
        self.hold(app, 0).await?;
        Ok(all)
    }

    async fn hold<S: Desk>(&self, app: &App<S>, for_ms: u64) -> Answer<bool> {
        app.store.hold_work(WORK, self.id, for_ms).await
    }

    /// False when it is still owed.
    async fn send<S: Desk>(&mut self, app: &App<S>, name: Name, errand: Errand) -> Answer<bool> {
        let now = app.clock.now_ms();
        match app.post.deliver(errand).await {
            Delivery::Sent => {}
            Delivery::Later if now < *self.refused.entry(name).or_insert(now) + GIVEN_UP_MS => {
                return Ok(false);
            }
            Delivery::Later | Delivery::Never => tracing::warn!("a letter that nobody takes is given up"),
        }
        match name {
            Name::Decision(decision, told) => app.store.letter_sent(decision, told).await?,
            Name::Factor(letter) => app.store.factor_letter_sent(letter).await?,
        }
        Ok(true)
    }
}

/// What is owed now, oldest first of each kind.
async fn owed<S: Desk>(app: &App<S>) -> Answer<Vec<(Name, Errand)>> {
    let decisions = app.store.due_letters(LETTERS).await?.into_iter();
    let factors = app.store.due_factor_letters(LETTERS).await?.into_iter();
    let decisions = decisions.map(|letter| {
        let answer = (letter.told == Told::Decision).then(|| app.seal.link_to(letter.decision));
        let name = Name::Decision(letter.decision, letter.told);
        (name, Errand::Notice { email: letter.email, text: letter.text, answer })
    });
    Ok(decisions.chain(factors.map(|letter| (Name::Factor(letter.id), Errand::Factor(letter)))).collect())
}
