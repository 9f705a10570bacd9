//! Reports, flags, cases, decisions: what moderation hands to the store and gets back.

use std::net::IpAddr;

use schema_wire::record::UserStatus;
use schema_wire::{ConversationId, Network, Offset, UserId};

use super::conversation::ConversationKind;
use super::role::AccountRole;

/// Names a report.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReportId(pub [u8; 16]);

/// Names a decision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DecisionId(pub [u8; 16]);

impl From<[u8; 16]> for ReportId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl From<[u8; 16]> for DecisionId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[$each])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As stored.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The one of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.name() == name)
            }
        }
    };
}

named! {
    /// What disclosed evidence is worth.
    Proof {
        /// Nothing was disclosed.
        None = "NONE",
        /// The reporter says so.
        Claimed = "CLAIMED",
        /// It fits the commitment its sender made.
        Committed = "COMMITTED",
        /// It is what the relay keeps.
        Stored = "STORED",
    }
}

named! {
    /// Where a case stands.
    CaseState {
        Open = "OPEN",
        /// A decision waits for its time or for a second pair of eyes.
        Decided = "DECIDED",
        Resolved = "RESOLVED",
    }
}

named! {
    /// What a decision does.
    Measure {
        Warn = "WARN",
        Suspend = "SUSPEND",
        Ban = "BAN",
        /// Closes every open report and flag.
        Dismiss = "DISMISS",
        /// The same, and new ones raise no case for seven days.
        Mute = "MUTE",
    }
}

named! {
    /// Where a decision stands.
    DecisionState {
        /// For a second pair of eyes.
        Waiting = "WAITING",
        /// For its time: it can be undone.
        Pending = "PENDING",
        Done = "DONE",
        Undone = "UNDONE",
        Refused = "REFUSED",
        Reversed = "REVERSED",
        /// The account was gone when its time came, or was the last active administrator's.
        Failed = "FAILED",
    }
}

named! {
    /// Where an appeal stands.
    AppealState {
        Open = "OPEN",
        /// The decision stands.
        Upheld = "UPHELD",
        /// The decision was reversed.
        Granted = "GRANTED",
    }
}

impl Measure {
    /// All of a decision, as stored.
    pub(crate) fn names(measures: &[Self]) -> String {
        measures.iter().map(|measure| measure.name()).collect::<Vec<_>>().join(",")
    }
}

/// A report about to be filed.
#[derive(Clone, PartialEq, Debug)]
pub struct NewReport {
    pub reporter: UserId,
    pub subject: UserId,
    /// The message it is about, if it is about one.
    pub message: Option<(ConversationId, Offset)>,
    /// A word such as `SPAM`.
    pub reason: String,
    pub comment: String,
    /// What the reporter discloses of the message.
    pub evidence: Option<Vec<u8>>,
    /// Opens the sender's commitment.
    pub opening: Option<[u8; 32]>,
}

/// Something noticed without anybody reporting it.
#[derive(Clone, PartialEq, Debug)]
pub struct NewFlag {
    pub subject: UserId,
    /// Which rule, such as `RATE`.
    pub rule: String,
    pub detail: String,
    /// For so long the rule is not raised again, whatever became of the flag, in milliseconds.
    pub quiet_ms: u64,
}

/// A report as a moderator sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct ReportRow {
    pub id: ReportId,
    pub reporter: Option<UserId>,
    pub reporter_name: String,
    /// The message it is about, if it is about one.
    pub message: Option<ReportedMessage>,
    pub reason: String,
    pub comment: String,
    pub evidence: Option<Vec<u8>>,
    pub proof: Proof,
    /// `PENDING`, `RESOLVED` or `DISMISSED`.
    pub status: String,
    pub created_at: u64,
}

/// The message a report is about, and what the log still has of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportedMessage {
    pub conversation: ConversationId,
    pub offset: Offset,
    /// `None`: the conversation is gone.
    pub kind: Option<ConversationKind>,
    /// Of the conversation at present.
    pub members: u32,
    /// `None`: the log has it no longer.
    pub sent_at: Option<u64>,
    /// Its body was deleted, expired, or erased.
    pub is_gone: bool,
    /// Messages near it, itself left out, and how many of them are the reported account's.
    pub near: u32,
    pub near_own: u32,
}

/// What was done about an account without a decision: a block by itself, an operator's command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActionRow {
    /// `WARN`, `SUSPEND`, `BAN` or `REACTIVATE`.
    pub action: String,
    pub reason: String,
    /// `None`: it happened by itself. An empty name: the account is gone.
    pub by: Option<String>,
    pub until: Option<u64>,
    pub created_at: u64,
    pub undone_at: Option<u64>,
}

/// A flag as a moderator sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct FlagRow {
    pub rule: String,
    pub detail: String,
    pub open: bool,
    pub created_at: u64,
}

/// Which cases to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CaseFilter {
    /// Open, claimed or not.
    Open,
    /// Open and claimed by this moderator.
    ClaimedBy(UserId),
    Decided,
    Resolved,
}

/// A case in the queue.
#[derive(Clone, PartialEq, Debug)]
pub struct CaseRow {
    pub user: UserId,
    pub name: String,
    pub status: UserStatus,
    pub state: CaseState,
    pub opened_at: u64,
    pub resolved_at: Option<u64>,
    /// While the claim lasts.
    pub claimed_by: Option<(UserId, String)>,
    pub claim_expires_at: u64,
    pub reports: u32,
    pub reporters: u32,
    pub flags: u32,
    /// Appeals that nobody answered yet.
    pub appeals: u32,
    /// `APPEAL`, else reason of the oldest open report, or rule of the oldest open flag.
    pub about: String,
}

/// How much there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CaseCounts {
    pub open: u64,
    pub claimed: u64,
    /// Decisions that wait for a second pair of eyes.
    pub waiting: u64,
    pub resolved_7d: u64,
    pub oldest_open_at: Option<u64>,
    /// Mean time from opening to resolving over seven days, in milliseconds.
    pub mean_resolve_ms: Option<u64>,
}

/// How many cases are open, and since when the oldest is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenCases {
    pub open: u64,
    pub oldest_at: Option<u64>,
}

/// A case with everything a decision needs.
#[derive(Clone, PartialEq, Debug)]
pub struct CaseDetail {
    pub row: CaseRow,
    pub role: AccountRole,
    pub created_at: u64,
    pub last_active_at: Option<u64>,
    pub devices: u32,
    /// Warnings, suspensions and bans that stood.
    pub strikes: u32,
    pub muted_until: Option<u64>,
    /// Open ones first, then the newest.
    pub reports: Vec<ReportRow>,
    pub flags: Vec<FlagRow>,
    /// Newest first.
    pub decisions: Vec<Decision>,
    /// Of these decisions.
    pub appeals: Vec<Appeal>,
    /// What was done without a decision, newest first.
    pub actions: Vec<ActionRow>,
}

/// A decision to be made.
#[derive(Clone, PartialEq, Debug)]
pub struct NewDecision {
    pub subject: UserId,
    pub moderator: UserId,
    /// The role it is decided with, where that is less than the moderator's own: a service token's.
    pub acts_as: Option<AccountRole>,
    pub measures: Vec<Measure>,
    /// Of a suspension: 7 to 30.
    pub days: u32,
    /// Of a ban: also the address last used.
    pub with_address: bool,
    pub reason: String,
    /// What the account is told; `None`: nothing.
    pub notice: Option<String>,
}

/// A decision.
#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    pub id: DecisionId,
    pub subject: UserId,
    /// As it is now: staff are for administrators.
    pub subject_role: AccountRole,
    pub moderator: UserId,
    pub moderator_name: String,
    pub measures: Vec<Measure>,
    pub days: u32,
    pub with_address: bool,
    pub address: Option<IpAddr>,
    pub reason: String,
    pub notice: Option<String>,
    pub state: DecisionState,
    pub created_at: u64,
    pub due_at: Option<u64>,
    pub second: Option<UserId>,
    pub ended_at: Option<u64>,
}

/// What an account answered to a decision, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appeal {
    pub decision: DecisionId,
    pub text: String,
    pub state: AppealState,
    pub created_at: u64,
    /// What the account was told.
    pub answer: String,
    /// A name; empty when nobody answered yet, or its account is gone.
    pub answerer: String,
    pub answered_at: Option<u64>,
}

/// What a letter tells of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Told {
    /// The decision itself: the account may appeal.
    Decision,
    /// What became of the appeal.
    Answer,
    /// That the decision was reversed, to whoever did not appeal.
    Reversal,
}

/// A letter that a decision still owes.
#[derive(Clone, PartialEq, Debug)]
pub struct DueLetter {
    pub decision: DecisionId,
    pub told: Told,
    pub email: String,
    pub text: String,
}

/// Names a request for a banned address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AddressBanId(pub [u8; 16]);

impl From<[u8; 16]> for AddressBanId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// An address, or a block of them, that waits for a second moderator before it is banned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressBanRequest {
    pub id: AddressBanId,
    pub network: Network,
    pub reason: String,
    pub asked_by: UserId,
    /// A name; empty when its account is gone.
    pub asker: String,
    pub asked_at: u64,
}

/// A banned address, or a block of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddressBan {
    /// Where a page goes on.
    pub id: u64,
    pub network: Network,
    pub reason: String,
    /// A name; empty when its account is gone, or nobody's.
    pub by: String,
    pub created_at: u64,
    pub expires_at: Option<u64>,
}

/// An erasure that waits for a second administrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErasureRequest {
    pub user: UserId,
    pub name: String,
    pub asked_by: UserId,
    /// A name; empty when its account is gone.
    pub asker: String,
    pub reason: String,
    pub asked_at: u64,
}
