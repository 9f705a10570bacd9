//! What moderation decides without a store: the rules both implementations go by.

use schema_wire::record::UserStatus;
use schema_wire::{Network, UserId};

use super::{
    APPEAL_MS, BLOCK_BITS_MIN, EVIDENCE_BYTES_MAX, REVERSED_NOTICE, SUSPENSION_DAYS, TEXT_BYTES_MAX, UNDO_MS,
    UPHELD_NOTICE,
};
use crate::accounts::{AccountError, Answer};
use crate::franking::commitment;
use crate::rows::account::{Origin, StatusChange};
use crate::rows::moderation::{
    Appeal, AppealState, Decision, DecisionState, Measure, NewDecision, NewReport, Proof,
};
use crate::rows::role::AccountRole;

const DAY_MS: u64 = 86_400_000;

/// What goes together in one decision.
pub(crate) fn must_be_sound(new: &NewDecision) -> Answer<()> {
    let invalid = |field, problem| Err(AccountError::Invalid { field, problem });
    let has = |measure| new.measures.contains(&measure);
    let closes = has(Measure::Dismiss) || has(Measure::Mute);
    if new.measures.is_empty()
        || (closes && new.measures.len() > 1)
        || (has(Measure::Suspend) && has(Measure::Ban))
    {
        return invalid("measures", "do not go together");
    }
    if has(Measure::Suspend) && !SUSPENSION_DAYS.contains(&new.days) {
        return invalid("days", "between 7 and 30");
    }
    if new.notice.as_ref().is_some_and(|notice| notice.len() > TEXT_BYTES_MAX) {
        return invalid("notice", "at most 2048 bytes");
    }
    must_be_told("reason", &new.reason)
}

/// A text that says something, and not too much.
pub(crate) fn must_be_told(field: &'static str, text: &str) -> Answer<()> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(AccountError::Invalid { field, problem: "between 1 and 2048 bytes" });
    }
    Ok(())
}

/// What may be decided about whom: nothing about oneself, about staff by administrators only.
pub(crate) fn must_be_allowed(
    new: &NewDecision,
    standing: UserStatus,
    subject: AccountRole,
    moderator: AccountRole,
) -> Answer<()> {
    let has = |measure| new.measures.contains(&measure);
    if standing == UserStatus::Banned && (has(Measure::Suspend) || has(Measure::Ban)) {
        return Err(AccountError::NotActive(standing));
    }
    if new.subject == new.moderator {
        return Err(AccountError::NotAllowed);
    }
    must_be_above(subject, authority(moderator, new.acts_as))
}

/// The lesser of one's own role and the one that was lent for it.
fn authority(own: AccountRole, acts_as: Option<AccountRole>) -> AccountRole {
    acts_as.filter(|_| own == AccountRole::Admin).unwrap_or(own)
}

/// Staff are for administrators only: what is decided about them, and what becomes of that.
pub(crate) fn must_be_above(subject: AccountRole, moderator: AccountRole) -> Answer<()> {
    let is_above = subject == AccountRole::User || moderator == AccountRole::Admin;
    is_above.then_some(()).ok_or(AccountError::NotAllowed)
}

/// Where a decision begins, and when it takes effect unless it waits.
pub(crate) fn beginning(new: &NewDecision, now: u64) -> (DecisionState, Option<u64>) {
    if new.measures.contains(&Measure::Ban) {
        (DecisionState::Waiting, None)
    } else {
        (DecisionState::Pending, Some(now + UNDO_MS))
    }
}

/// The second pair of eyes: neither whoever decided nor whom it is about.
pub(crate) fn must_be_second(decision: &Decision, by: &Origin) -> Answer<UserId> {
    let moderator = by.actor.ok_or(AccountError::NotAllowed)?;
    if decision.state != DecisionState::Waiting {
        return Err(AccountError::Overtaken);
    }
    if moderator == decision.moderator || moderator == decision.subject {
        return Err(AccountError::NotAllowed);
    }
    Ok(moderator)
}

/// Only whoever decided, or agreed, takes a decision back before it takes effect.
pub(crate) fn must_be_undoable(decision: &Decision, by: &Origin, now: u64) -> Answer<()> {
    let is_own = by.actor.is_some_and(|user| user == decision.moderator || Some(user) == decision.second);
    if !is_own {
        return Err(AccountError::NotAllowed);
    }
    match decision.state {
        DecisionState::Waiting => Ok(()),
        DecisionState::Pending if decision.due_at.is_some_and(|due| due > now) => Ok(()),
        _ => Err(AccountError::Overtaken),
    }
}

/// Whether an account that is out since then is so because of this decision, and of nothing that came later.
pub(crate) fn is_out_by(decision: &Decision, standing: UserStatus, since: Option<u64>) -> bool {
    let is_such = match standing {
        UserStatus::Suspended { .. } => decision.measures.contains(&Measure::Suspend),
        UserStatus::Banned => decision.measures.contains(&Measure::Ban),
        _ => false,
    };
    is_such && since.is_some() && since == decision.ended_at
}

/// Whether the account is out once the decision took effect.
pub(crate) fn takes_out(decision: &Decision) -> bool {
    decision.measures.iter().any(|measure| matches!(measure, Measure::Suspend | Measure::Ban))
}

/// What a decision weighs: the most that it does.
pub(crate) fn gravest(measures: &[Measure]) -> Option<Measure> {
    [Measure::Ban, Measure::Suspend, Measure::Warn, Measure::Mute, Measure::Dismiss]
        .into_iter()
        .find(|measure| measures.contains(measure))
}

/// When the suspension of a decision ends that took effect then.
pub(crate) fn suspended_until(decision: &Decision, began: u64) -> u64 {
    began.saturating_add(u64::from(decision.days) * DAY_MS)
}

/// What the other decisions that stand demand of an account still: the latest ban, or the suspension that ends last.
pub(crate) fn still_demanded(others: &[Decision], now: u64) -> Option<(&Decision, StatusChange)> {
    let began = |decision: &&Decision| decision.ended_at.unwrap_or(0);
    let bans = others.iter().filter(|decision| decision.measures.contains(&Measure::Ban));
    if let Some(ban) = bans.max_by_key(began) {
        return Some((ban, StatusChange::Ban));
    }
    let suspensions = others.iter().filter(|decision| decision.measures.contains(&Measure::Suspend));
    let (until, longest) = suspensions
        .map(|decision| (suspended_until(decision, began(&decision)), decision))
        .max_by_key(|(until, _)| *until)?;
    (until > now).then_some((longest, StatusChange::Suspend { until: Some(until) }))
}

/// Somebody else, with evidence of sensible size.
pub(crate) fn must_be_reportable(new: &NewReport) -> Answer<()> {
    if new.subject == new.reporter {
        return Err(AccountError::Invalid { field: "user", problem: "is yourself" });
    }
    if new.evidence.as_ref().is_some_and(|evidence| evidence.len() > EVIDENCE_BYTES_MAX) {
        return Err(AccountError::Invalid { field: "evidence", problem: "at most 64 KiB" });
    }
    Ok(())
}

/// What disclosed evidence is worth beside the message that is kept.
pub(crate) fn proof_of(
    new: &NewReport,
    sender: UserId,
    body: &[u8],
    promised: Option<&[u8]>,
) -> Answer<Proof> {
    if sender != new.subject {
        return Err(AccountError::Invalid { field: "message", problem: "was sent by somebody else" });
    }
    let Some(evidence) = &new.evidence else { return Ok(Proof::None) };
    if evidence == body {
        return Ok(Proof::Stored);
    }
    let fits = new.opening.is_some_and(|opening| promised == Some(&commitment(&opening, evidence)));
    Ok(if fits { Proof::Committed } else { Proof::Claimed })
}

/// No block so wide that it holds whole continents.
pub(crate) fn must_be_narrow(network: Network) -> Answer<()> {
    let (four, six) = BLOCK_BITS_MIN;
    let least = if network.first().is_ipv4() { four } else { six };
    if network.prefix() < least {
        return Err(AccountError::Invalid { field: "network", problem: "at least /8 of IPv4, /16 of IPv6" });
    }
    Ok(())
}

/// Whether a decision can be appealed against by this account; `None`: whoever was given the letter.
pub(crate) fn must_be_open_to_appeal(decision: &Decision, user: Option<UserId>, now: u64) -> Answer<()> {
    if user.is_some_and(|user| user != decision.subject) || decision.notice.is_none() {
        return Err(AccountError::NotFound);
    }
    if decision.state != DecisionState::Done {
        return Err(AccountError::Overtaken);
    }
    if decision.ended_at.unwrap_or(0).saturating_add(APPEAL_MS) <= now {
        return Err(AccountError::Invalid {
            field: "decision",
            problem: "took effect more than 180 days ago",
        });
    }
    Ok(())
}

/// The decisions an account was told of, each with its appeal.
pub(crate) fn told(decisions: Vec<Decision>, mut appeals: Vec<Appeal>) -> Vec<(Decision, Option<Appeal>)> {
    let stood = |decision: &Decision| matches!(decision.state, DecisionState::Done | DecisionState::Reversed);
    let told = decisions.into_iter().filter(|decision| decision.notice.is_some() && stood(decision));
    told.map(|decision| {
        let own = appeals.iter().position(|appeal| appeal.decision == decision.id);
        let appeal = own.map(|at| appeals.swap_remove(at));
        (decision, appeal)
    })
    .collect()
}

/// What an account is told of its appeal; of one that nobody answered before the decision was reversed, only that it was.
pub(crate) fn outcome(state: AppealState, answer: &str) -> String {
    match state {
        AppealState::Granted if answer.is_empty() => REVERSED_NOTICE.to_owned(),
        AppealState::Granted => format!("{REVERSED_NOTICE}\n\n{answer}"),
        AppealState::Upheld | AppealState::Open => format!("{UPHELD_NOTICE}\n\n{answer}"),
    }
}

/// Whether a decision only closes reports.
pub(crate) fn only_closes(decision: &Decision) -> bool {
    matches!(decision.measures[..], [Measure::Dismiss | Measure::Mute])
}
