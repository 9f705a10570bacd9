//! The console's access in SQL: one function per call, run inside the call's transaction.

mod factor;
mod key;
mod letter;
mod lock;
mod role;
mod session;
mod staff;

use schema_wire::UserId;

use super::SqliteStore;
use crate::accounts::Answer;
use crate::console::ConsoleAccess;
use crate::rows::account::Origin;
use crate::rows::console::{
    Agreed, ChallengePurpose, ConsoleSession, FactorLetter, FactorLetterId, KeyUse, NewConsoleSession,
    NewSecurityKey, NewStaff, RoleChange, SecondFactor, SecurityKey, SecurityKeyId, StaffRequest,
    StaffRequestId,
};
use crate::token::{NewToken, TokenHash};

impl ConsoleAccess for SqliteStore {
    async fn locked_until(&self, subject: [u8; 32]) -> Answer<u64> {
        self.read(move |tx, now| lock::locked_until(tx, &subject, now)).await
    }

    async fn count_failure(
        &self,
        subject: [u8; 32],
        user: Option<UserId>,
        reason: &'static str,
        by: Origin,
    ) -> Answer<u64> {
        self.write(move |tx, now| lock::count(tx, &subject, user, reason, &by, now)).await
    }

    async fn open_console_session(&self, new: NewConsoleSession, by: Origin) -> Answer<()> {
        self.write(move |tx, now| session::open(tx, &new, &by, now)).await
    }

    async fn console_session(&self, id: TokenHash) -> Answer<Option<ConsoleSession>> {
        let found = self.read(move |tx, now| session::find(tx, id, now)).await?;
        // A use is written down now and then only: pages are read far more often than that.
        match found {
            Some((session, true)) => {
                self.write(move |tx, now| session::touch(tx, id, now)).await?;
                Ok(Some(session))
            }
            Some((session, false)) => Ok(Some(session)),
            None => Ok(None),
        }
    }

    async fn console_sessions(&self, user: UserId) -> Answer<Vec<ConsoleSession>> {
        self.read(move |tx, now| session::list(tx, user, now)).await
    }

    async fn close_console_session(&self, user: UserId, id: TokenHash, by: Origin) -> Answer<()> {
        self.write(move |tx, now| session::close(tx, user, id, &by, now)).await
    }

    async fn close_other_console_sessions(&self, user: UserId, keep: TokenHash, by: Origin) -> Answer<u64> {
        self.write(move |tx, now| session::close_others(tx, user, keep, &by, now)).await
    }

    async fn second_factor(&self, user: UserId) -> Answer<Option<SecondFactor>> {
        self.read(move |tx, _| factor::find(tx, user)).await
    }

    async fn begin_second_factor(
        &self,
        user: UserId,
        session: TokenHash,
        secret: Vec<u8>,
    ) -> Answer<Vec<u8>> {
        self.write(move |tx, now| factor::begin(tx, user, session, &secret, now)).await
    }

    async fn shown_second_factor(&self, user: UserId, session: TokenHash) -> Answer<Option<Vec<u8>>> {
        self.read(move |tx, _| factor::shown(tx, user, session)).await
    }

    async fn confirm_second_factor(
        &self,
        user: UserId,
        session: TokenHash,
        (secret, step): (Vec<u8>, u64),
        by: Origin,
    ) -> Answer<()> {
        self.write(move |tx, now| factor::confirm(tx, (user, session), (&secret, step), &by, now)).await
    }

    async fn rewrite_second_factor(&self, user: UserId, from: Vec<u8>, to: Vec<u8>) -> Answer<()> {
        self.write(move |tx, _| factor::rewrite(tx, user, &from, &to)).await
    }

    async fn use_second_factor(&self, user: UserId, step: u64) -> Answer<bool> {
        self.write(move |tx, _| factor::use_step(tx, user, step)).await
    }

    async fn begin_challenge(
        &self,
        session: TokenHash,
        purpose: ChallengePurpose,
        challenge: [u8; 32],
    ) -> Answer<()> {
        self.write(move |tx, now| key::challenge(tx, session, purpose, &challenge, now)).await
    }

    async fn take_challenge(
        &self,
        session: TokenHash,
        purpose: ChallengePurpose,
    ) -> Answer<Option<[u8; 32]>> {
        self.write(move |tx, now| key::answered(tx, session, purpose, now)).await
    }

    async fn security_keys(&self, user: UserId) -> Answer<Vec<SecurityKey>> {
        self.read(move |tx, _| key::list(tx, user)).await
    }

    async fn add_security_key(&self, user: UserId, new: NewSecurityKey, by: Origin) -> Answer<SecurityKeyId> {
        self.write(move |tx, now| key::add(tx, user, &new, &by, now)).await
    }

    async fn use_security_key(
        &self,
        user: UserId,
        key: SecurityKeyId,
        used: KeyUse,
        by: Origin,
    ) -> Answer<bool> {
        self.write(move |tx, now| key::used(tx, user, key, used, &by, now)).await
    }

    async fn remove_security_key(&self, user: UserId, key: SecurityKeyId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| key::remove(tx, user, key, &by, now)).await
    }

    async fn forget_second_factors(&self, user: UserId, by: Origin) -> Answer<u64> {
        self.write(move |tx, now| factor::forget_all(tx, user, &by, now)).await
    }

    async fn due_factor_letters(&self, limit: u32) -> Answer<Vec<FactorLetter>> {
        self.read(move |tx, now| letter::due(tx, limit, now)).await
    }

    async fn due_factor_letter(&self, wanted: FactorLetterId) -> Answer<Option<FactorLetter>> {
        self.read(move |tx, now| letter::find(tx, wanted, now)).await
    }

    async fn factor_letter_sent(&self, letter: FactorLetterId) -> Answer<()> {
        self.write(move |tx, _| letter::sent(tx, letter)).await
    }

    async fn ask_staff(&self, new: NewStaff, by: Origin) -> Answer<StaffRequestId> {
        self.write(move |tx, now| staff::ask(tx, &new, &by, now)).await
    }

    async fn withdraw_staff(&self, wanted: StaffRequestId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| staff::withdraw(tx, wanted, &by, now)).await
    }

    async fn agree_to_staff(&self, wanted: StaffRequestId, reset: NewToken, by: Origin) -> Answer<Agreed> {
        self.write(move |tx, now| staff::agree(tx, wanted, reset, &by, now)).await
    }

    async fn staff_asked(&self, limit: u32) -> Answer<Vec<StaffRequest>> {
        self.read(move |tx, _| staff::list(tx, limit)).await
    }

    async fn change_role(&self, change: RoleChange, by: Origin) -> Answer<()> {
        self.write(move |tx, now| role::change(tx, change, &by, now)).await
    }

    async fn ask_role(&self, change: RoleChange, by: Origin) -> Answer<StaffRequestId> {
        self.write(move |tx, now| role::ask(tx, change, &by, now)).await
    }
}
