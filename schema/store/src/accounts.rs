//! The account side's view of the store: people, devices, keys, conversations, administration.
//! Implemented by the same stores as the data plane; called by the console and the operator CLI.

use std::future::Future;

use schema_wire::record::{Page, StoreFault, UserStatus};
use schema_wire::v1::Role;
use schema_wire::{ConversationId, DeviceId, Network, Offset, UserId};

use crate::rows::account::{
    AuditEntry, AuditHead, AuditRow, Erasure, Invite, InviteId, LoginRecord, NewInvite, Origin, Profile,
    ProfileChange, Registration, StatusChange,
};
use crate::rows::conversation::{
    Added, ConversationChange, ConversationDetail, ConversationSummary, GroupDraft, Invitation, Member,
    RequestAnswer,
};
use crate::rows::device::{ClaimedKey, Device, KeyUpload, KeysLeft, NewSession, PublishedKey, SessionGrant};
use crate::rows::export::{ExportPage, ExportPlace};
use crate::rows::role::AccountRole;
use crate::token::{NewToken, TokenHash};

/// Most members of one group.
pub const GROUP_MEMBERS_MAX: usize = 10_000;
/// Most devices of one user that are not revoked.
pub const DEVICES_MAX: usize = 32;
/// Most unclaimed one-time key packages of one device.
pub const KEY_PACKAGES_MAX: usize = 200;
/// Largest opaque key or package, in bytes.
pub const KEY_BYTES_MAX: usize = 16 * 1024;
/// Longest display or conversation name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest setting value, in bytes.
pub const SETTING_BYTES_MAX: usize = 4 * 1024;
/// Most settings of one user.
pub const SETTINGS_MAX: usize = 200;
/// Most people one user may block.
pub const BLOCKS_MAX: usize = 10_000;
/// Most invitations to groups that wait for one user's answer.
pub const INVITATIONS_MAX: usize = 100;
/// The user's setting that says who may add them to groups: `everybody` (unless set), `known` or `nobody`. Others invite.
pub const ADD_TO_GROUPS: &str = "add_to_groups";
/// What operators set: messages of a first contact before it is accepted, deletions included.
pub const REQUEST_MESSAGES: &str = "request-messages";
/// The same unless it is set.
pub const REQUEST_MESSAGES_DEFAULT: u64 = 3;
/// Most rows in one page of a list.
pub const PAGE_ROWS_MAX: u32 = 200;
/// Most people told about one change of keys; those who share more recent conversations come first.
pub const KEY_CHANGE_TOLD_MAX: usize = 10_000;

/// Why an account operation did not happen. Nothing of it was stored, unless the variant says so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccountError {
    /// The store failed; the same call may succeed later.
    #[error("the store does not answer: {0:?}")]
    Fault(StoreFault),
    /// A value is not acceptable: the field, and what is wrong with it.
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: &'static str },
    /// Somebody registered with this address before.
    #[error("this email address is taken")]
    EmailTaken,
    /// An invite, verification, reset or refresh token is unknown, used, revoked or expired.
    #[error("the token is unknown, used or expired")]
    TokenInvalid,
    /// A refresh token that was rotated before came back: its whole family is revoked now (this was stored).
    #[error("the refresh token was used before; its sessions are revoked")]
    RefreshReused { user: UserId, device: DeviceId },
    /// The account may not do this in its present state.
    #[error("the account is not active")]
    NotActive(UserStatus),
    /// No such user, device, invite, or conversation one is a member of.
    #[error("not found")]
    NotFound,
    /// The caller's role does not allow it.
    #[error("not allowed")]
    NotAllowed,
    /// A group keeps at least one owner: hand ownership over first.
    #[error("the last owner can't leave or step down")]
    LastOwner,
    /// The console keeps at least one administrator: make another one first.
    #[error("the last administrator keeps the role until there is another one")]
    LastAdministrator,
    /// One of the two blocked the other.
    #[error("blocked")]
    Blocked,
    /// Somebody else was faster: it is claimed, decided or over.
    #[error("somebody else was faster")]
    Overtaken,
    /// A bound was reached.
    #[error("at most {limit}")]
    TooMany { limit: usize },
}

impl From<StoreFault> for AccountError {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(fault)
    }
}

/// What every call answers.
pub type Answer<T> = Result<T, AccountError>;

/// What accounts and administration need of a store. Each call is one transaction, audit entries included.
/// Times are unix milliseconds of the store's clock. `by` says who asks, from where.
pub trait Accounts: Clone + Send + Sync + 'static {
    // ---- becoming a user ----

    /// Creates a user; consumes the invite if there is one. The email is normalised and unique among all accounts.
    fn register(&self, new: Registration, by: Origin) -> impl Future<Output = Answer<UserId>> + Send;
    /// Creates an account with a role that may use the console, at once active. For the operator CLI.
    fn create_admin(
        &self,
        email: String,
        name: String,
        password_hash: String,
        role: AccountRole,
    ) -> impl Future<Output = Answer<UserId>> + Send;
    /// Lets somebody in.
    fn create_invite(&self, new: NewInvite, by: Origin) -> impl Future<Output = Answer<InviteId>> + Send;
    /// Newest first.
    fn invites(
        &self,
        before: Option<InviteId>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<Invite>>> + Send;
    /// An unused invite stops working.
    fn revoke_invite(&self, invite: InviteId, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// A pending account becomes active.
    fn approve(&self, user: UserId, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// A pending account is refused: it is erased, and its address may register again. `NotActive`: it is in already, or
    /// gone.
    fn refuse_registration(&self, user: UserId, by: Origin) -> impl Future<Output = Answer<()>> + Send;
    /// A fresh verification token for a pending account; older ones stop working.
    fn renew_verification(&self, user: UserId, token: NewToken) -> impl Future<Output = Answer<()>> + Send;
    /// The address is verified; an account that waited only for this becomes active.
    fn verify_mail(&self, token: TokenHash, by: Origin) -> impl Future<Output = Answer<UserId>> + Send;
    /// Accounts waiting for approval or for mail verification (`email_verified` tells which), oldest first.
    fn pending(&self, after: Option<UserId>, limit: u32)
    -> impl Future<Output = Answer<Vec<Profile>>> + Send;

    // ---- signing in and out ----

    /// What checking a password needs. `None` for unknown and deleted accounts: spend the same time anyway.
    fn login_record(&self, email: String) -> impl Future<Output = Answer<Option<LoginRecord>>> + Send;
    /// Writes LOGIN_FAILED.
    fn login_failed(
        &self,
        user: Option<UserId>,
        reason: &'static str,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// After the password was right: the device (new, or known and active again), a refresh token family, LOGIN.
    /// Refused with `NotActive` unless the account is active.
    fn open_session(&self, new: NewSession, by: Origin) -> impl Future<Output = Answer<SessionGrant>> + Send;
    /// Exchanges a refresh token for the next of its family. An old one coming back revokes the family: `RefreshReused`.
    fn rotate_refresh(
        &self,
        old: TokenHash,
        new: NewToken,
        by: Origin,
    ) -> impl Future<Output = Answer<SessionGrant>> + Send;
    /// What an access token's bearer is now: `NotActive` or `NotFound` (device revoked) when it must be refused.
    /// `issued_at`: the token's `iat`, unix seconds.
    fn authorise(
        &self,
        user: UserId,
        device: DeviceId,
        issued_at: u64,
    ) -> impl Future<Output = Answer<SessionGrant>> + Send;
    /// Logs a device out: its refresh tokens are revoked, live sessions end within a second.
    fn revoke_device(
        &self,
        user: UserId,
        device: DeviceId,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Logs every device out, except `keep`.
    fn revoke_sessions(
        &self,
        user: UserId,
        keep: Option<DeviceId>,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Devices that are not revoked, oldest first.
    fn devices(&self, user: UserId) -> impl Future<Output = Answer<Vec<Device>>> + Send;

    // ---- oneself ----

    /// `NotFound` for unknown and deleted accounts.
    fn profile(&self, user: UserId) -> impl Future<Output = Answer<Profile>> + Send;
    /// The same, by address (normalised here).
    fn find_user(&self, email: String) -> impl Future<Output = Answer<Profile>> + Send;
    /// Changes what is `Some`.
    fn update_profile(
        &self,
        user: UserId,
        change: ProfileChange,
        by: Origin,
    ) -> impl Future<Output = Answer<Profile>> + Send;
    /// Sets the password (the caller has checked the old one) and logs out every device except `keep`.
    fn change_password(
        &self,
        user: UserId,
        password_hash: String,
        keep: Option<DeviceId>,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Keeps a reset token for an active account and says whose; earlier ones stop working. `None`: no such account.
    fn request_reset(
        &self,
        email: String,
        token: NewToken,
        by: Origin,
    ) -> impl Future<Output = Answer<Option<UserId>>> + Send;
    /// Consumes a reset token, sets the password, logs out every device.
    fn reset_password(
        &self,
        token: TokenHash,
        password_hash: String,
        by: Origin,
    ) -> impl Future<Output = Answer<UserId>> + Send;
    /// Blocks or unblocks. Tells the user's own devices. Blocking deletes what waits between the two: a first contact of
    /// the other one, invitations of either.
    fn set_block(
        &self,
        user: UserId,
        other: UserId,
        blocked: bool,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// In order of id, after `after`.
    fn blocks(
        &self,
        user: UserId,
        after: Option<UserId>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<UserId>>> + Send;
    /// Sets one setting; an empty value removes it, and `ADD_TO_GROUPS` takes only its own values. Tells the user's own devices.
    fn set_setting(
        &self,
        user: UserId,
        name: String,
        value: String,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// All settings, by name.
    fn settings(&self, user: UserId) -> impl Future<Output = Answer<Vec<(String, String)>>> + Send;
    /// Everything kept about a user, in pages; start with `ExportPlace::default()`.
    fn export(
        &self,
        user: UserId,
        place: ExportPlace,
        limit: u32,
    ) -> impl Future<Output = Answer<ExportPage>> + Send;
    /// Erases an account: profile, email, keys, sessions, tokens gone; own messages replaced by tombstones
    /// (`Gone` ERASED); leaves every conversation; a row in the erasure ledger. Not undoable. `LastAdministrator`: the
    /// account is the only one, and another one comes first.
    fn erase_account(
        &self,
        user: UserId,
        reason: String,
        by: Origin,
    ) -> impl Future<Output = Answer<Erasure>> + Send;

    // ---- keys (opaque bytes) ----

    /// Publishes a device's identity key and adds one-time key packages. A new or replaced identity key drops the
    /// older packages, writes KEY_CHANGE and tells those who share a conversation.
    fn publish_keys(
        &self,
        user: UserId,
        device: DeviceId,
        keys: KeyUpload,
        by: Origin,
    ) -> impl Future<Output = Answer<KeysLeft>> + Send;
    /// Unclaimed packages of a device.
    fn keys_left(&self, user: UserId, device: DeviceId) -> impl Future<Output = Answer<KeysLeft>> + Send;
    /// Identity keys of a user's active devices. `by` must share a conversation with them, or be them.
    fn identity_keys(
        &self,
        user: UserId,
        by: UserId,
    ) -> impl Future<Output = Answer<Vec<PublishedKey>>> + Send;
    /// Takes one package, so that nobody else gets it. `package` is the last-resort one, or none, when they ran out.
    fn claim_key(
        &self,
        user: UserId,
        device: DeviceId,
        by: UserId,
    ) -> impl Future<Output = Answer<ClaimedKey>> + Send;

    // ---- conversations ----

    /// The one direct conversation of two users; the second value says whether it is new. A new one is a first contact that
    /// waits until the peer accepts it, writes to it, or asks for it here.
    fn create_direct(
        &self,
        user: UserId,
        peer: UserId,
    ) -> impl Future<Output = Answer<(ConversationId, bool)>> + Send;
    /// A group; the creator becomes its owner. Whose settings ask first is invited.
    fn create_group(
        &self,
        owner: UserId,
        draft: GroupDraft,
    ) -> impl Future<Output = Answer<ConversationId>> + Send;
    /// Name, lifetime of messages, epoch. Owners and admins.
    fn change_conversation(
        &self,
        by: UserId,
        conversation: ConversationId,
        change: ConversationChange,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Adds people as members, or invites those whose settings ask first; those who are members already are left alone.
    /// Owners and admins.
    fn add_members(
        &self,
        by: UserId,
        conversation: ConversationId,
        users: Vec<UserId>,
    ) -> impl Future<Output = Answer<Added>> + Send;
    /// Removes a member of lower role than one's own, or withdraws an invitation; oneself: leaves.
    fn remove_member(
        &self,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Owners make and unmake owners and admins; admins may only step down.
    fn set_member_role(
        &self,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
        role: Role,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Stops a member of lower role from writing until then (unix ms; `None`: not any more).
    fn mute_member(
        &self,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
        until: Option<u64>,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Answers a first contact; all devices of the user are told. `Overtaken`: it was accepted before it was to be deleted.
    /// `NotAllowed`: whoever opened it can't answer.
    fn answer_request(
        &self,
        user: UserId,
        conversation: ConversationId,
        answer: RequestAnswer,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Invitations that wait for the user's answer, newest first; at most `INVITATIONS_MAX`.
    fn invitations(&self, user: UserId) -> impl Future<Output = Answer<Vec<Invitation>>> + Send;
    /// Joins the group, or declines. `NotFound`: not invited, or not any more.
    fn answer_invitation(
        &self,
        user: UserId,
        conversation: ConversationId,
        answer: RequestAnswer,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Without first contacts that the user deleted. Most recently active first; `before` is `last_at` and id of the last one seen.
    fn conversations(
        &self,
        user: UserId,
        before: Option<(u64, ConversationId)>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<ConversationSummary>>> + Send;
    /// One conversation as a member sees it.
    fn conversation(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> impl Future<Output = Answer<ConversationDetail>> + Send;
    /// Members in order of id, after `after`. For members.
    fn members(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<Member>>> + Send;
    /// A page of history, as the relay's Recover reads it.
    fn history(
        &self,
        user: UserId,
        conversation: ConversationId,
        from: Offset,
        limit: u32,
        backwards: bool,
    ) -> impl Future<Output = Answer<Page>> + Send;

    // ---- administration ----

    /// Suspends, bans or reactivates. Live sessions learn it from the change log.
    fn set_status(
        &self,
        user: UserId,
        change: StatusChange,
        reason: String,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Suspends an account that is active: `NotActive` otherwise, so that nothing graver or longer is softened, and
    /// whoever asks at the same time suspends it once.
    fn suspend_active(
        &self,
        user: UserId,
        until: u64,
        reason: String,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Bans an address or a block of them (`true`), or lifts the ban.
    fn set_address_ban(
        &self,
        network: Network,
        banned: bool,
        reason: String,
        by: Origin,
    ) -> impl Future<Output = Answer<()>> + Send;
    /// Adds an entry that belongs to no other call.
    fn audit(&self, entry: AuditEntry, by: Origin) -> impl Future<Output = Answer<AuditHead>> + Send;
    /// Newest first, before `before`.
    fn audit_page(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> impl Future<Output = Answer<Vec<AuditRow>>> + Send;
    /// The newest entry of the chain, to be kept outside the database.
    fn audit_head(&self) -> impl Future<Output = Answer<AuditHead>> + Send;
    /// Checks up to `limit` entries after `after`; the first one that does not fit, if any.
    fn audit_verify(
        &self,
        after: Option<AuditHead>,
        limit: u32,
    ) -> impl Future<Output = Answer<crate::audit_chain::Verified>> + Send;
}
