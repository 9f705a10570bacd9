//! What an account may do in the console, and the names under which it is stored.

/// Role of an account. Ordinary people are `User`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AccountRole {
    #[default]
    User,
    /// Reads the audit trail.
    Auditor,
    /// Reports, flags, suspensions.
    Moderator,
    /// Backups, nodes, metrics.
    Sre,
    /// Everything.
    Admin,
}

impl AccountRole {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::User, Self::Auditor, Self::Moderator, Self::Sre, Self::Admin];

    /// As stored, and as typed on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Auditor => "AUDITOR",
            Self::Moderator => "MODERATOR",
            Self::Sre => "SRE",
            Self::Admin => "ADMIN",
        }
    }

    /// The role of that name, in any case of letters.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        assert!(AccountRole::ALL.into_iter().all(|r| AccountRole::parse(r.name()) == Some(r)));
        assert_eq!(AccountRole::parse("sre"), Some(AccountRole::Sre));
        assert_eq!(AccountRole::parse("ROOT"), None);
    }
}
