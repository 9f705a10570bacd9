//! The console's view of the store: who is signed in to it, second factors, lock-outs after failed attempts, and how
//! somebody gets a role in it.

mod roles;

use std::future::Future;

use schema_wire::UserId;

use crate::accounts::Answer;
use crate::rows::account::Origin;
use crate::rows::console::{
    Agreed, ChallengePurpose, ConsoleSession, FactorLetter, FactorLetterId, KeyUse, NewConsoleSession,
    NewSecurityKey, NewStaff, RoleChange, SecondFactor, SecurityKey, SecurityKeyId, StaffRequest,
    StaffRequestId,
};
use crate::token::{NewToken, TokenHash};

pub(crate) use roles::Concerned;

/// Failures that cost nothing yet.
pub const FREE_FAILURES: u32 = 4;
/// First wait after one failure too many, in milliseconds; each further failure doubles it.
pub const FIRST_WAIT_MS: u64 = 30_000;
/// Longest wait, in milliseconds.
pub const LONGEST_WAIT_MS: u64 = 3_600_000;
/// Failures older than this are forgotten, in milliseconds.
pub const FAILURES_KEPT_MS: u64 = 24 * 3_600_000;
/// A session nobody used for so long is over, in milliseconds.
pub const SESSION_IDLE_MS: u64 = 30 * 60_000;
/// Uses closer together than this are not written down one by one, in milliseconds.
pub const SEEN_EVERY_MS: u64 = 60_000;

/// A secret that was shown but not confirmed makes room for another one after so long, in milliseconds.
pub const UNCONFIRMED_FACTOR_MS: u64 = 15 * 60_000;

/// Security keys of one account.
pub const SECURITY_KEYS_MAX: usize = 10;
/// A challenge to a security key is worth something for so long, in milliseconds.
pub const CHALLENGE_MS: u64 = 2 * 60_000;

/// A letter about second factors that could not be sent for so long is forgotten, in milliseconds.
pub const FACTOR_LETTERS_MS: u64 = 7 * 86_400_000;

/// Whether a signature counter may follow the one seen last: a copy of the key falls behind. Keys without a counter always
/// say 0.
pub(crate) const fn counts_on(kept: u32, shown: u32) -> bool {
    shown > kept || (shown == 0 && kept == 0)
}

/// How long to wait after so many failures.
pub const fn wait_after(failures: u32) -> u64 {
    if failures <= FREE_FAILURES {
        return 0;
    }
    let doublings = failures - FREE_FAILURES - 1;
    let wait = if doublings >= 16 { LONGEST_WAIT_MS } else { FIRST_WAIT_MS << doublings };
    if wait > LONGEST_WAIT_MS { LONGEST_WAIT_MS } else { wait }
}

/// What the console needs to know who is using it. Each call is one transaction, audit entries included.
pub trait ConsoleAccess: Clone + Send + Sync + 'static {
    /// Until when this subject may not even try (unix ms; 0: it may).
    fn locked_until(&self, subject: [u8; 32]) -> impl Future<Output = Answer<u64>> + Send;
    /// Counts a failed attempt and writes LOGIN_FAILED; until when the subject is locked now.
    fn count_failure(
        &self,
        subject: [u8; 32],
        user: Option<UserId>,
        reason: &'static str,
        by: Origin,
    ) -> impl Future<Output = Answer<u64>> + Send;

    /// Opens a session, ends the one it replaces, and writes LOGIN once it is a full one; then failures are forgotten.
    /// Refused with `NotActive` unless the account is active, with `NotAllowed` unless it has a role in the console.
    fn open_console_session(
        &self,
        new: NewConsoleSession,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// The session behind a cookie: not expired, not idle, of an active account whose role is still the same.
    fn console_session(&self, id: TokenHash) -> impl Future<Output = Answer<Option<ConsoleSession>>> + Send;
    /// Full sessions of one account, newest first.
    fn console_sessions(&self, user: UserId) -> impl Future<Output = Answer<Vec<ConsoleSession>>> + Send;
    /// Ends one session of this account. `NotFound`: it has no such session.
    fn close_console_session(
        &self,
        user: UserId,
        id: TokenHash,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Ends all sessions of this account but one; how many.
    fn close_other_console_sessions(
        &self,
        user: UserId,
        keep: TokenHash,
        by: Origin,
    ) -> impl Future<Output = Answer<u64>> + Send;

    /// The account's second factor.
    fn second_factor(&self, user: UserId) -> impl Future<Output = Answer<Option<SecondFactor>>> + Send;
    /// The secret that this session is shown until it confirms it: this one, or the one of less than
    /// `UNCONFIRMED_FACTOR_MS` ago. No other session is shown the same. `Overtaken` when there is a second factor;
    /// `NotFound`: the session is over.
    fn begin_second_factor(
        &self,
        user: UserId,
        session: TokenHash,
        secret: Vec<u8>,
    ) -> impl Future<Output = Answer<Vec<u8>>> + Send;
    /// What this session is shown at present.
    fn shown_second_factor(
        &self,
        user: UserId,
        session: TokenHash,
    ) -> impl Future<Output = Answer<Option<Vec<u8>>>> + Send;
    /// The session showed a code of this secret, of this time step: the secret is the account's second factor, and what
    /// other sessions were shown is worth nothing. `Overtaken`: another one is, or a key was added since it was shown.
    fn confirm_second_factor(
        &self,
        user: UserId,
        session: TokenHash,
        shown: (Vec<u8>, u64),
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Writes the same secret in another form, if it is still kept in this one.
    fn rewrite_second_factor(
        &self,
        user: UserId,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Uses the code of a time step up. False: used before, or older than one used.
    fn use_second_factor(&self, user: UserId, step: u64) -> impl Future<Output = Answer<bool>> + Send;

    /// Keeps a challenge of this session for `CHALLENGE_MS`; one that was there for the same purpose is void. `NotFound`:
    /// the session is over.
    fn begin_challenge(
        &self,
        session: TokenHash,
        purpose: ChallengePurpose,
        challenge: [u8; 32],
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Takes the challenge, which is worth nothing from then on. `None`: there is none, or it is too old.
    fn take_challenge(
        &self,
        session: TokenHash,
        purpose: ChallengePurpose,
    ) -> impl Future<Output = Answer<Option<[u8; 32]>>> + Send;
    /// The account's security keys, oldest first.
    fn security_keys(&self, user: UserId) -> impl Future<Output = Answer<Vec<SecurityKey>>> + Send;
    /// Keeps one; secrets of codes that were never confirmed are forgotten. `Overtaken`: the key is kept already, for
    /// whomever; `TooMany`: the account has enough.
    fn add_security_key(
        &self,
        user: UserId,
        new: NewSecurityKey,
        by: Origin,
    ) -> impl Future<Output = Answer<SecurityKeyId>> + Send;
    /// Writes down that it was used, and what it said. False: the counter did not grow, so that there may be a copy of the
    /// key; that is written as SUSPICIOUS_ACTIVITY.
    fn use_security_key(
        &self,
        user: UserId,
        key: SecurityKeyId,
        used: KeyUse,
        by: Origin,
    ) -> impl Future<Output = Answer<bool>> + Send;
    /// Forgets one of this account. `NotFound`: it has no such key; `NotAllowed`: it is an administrator's only second
    /// factor.
    fn remove_security_key(
        &self,
        user: UserId,
        key: SecurityKeyId,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Forgets all second factors of an account and ends its sessions in the console, for whoever lost them; how many
    /// factors. `NotFound`: there is no such account.
    fn forget_second_factors(&self, user: UserId, by: Origin) -> impl Future<Output = Answer<u64>> + Send;
    /// Letters about second factors that are still to be sent, oldest first: each change above owes one.
    fn due_factor_letters(&self, limit: u32) -> impl Future<Output = Answer<Vec<FactorLetter>>> + Send;
    /// One of them, to the address that the account has now; `None`: it is not owed any more.
    fn due_factor_letter(
        &self,
        letter: FactorLetterId,
    ) -> impl Future<Output = Answer<Option<FactorLetter>>> + Send;
    /// One was handed over.
    fn factor_letter_sent(&self, letter: FactorLetterId) -> impl Future<Output = Answer<()>> + Send;

    /// Asks for an account with a role; another administrator has to agree. `EmailTaken`: there is such an account.
    /// `Overtaken`: somebody asked for it already. `NotAllowed` for whoever is no administrator.
    fn ask_staff(&self, new: NewStaff, by: Origin) -> impl Future<Output = Answer<StaffRequestId>> + Send;
    /// Takes it back. `Overtaken`: nobody asks any more.
    fn withdraw_staff(&self, wanted: StaffRequestId, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// Agrees: the account is made, and chooses its password with this token; or it gets the role, as by `change_role`. One
    /// that had none chooses a new password with the token as well, since somebody else may know the old one, or hold a
    /// link for it: those are void. `NotAllowed` for whoever asked.
    fn agree_to_staff(
        &self,
        wanted: StaffRequestId,
        reset: NewToken,
        by: Origin,
    ) -> impl Future<Output = Answer<Agreed>> + Send;
    /// What is asked for, oldest first.
    fn staff_asked(&self, limit: u32) -> impl Future<Output = Answer<Vec<StaffRequest>>> + Send;

    /// Changes a role at once. The account's sessions in the console end, and so does what was asked for it, or by it as
    /// an administrator. Without an actor whoever runs the machine decides. `NotAllowed`: oneself, for whoever is no
    /// administrator, and what takes two; `Overtaken`: it has another role by now, or this one already; `NotActive`: only
    /// an active account gets what takes two; `LastAdministrator`: nobody else is one.
    fn change_role(&self, change: RoleChange, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// Asks for what takes two. Refused like `change_role`; `Overtaken` also when somebody asked for it already.
    fn ask_role(&self, change: RoleChange, by: Origin)
    -> impl Future<Output = Answer<StaffRequestId>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_grows_or_is_none() {
        assert!(counts_on(0, 0) && counts_on(0, 1) && counts_on(7, 9));
        assert!(!counts_on(1, 0) && !counts_on(7, 7) && !counts_on(7, 6));
    }

    #[test]
    fn waits_double_up_to_an_hour() {
        assert_eq!([0, 4, 5, 6, 7].map(wait_after), [0, 0, 30_000, 60_000, 120_000]);
        assert_eq!([11, 12, 40, u32::MAX].map(wait_after), [1_920_000, 3_600_000, 3_600_000, 3_600_000]);
    }
}
