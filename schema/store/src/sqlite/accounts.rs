//! The account side, one line per call: which thread, which function.

use schema_wire::record::Page;
use schema_wire::v1::Role;
use schema_wire::{ConversationId, DeviceId, Network, Offset, UserId};

use super::SqliteStore;
use super::account::{
    admin, audit, conversation, erase, export, invitation, invite, keys, listing, membership, password,
    profile, register, request, session,
};
use super::recover::recover;
use crate::accounts::{Accounts, Answer};
use crate::audit_chain::Verified;
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

impl Accounts for SqliteStore {
    async fn register(&self, new: Registration, by: Origin) -> Answer<UserId> {
        self.write(move |tx, now| register::register(tx, new, &by, now)).await
    }

    async fn create_admin(
        &self,
        email: String,
        name: String,
        password_hash: String,
        role: AccountRole,
    ) -> Answer<UserId> {
        self.write(move |tx, now| register::create_admin(tx, (&email, &name, &password_hash), role, now))
            .await
    }

    async fn create_invite(&self, new: NewInvite, by: Origin) -> Answer<InviteId> {
        self.write(move |tx, now| invite::create(tx, &new, &by, now)).await
    }

    async fn invites(&self, before: Option<InviteId>, limit: u32) -> Answer<Vec<Invite>> {
        self.read(move |tx, _| invite::list(tx, before, limit)).await
    }

    async fn revoke_invite(&self, invite: InviteId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| invite::revoke(tx, invite, &by, now)).await
    }

    async fn approve(&self, user: UserId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| register::approve(tx, user, &by, now)).await
    }

    async fn refuse_registration(&self, user: UserId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| register::refuse(tx, user, &by, now)).await
    }

    async fn renew_verification(&self, user: UserId, token: NewToken) -> Answer<()> {
        self.write(move |tx, now| register::renew_verification(tx, user, token, now)).await
    }

    async fn verify_mail(&self, token: TokenHash, by: Origin) -> Answer<UserId> {
        self.write(move |tx, now| register::verify_mail(tx, token, &by, now)).await
    }

    async fn pending(&self, after: Option<UserId>, limit: u32) -> Answer<Vec<Profile>> {
        self.read(move |tx, now| register::pending(tx, after, limit, now)).await
    }

    async fn login_record(&self, email: String) -> Answer<Option<LoginRecord>> {
        self.read(move |tx, now| session::login_record(tx, &email, now)).await
    }

    async fn login_failed(&self, user: Option<UserId>, reason: &'static str, by: Origin) -> Answer<()> {
        self.write(move |tx, now| session::login_failed(tx, user, reason, &by, now)).await
    }

    async fn open_session(&self, new: NewSession, by: Origin) -> Answer<SessionGrant> {
        self.write(move |tx, now| session::open(tx, &new, &by, now)).await
    }

    async fn rotate_refresh(&self, old: TokenHash, new: NewToken, by: Origin) -> Answer<SessionGrant> {
        self.write(move |tx, now| session::rotate(tx, old, new, &by, now)).await?
    }

    async fn authorise(&self, user: UserId, device: DeviceId, issued_at: u64) -> Answer<SessionGrant> {
        self.read(move |tx, now| session::authorise(tx, user, device, issued_at, now)).await
    }

    async fn revoke_device(&self, user: UserId, device: DeviceId, by: Origin) -> Answer<()> {
        self.write(move |tx, now| session::revoke_device(tx, user, device, &by, now)).await
    }

    async fn revoke_sessions(&self, user: UserId, keep: Option<DeviceId>, by: Origin) -> Answer<()> {
        self.write(move |tx, now| session::revoke_all(tx, user, keep, &by, now)).await
    }

    async fn devices(&self, user: UserId) -> Answer<Vec<Device>> {
        self.read(move |tx, _| session::devices(tx, user)).await
    }

    async fn profile(&self, user: UserId) -> Answer<Profile> {
        self.read(move |tx, now| profile::profile(tx, user, now)).await
    }

    async fn find_user(&self, email: String) -> Answer<Profile> {
        self.read(move |tx, now| profile::find(tx, &email, now)).await
    }

    async fn update_profile(&self, user: UserId, change: ProfileChange, by: Origin) -> Answer<Profile> {
        self.write(move |tx, now| profile::update(tx, user, &change, &by, now)).await
    }

    async fn change_password(
        &self,
        user: UserId,
        password_hash: String,
        keep: Option<DeviceId>,
        by: Origin,
    ) -> Answer<()> {
        self.write(move |tx, now| password::change(tx, user, &password_hash, keep, &by, now)).await
    }

    async fn request_reset(&self, email: String, token: NewToken, by: Origin) -> Answer<Option<UserId>> {
        self.write(move |tx, now| password::request_reset(tx, &email, token, &by, now)).await
    }

    async fn reset_password(&self, token: TokenHash, password_hash: String, by: Origin) -> Answer<UserId> {
        self.write(move |tx, now| password::reset(tx, token, &password_hash, &by, now)).await
    }

    async fn set_block(&self, user: UserId, other: UserId, blocked: bool) -> Answer<()> {
        self.write(move |tx, now| profile::set_block(tx, user, other, blocked, now)).await
    }

    async fn blocks(&self, user: UserId, after: Option<UserId>, limit: u32) -> Answer<Vec<UserId>> {
        self.read(move |tx, _| profile::blocks(tx, user, after, limit)).await
    }

    async fn set_setting(&self, user: UserId, name: String, value: String) -> Answer<()> {
        self.write(move |tx, now| profile::set_setting(tx, user, &name, &value, now)).await
    }

    async fn settings(&self, user: UserId) -> Answer<Vec<(String, String)>> {
        self.read(move |tx, _| profile::settings(tx, user)).await
    }

    async fn export(&self, user: UserId, place: ExportPlace, limit: u32) -> Answer<ExportPage> {
        self.read(move |tx, now| export::export(tx, user, &place, limit, now)).await
    }

    async fn erase_account(&self, user: UserId, reason: String, by: Origin) -> Answer<Erasure> {
        self.write(move |tx, now| erase::erase(tx, user, &reason, &by, now)).await
    }

    async fn publish_keys(
        &self,
        user: UserId,
        device: DeviceId,
        keys: KeyUpload,
        by: Origin,
    ) -> Answer<KeysLeft> {
        self.write(move |tx, now| keys::publish(tx, user, device, &keys, &by, now)).await
    }

    async fn keys_left(&self, user: UserId, device: DeviceId) -> Answer<KeysLeft> {
        self.read(move |tx, _| keys::left(tx, user, device)).await
    }

    async fn identity_keys(&self, user: UserId, by: UserId) -> Answer<Vec<PublishedKey>> {
        self.read(move |tx, _| keys::identities(tx, user, by)).await
    }

    async fn claim_key(&self, user: UserId, device: DeviceId, by: UserId) -> Answer<ClaimedKey> {
        self.write(move |tx, _| keys::claim(tx, user, device, by)).await
    }

    async fn create_direct(&self, user: UserId, peer: UserId) -> Answer<(ConversationId, bool)> {
        self.write(move |tx, now| conversation::create_direct(tx, user, peer, now)).await
    }

    async fn create_group(&self, owner: UserId, draft: GroupDraft) -> Answer<ConversationId> {
        self.write(move |tx, now| conversation::create_group(tx, owner, &draft, now)).await
    }

    async fn change_conversation(
        &self,
        by: UserId,
        conversation: ConversationId,
        change: ConversationChange,
    ) -> Answer<()> {
        self.write(move |tx, now| conversation::change(tx, by, conversation, &change, now)).await
    }

    async fn add_members(
        &self,
        by: UserId,
        conversation: ConversationId,
        users: Vec<UserId>,
    ) -> Answer<Added> {
        self.write(move |tx, now| membership::add(tx, by, conversation, &users, now)).await
    }

    async fn remove_member(&self, by: UserId, conversation: ConversationId, user: UserId) -> Answer<()> {
        self.write(move |tx, now| membership::remove(tx, by, conversation, user, now)).await
    }

    async fn set_member_role(
        &self,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
        role: Role,
    ) -> Answer<()> {
        self.write(move |tx, now| membership::set_role(tx, by, conversation, user, role, now)).await
    }

    async fn mute_member(
        &self,
        by: UserId,
        conversation: ConversationId,
        user: UserId,
        until: Option<u64>,
    ) -> Answer<()> {
        self.write(move |tx, now| membership::mute(tx, by, conversation, user, until, now)).await
    }

    async fn answer_request(
        &self,
        user: UserId,
        conversation: ConversationId,
        answer: RequestAnswer,
    ) -> Answer<()> {
        self.write(move |tx, now| request::answer(tx, user, conversation, answer, now)).await
    }

    async fn invitations(&self, user: UserId) -> Answer<Vec<Invitation>> {
        self.read(move |tx, _| invitation::list(tx, user)).await
    }

    async fn answer_invitation(
        &self,
        user: UserId,
        conversation: ConversationId,
        answer: RequestAnswer,
    ) -> Answer<()> {
        self.write(move |tx, now| invitation::answer(tx, user, conversation, answer, now)).await
    }

    async fn conversations(
        &self,
        user: UserId,
        before: Option<(u64, ConversationId)>,
        limit: u32,
    ) -> Answer<Vec<ConversationSummary>> {
        self.read(move |tx, now| listing::list(tx, user, before, limit, now)).await
    }

    async fn conversation(&self, user: UserId, conversation: ConversationId) -> Answer<ConversationDetail> {
        self.read(move |tx, now| listing::one(tx, user, conversation, now)).await
    }

    async fn members(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Option<UserId>,
        limit: u32,
    ) -> Answer<Vec<Member>> {
        self.read(move |tx, _| listing::members(tx, user, conversation, after, limit)).await
    }

    async fn history(
        &self,
        user: UserId,
        conversation: ConversationId,
        from: Offset,
        limit: u32,
        backwards: bool,
    ) -> Answer<Page> {
        self.read(move |tx, now| Ok(recover(tx, (user, conversation), (from, limit, backwards), now)?)).await
    }

    async fn set_status(&self, user: UserId, change: StatusChange, reason: String, by: Origin) -> Answer<()> {
        self.write(move |tx, now| admin::set_status(tx, user, change, &reason, &by, now)).await
    }

    async fn suspend_active(&self, user: UserId, until: u64, reason: String, by: Origin) -> Answer<()> {
        self.write(move |tx, now| admin::suspend_active(tx, user, until, &reason, &by, now)).await
    }

    async fn set_address_ban(
        &self,
        network: Network,
        banned: bool,
        reason: String,
        by: Origin,
    ) -> Answer<()> {
        self.write(move |tx, now| admin::set_address_ban(tx, network, banned, &reason, &by, now)).await
    }

    async fn audit(&self, entry: AuditEntry, by: Origin) -> Answer<AuditHead> {
        self.write(move |tx, now| Ok(audit::record(tx, entry.event, entry.subject, &entry.detail, &by, now)?))
            .await
    }

    async fn audit_page(&self, before: Option<u64>, limit: u32) -> Answer<Vec<AuditRow>> {
        self.read(move |tx, _| audit::rows(tx, before, limit)).await
    }

    async fn audit_head(&self) -> Answer<AuditHead> {
        self.read(move |tx, _| Ok(audit::head(tx)?)).await
    }

    async fn audit_verify(&self, after: Option<AuditHead>, limit: u32) -> Answer<Verified> {
        self.read(move |tx, _| audit::verify(tx, after, limit)).await
    }
}
