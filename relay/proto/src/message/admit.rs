//! Admit: is this a publish at all, of a size and at a rate this user may send? Runs on the session's shard.

use schema_wire::publication::kind;
use schema_wire::record::Append;
use schema_wire::v1::{Notify, Publish, Ring};
use schema_wire::{ConversationId, Offset, PublishKey, Refused, SessionId, Step, UserId};

use crate::effect::{Effect, Out};
use crate::event::Taken;
use crate::message::authorise;
use crate::outward::{No, refuse};
use crate::planted::Fault;
use crate::session::share;
use crate::state::State;
use crate::state::allowance::Look;
use crate::state::session::Publishing;

/// Longest life a publisher may give a message, in seconds.
const EXPIRES_IN_MAX: u32 = 366 * 24 * 3_600;
/// How long a call invitation is kept, in seconds.
const RING_EXPIRES_IN: u32 = 60;
/// Which part of the message limit may be taken from the count of all nodes at once.
const TAKEN_AT_ONCE: u32 = 16;
/// When a client should try again elsewhere, in milliseconds.
const DRAINING_RETRY_MS: u32 = 200;

/// A client wants to append a message.
pub(crate) fn publish(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, publish: Publish) {
    let append = match shape(state, id, publish) {
        Ok(append) => append,
        Err(no) => return refuse(state, out, id, request, no),
    };
    go_on(state, out, id, request, append);
}

/// A publish of the right shape; also one that waited for its user's part of the message limit.
pub(crate) fn go_on(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, append: Append) {
    if !state.sessions.contains_key(&id) {
        return;
    }
    let no = match admit(state, out, id, &append) {
        Verdict::Admitted => {
            out.measured(Step::Admit, state.now.mono_us);
            return authorise::publish(state, out, id, request, append);
        }
        Verdict::Wait => match park(state, id, request, append) {
            Ok(()) => return,
            Err(no) => no,
        },
        Verdict::Refused(no) => no.conversation(append.conversation).publish_key(append.publish_key),
    };
    refuse(state, out, id, request, no);
}

enum Verdict {
    Admitted,
    /// The message limit is being dealt among shards, or counted among nodes.
    Wait,
    Refused(No),
}

fn park(state: &mut State, id: SessionId, request: u64, append: Append) -> Result<(), No> {
    let most = state.limits().publishes;
    let parked = &mut state.allowances.entry(append.sender).or_default().parked;
    if parked.len() >= most {
        let busy = No::from(Refused::Busy).retry_after_ms(state.appends.retry_ms(state.now.mono_us));
        return Err(busy.conversation(append.conversation).publish_key(append.publish_key));
    }
    parked.push((id, request, append));
    Ok(())
}

/// A client calls the others: a message of its own kind that is kept for a minute.
pub(crate) fn ring(state: &mut State, out: &mut Out<'_>, id: SessionId, request: u64, ring: Ring) {
    let as_publish = Publish {
        conversation: ring.conversation,
        publish_key: ring.publish_key,
        kind: kind::RING,
        expires_in: Some(RING_EXPIRES_IN),
        notify: Notify::Urgent.into(),
        body: ring.body,
        ..Default::default()
    };
    publish(state, out, id, request, as_publish);
}

fn shape(state: &State, id: SessionId, publish: Publish) -> Result<Append, No> {
    let malformed = |advice: &str| No::from(Refused::Malformed).because(advice);
    let conversation = ConversationId::from_slice(&publish.conversation)
        .ok_or_else(|| malformed("`conversation` must be 16 bytes."))?;
    let publish_key = PublishKey::from_slice(&publish.publish_key)
        .filter(|key| *key != PublishKey::default())
        .ok_or_else(|| malformed("`publish_key` must be 16 random bytes.").conversation(conversation))?;
    let about = |no: No| no.conversation(conversation).publish_key(publish_key);
    if publish.body.len() > state.limits().body_bytes {
        return Err(about(Refused::TooLarge.into()));
    }
    if (kind::RING + 1..kind::CLIENT_MIN).contains(&publish.kind) {
        return Err(about(
            No::from(Refused::Unsupported).because("Kinds 3 to 15 are reserved; use 16 and up."),
        ));
    }
    if !publish.targets.is_empty() || publish.commitment.is_some() {
        let advice = "`targets` and `commitment` need a capability this relay does not offer.";
        return Err(about(No::from(Refused::Unsupported).because(advice)));
    }
    if publish.kind == kind::DELETE && publish.relates_to.is_none_or(|offset| offset == 0) {
        return Err(about(malformed("A delete needs `relates_to`.")));
    }
    if publish.expires_in.is_some_and(|s| s == 0 || s > EXPIRES_IN_MAX) {
        return Err(about(malformed("`expires_in` must be between one second and one year.")));
    }
    let session = state.sessions.get(&id).expect("the front door found the session");
    Ok(Append {
        conversation,
        publish_key,
        sender: session.user,
        device: session.device,
        kind: publish.kind,
        relates_to: publish.relates_to.map(Offset),
        expires_in: publish.expires_in,
        expected_epoch: publish.expected_epoch,
        notify: publish.notify.to_i32(),
        body: publish.body,
        commitment: None,
    })
}

fn admit(state: &mut State, out: &mut Out<'_>, id: SessionId, append: &Append) -> Verdict {
    if state.drain.is_some() && !state.planted(Fault::PublishWhileDraining) {
        return Verdict::Refused(No::from(Refused::Draining).retry_after_ms(DRAINING_RETRY_MS));
    }
    let now_us = state.now.mono_us;
    let session = state.sessions.get(&id).expect("the front door found the session");
    if session.publishing.len() >= state.limits().publishes {
        return Verdict::Refused(
            No::from(Refused::Busy).retry_after_ms(state.appends.retry_ms(state.now.mono_us)),
        );
    }
    let verdict = within_limit(state, out, append.sender);
    if matches!(verdict, Verdict::Admitted) {
        let session = state.sessions.get_mut(&id).expect("the front door found the session");
        session.publishing.insert(append.publish_key, Publishing { accepted_us: now_us });
    }
    verdict
}

/// The message limit of the user, or this shard's part of it. Retries count too.
fn within_limit(state: &mut State, out: &mut Out<'_>, user: UserId) -> Verdict {
    if state.planted(Fault::RateLimitIgnored) {
        return Verdict::Admitted;
    }
    let (now_us, limits) = (state.now.mono_us, &state.config.limits);
    let ignored = state.planted(Fault::SharedLimitIgnored);
    let (whole_us, shared_us) = (share::window_us(state), share::shared_window_us(state));
    let allowance = state.allowances.entry(user).or_default();
    let Some(part) = allowance.share.map(|part| part.min(limits.publish_limit)) else { return Verdict::Wait };
    if state.config.peers && !ignored {
        match allowance.taken.look(now_us, limits.publish_limit / TAKEN_AT_ONCE) {
            Look::Free => {}
            Look::Ask(count) => {
                out.push(Effect::Take { user, count });
                return Verdict::Wait;
            }
            Look::Wait => return Verdict::Wait,
            Look::Dry(wait_us) => return rate_limited(wait_us),
        }
    }
    let window_us = if part >= limits.publish_limit { whole_us } else { shared_us };
    match allowance.accept(now_us, window_us, part) {
        Ok(()) => {
            allowance.taken.spend();
            Verdict::Admitted
        }
        Err(_) if share::ask_again(state, out, user) => Verdict::Wait,
        Err(wait_us) => rate_limited(wait_us),
    }
}

fn rate_limited(wait_us: u64) -> Verdict {
    let wait_ms = u32::try_from(wait_us.div_ceil(1_000)).unwrap_or(u32::MAX);
    Verdict::Refused(No::from(Refused::RateLimited).retry_after_ms(wait_ms))
}

/// The count of all nodes answered: what waited for it goes on.
pub(crate) fn taken(state: &mut State, out: &mut Out<'_>, user: UserId, taken: Option<Taken>) {
    let (now_us, taken_us) = (state.now.mono_us, state.limits().taken_us());
    let Some(allowance) = state.allowances.get_mut(&user) else { return };
    allowance.taken.fill(now_us, taken_us, taken);
    for (session, request, append) in core::mem::take(&mut allowance.parked) {
        go_on(state, out, session, request, append);
    }
}
