//! What happens by itself: decisions whose time came take effect, and the letters that they and changed second factors owe
//! go out. Every console does it; the store lets each decision take effect once, also after a crash in between.

use std::time::Duration;

use schema_store::accounts::Answer;
use schema_store::rows::moderation::Told;

use crate::app::App;
use crate::frame::Desk;
use crate::mail::Errand;

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);
/// Pause after the store did not answer.
const AFTER_FAULT: Duration = Duration::from_secs(5);
/// Letters handed over in one go.
const LETTERS: u32 = 32;

/// Looks until it is dropped.
pub async fn look_after<S: Desk>(app: App<S>) {
    loop {
        let pause = match turn(&app).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::warn!(%error, "decisions could not take effect; trying again");
                AFTER_FAULT
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn turn<S: Desk>(app: &App<S>) -> Answer<()> {
    while app.store.apply_due().await?.is_some() {}
    if !app.post.is_open() {
        return Ok(());
    }
    for letter in app.store.due_letters(LETTERS).await? {
        // A full queue is tried again in the next turn.
        let answer = (letter.told == Told::Decision).then(|| app.seal.link_to(letter.decision));
        if !app.post.leave(Errand::Notice { email: letter.email, text: letter.text, answer }) {
            break;
        }
        app.store.letter_sent(letter.decision, letter.told).await?;
    }
    for letter in app.store.due_factor_letters(LETTERS).await? {
        let id = letter.id;
        if !app.post.leave(Errand::Factor(letter)) {
            break;
        }
        app.store.factor_letter_sent(id).await?;
    }
    Ok(())
}
