//! Who may give which role to whom: the same for every store, which hands in what it holds while nobody else changes it.

use schema_wire::UserId;
use schema_wire::record::UserStatus;

use crate::accounts::{AccountError, Answer};
use crate::rows::console::RoleChange;
use crate::rows::role::AccountRole;

/// Whom a change of role concerns, held until the transaction ends.
pub struct Concerned {
    pub user: UserId,
    pub role: AccountRole,
    pub status: UserStatus,
    /// Active ones.
    pub administrators: Vec<UserId>,
}

impl Concerned {
    /// Out of accounts held: the one whose role changes, and administrators.
    pub fn among(user: UserId, held: Vec<(UserId, AccountRole, UserStatus)>) -> Answer<Self> {
        let found = held.iter().find(|(id, ..)| *id == user).copied();
        let (_, role, status) =
            found.filter(|(.., status)| *status != UserStatus::Deleted).ok_or(AccountError::NotFound)?;
        let is_administrator = |(_, role, status): &&(UserId, AccountRole, UserStatus)| {
            *role == AccountRole::Admin && *status == UserStatus::Active
        };
        let administrators = held.iter().filter(is_administrator).map(|(id, ..)| *id).collect();
        Ok(Self { user, role, status, administrators })
    }

    /// Refused unless the change goes, for this actor; `None`: whoever runs the machine.
    pub fn must_go(&self, change: RoleChange, actor: Option<UserId>) -> Answer<()> {
        if actor.is_some_and(|actor| actor == self.user || !self.administrators.contains(&actor)) {
            return Err(AccountError::NotAllowed);
        }
        if self.role != change.from || change.from == change.to {
            return Err(AccountError::Overtaken);
        }
        if change.takes_two() && self.status != UserStatus::Active {
            return Err(AccountError::NotActive(self.status));
        }
        self.must_leave_one()
    }

    /// Refused when the account is the only active administrator, which stays one.
    pub fn must_leave_one(&self) -> Answer<()> {
        if self.administrators == [self.user] { Err(AccountError::LastAdministrator) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccountRole::{Admin, Moderator, Sre, User};

    const fn id(n: u8) -> UserId {
        UserId([n; 16])
    }

    fn concerned(user: u8, held: &[(u8, AccountRole, UserStatus)]) -> Answer<Concerned> {
        Concerned::among(id(user), held.iter().map(|(n, role, status)| (id(*n), *role, *status)).collect())
    }

    #[test]
    fn whoever_changes_a_role_is_another_active_administrator() {
        let active = UserStatus::Active;
        let held = [(1, Admin, active), (2, Admin, UserStatus::Banned), (3, Moderator, active)];
        let mia = concerned(3, &held).unwrap();
        let change = |from, to| RoleChange { user: id(3), from, to };
        for (actor, expected) in [
            (Some(1), Ok(())),
            (None, Ok(())),
            (Some(2), Err(AccountError::NotAllowed)),
            (Some(3), Err(AccountError::NotAllowed)),
            (Some(4), Err(AccountError::NotAllowed)),
        ] {
            assert_eq!(mia.must_go(change(Moderator, Sre), actor.map(id)), expected, "{actor:?}");
        }
        assert_eq!(mia.must_go(change(Sre, Moderator), Some(id(1))), Err(AccountError::Overtaken));
        assert_eq!(mia.must_go(change(Moderator, Moderator), Some(id(1))), Err(AccountError::Overtaken));
    }

    #[test]
    fn one_administrator_stays_and_only_the_active_are_raised() {
        let active = UserStatus::Active;
        let down = |user| RoleChange { user: id(user), from: Admin, to: User };
        let alone = [(1, Admin, active), (2, Admin, UserStatus::Banned)];
        let last = concerned(1, &alone).unwrap();
        assert_eq!(last.must_go(down(1), None), Err(AccountError::LastAdministrator));
        assert_eq!(
            concerned(2, &alone).unwrap().must_go(down(2), Some(id(1))),
            Ok(()),
            "banned, it counts not"
        );
        let two = [(1, Admin, active), (2, Admin, active)];
        assert_eq!(concerned(2, &two).unwrap().must_go(down(2), Some(id(1))), Ok(()));
        let up = |from| RoleChange { user: id(2), from, to: Admin };
        let banned = concerned(2, &[(1, Admin, active), (2, Sre, UserStatus::Banned)]).unwrap();
        assert_eq!(banned.must_go(up(Sre), Some(id(1))), Err(AccountError::NotActive(UserStatus::Banned)));
        assert!(up(Sre).takes_two() && !down(2).takes_two());
        assert!(RoleChange { user: id(2), from: User, to: Sre }.takes_two());
        let gone = concerned(2, &[(1, Admin, active), (2, User, UserStatus::Deleted)]);
        assert_eq!(gone.err(), Some(AccountError::NotFound));
        assert_eq!(concerned(3, &two).err(), Some(AccountError::NotFound));
    }
}
