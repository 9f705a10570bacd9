//! `--demo`: what a product in use has besides open cases, so that the console shows each of its rooms as it is: decisions
//! that need a second pair of eyes, an appeal, banned addresses, people who wait. Made once and kept.

use std::time::Duration;

use bytes::Bytes;
use console::app::Backing;
use schema_store::rows::account::{Activation, NewInvite, Origin, Registration};
use schema_store::rows::console::NewStaff;
use schema_store::rows::device::NewSession;
use schema_store::rows::moderation::{DecisionId, DecisionState, Measure, NewDecision};
use schema_store::rows::role::AccountRole;
use schema_store::rows::service::NewServiceToken;
use schema_store::{AccountError, NewToken};
use schema_wire::record::Append;
use schema_wire::{Network, PublishKey, UserId};

use super::practice::{account, report};
use crate::backup::unix_ms;
use crate::failure::Failure;

/// Who waits to be let in. Made last: where it is, the rest is.
const NEWCOMER: &str = "newcomer@demo.example";
/// How long what is made here works.
const WEEK_MS: u64 = 7 * 86_400_000;
/// Messages that one of the accounts has sent.
const MESSAGES: u8 = 20;
/// How often it is looked whether a decision took effect, and how many times.
const LOOK: Duration = Duration::from_secs(1);
const LOOKS: u32 = 60;

/// Whose names are under what is made.
pub struct Staff {
    pub colleague: UserId,
    pub administrator: UserId,
}

/// Makes it, unless an earlier start did.
pub async fn furnish<S: Backing>(store: &S, staff: &Staff, reporter: UserId) -> Result<(), Failure> {
    match store.find_user(NEWCOMER.to_owned()).await {
        Ok(_) => return Ok(()),
        Err(AccountError::NotFound) => {}
        Err(error) => return Err(Failure::other(error)),
    }
    decisions(store, staff, reporter).await?;
    chatter(store).await?;
    addresses(store, staff).await?;
    let administrator = Origin { actor: Some(staff.administrator), ..Origin::system() };
    let (_, token) = NewToken::generate(unix_ms() + WEEK_MS);
    let invite = NewInvite { token, email: Some("invited@demo.example".to_owned()), role: AccountRole::User };
    store.create_invite(invite, administrator.clone()).await.map_err(Failure::other)?;
    let (_, token) = NewToken::generate(unix_ms() + WEEK_MS);
    let service = NewServiceToken { token, name: "ticket desk".to_owned(), role: AccountRole::Auditor };
    store.create_service_token(service, administrator.clone()).await.map_err(Failure::other)?;
    let new = NewStaff {
        email: "second.engineer@demo.example".to_owned(),
        name: "second engineer".to_owned(),
        role: AccountRole::Sre,
    };
    once(store.ask_staff(new, administrator).await)?;
    let new = Registration {
        email: NEWCOMER.to_owned(),
        name: "newcomer".to_owned(),
        password_hash: "none".to_owned(),
        invite: None,
        activation: Activation::Approval,
    };
    store.register(new, Origin::system()).await.map_err(Failure::other).map(drop)
}

/// What was there already, from a start that was cut short, is as good.
fn once<T>(done: Result<T, AccountError>) -> Result<(), Failure> {
    match done {
        Ok(_) | Err(AccountError::Overtaken | AccountError::EmailTaken | AccountError::TooMany { .. }) => {
            Ok(())
        }
        Err(error) => Err(Failure::other(error)),
    }
}

/// A ban that waits for a second moderator, and a warning that is appealed against once it took effect.
async fn decisions<S: Backing>(store: &S, staff: &Staff, reporter: UserId) -> Result<(), Failure> {
    let colleague = Origin { actor: Some(staff.colleague), ..Origin::system() };
    let decision = |subject, measure, notice: &str| NewDecision {
        subject,
        moderator: staff.colleague,
        acts_as: None,
        measures: vec![measure],
        days: 0,
        with_address: false,
        reason: "rules".to_owned(),
        notice: Some(format!("{notice}\n\nModerator M-000000")),
    };
    if let Some(subject) = account(store, 11).await? {
        report(store, reporter, subject, ("ILLEGAL", "", "Passports, any country, a week.")).await?;
        let ban = decision(subject, Measure::Ban, "You sold what nobody may sell.");
        once(store.decide(ban, colleague.clone()).await)?;
        let note = "Came back under another name before.".to_owned();
        store.add_note(subject, note, colleague.clone()).await.map_err(Failure::other)?;
    }
    if let Some(subject) = account(store, 12).await? {
        let warning = decision(subject, Measure::Warn, "Please stay on the subject.");
        let made = store.decide(warning, colleague).await.map_err(Failure::other)?;
        tokio::spawn(appeal(store.clone(), made.id, subject));
    }
    Ok(())
}

/// The account appeals as soon as it was told.
async fn appeal<S: Backing>(store: S, decision: DecisionId, subject: UserId) {
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK).await;
        let is_done = store.decision(decision).await.is_ok_and(|found| found.state == DecisionState::Done);
        let by = Origin { actor: Some(subject), ..Origin::system() };
        let text = "I was on the subject: somebody else had changed it.".to_owned();
        if is_done && store.appeal(decision, text, by).await.is_ok() {
            return;
        }
    }
}

/// One account to practise on has written to another.
async fn chatter<S: Backing>(store: &S) -> Result<(), Failure> {
    let user = async |n: u8| store.find_user(format!("practice{n:02}@demo.example")).await;
    let (one, other) = match (user(1).await, user(2).await) {
        (Ok(one), Ok(other)) => (one.user, other.user),
        // One of them was erased: that is what practising is for.
        _ => return Ok(()),
    };
    let (_, refresh) = NewToken::generate(unix_ms() + WEEK_MS);
    let new = NewSession { user: one, device: None, device_name: "phone".to_owned(), refresh, rehash: None };
    let Ok(session) = store.open_session(new, Origin::system()).await else { return Ok(()) };
    let Ok((conversation, _)) = store.create_direct(one, other).await else { return Ok(()) };
    // The other one asks as well: of a stranger's messages only the first few are kept.
    let Ok(_) = store.create_direct(other, one).await else { return Ok(()) };
    let message = |n: u8| Append {
        conversation,
        publish_key: PublishKey([n; 16]),
        sender: one,
        device: session.device,
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::from(format!("Cheap watches, offer {n}.")),
        commitment: None,
    };
    let sent = store.append((0..MESSAGES).map(message).collect()).await;
    sent.map_err(|fault| Failure::other(AccountError::from(fault))).map(drop)
}

/// A banned address, and a block of them that waits for a second moderator. Both are of networks for documentation.
async fn addresses<S: Backing>(store: &S, staff: &Staff) -> Result<(), Failure> {
    let network = |text: &str| Network::parse(text).expect("it is written right");
    let by = |user| Origin { actor: Some(user), ..Origin::system() };
    let banned = network("198.51.100.7/32");
    let reason = "registers robots".to_owned();
    once(store.set_address_ban(banned, true, reason, by(staff.administrator)).await)?;
    let asked = network("192.0.2.0/24");
    once(store.ask_address_ban(asked, "a botnet".to_owned(), by(staff.colleague)).await)
}
