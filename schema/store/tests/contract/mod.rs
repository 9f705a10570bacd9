//! What every store must do, as tests generic over it. Each takes a fresh store whose clock the test moves.

/// Gives a macro every test there is, by module.
#[allow(unused_macros)]
macro_rules! contract {
    ($with:ident) => {
        $with! {
            log: offsets_are_dense_under_concurrent_appends, a_retry_gets_the_first_offset, one_refusal_does_not_spoil_the_batch, times_never_go_back, delete_leaves_a_gap_that_says_so, what_expires_is_gone, pages_are_dense_both_ways, big_pages_end_early, a_home_shard_reads_without_membership, nothing_from_blocked_suspended_or_muted;
            relation: a_first_contact_waits_for_consent, a_first_contact_has_few_messages, answering_accepts, what_is_deleted_stays_away, a_block_keeps_apart, newcomers_are_kept_apart, settings_ask_before_a_group, an_invitation_is_taken_back, names_of_groups_are_looked_at;
            member: history_honours_intervals, an_open_history_is_read_from_the_beginning, every_change_takes_the_next_version, roles_decide_who_may_what, the_muted_wait, a_pair_has_one_conversation, a_large_group_is_made_at_once, lists_go_by_recency_and_count_the_unread, members_learn_of_it;
            stream: cursors_only_move_forward, a_stream_is_paged, changes_come_in_order_and_once, who_reads_the_changes_too_late_is_told_so, attaching_knows_what_matters, acquaintances_share_a_conversation, live_sessions_hear_of_members_and_devices, it_says_that_it_is_ready;
            keys: a_package_is_claimed_once, a_new_identity_is_told, keys_are_bounded_and_not_for_strangers;
            account: an_address_registers_once, an_invite_works_once, pending_accounts_wait, a_refused_account_is_gone, a_reused_refresh_token_ends_the_family, one_of_two_concurrent_rotations_wins, devices_come_and_go, a_new_password_ends_other_sessions, a_reset_works_once_for_an_hour, failed_logins_name_the_address, the_audit_chain_holds, erasing_leaves_tombstones_only, erasing_an_owner_hands_the_group_over, an_export_has_everything_in_pages, an_administrator_is_made;
            console: a_session_lives_while_it_is_used, a_session_ends_with_role_and_account, own_sessions_are_listed_and_ended, a_code_works_once, each_session_is_shown_a_secret_of_its_own, a_change_of_factors_owes_a_letter, a_security_key_is_kept_and_its_counter_grows, a_challenge_is_taken_once_by_its_session, who_lost_every_factor_begins_anew, failures_lock_longer_each_time, an_account_with_a_role_takes_two, a_role_is_changed_by_another_administrator, the_last_administrator_is_not_erased, an_administrator_and_a_first_role_take_two, a_first_role_voids_the_password;
            detection: busy_senders_are_counted, the_same_to_many_is_noticed, rules_look_at_what_can_be_read, who_comes_back_after_a_ban_is_noticed, who_comes_back_with_the_same_device_is_noticed;
            card: a_card_says_where_and_when, a_reported_message_of_a_group_says_so, a_card_lists_what_was_done_without_a_decision, open_cases_are_counted;
            moderation: ten_reports_are_one_case, evidence_is_weighed, a_claim_keeps_others_away_for_a_while, nothing_happens_before_its_time, a_ban_needs_four_eyes, a_ban_takes_the_address_along, a_banned_block_takes_two, a_mute_keeps_reports_and_raises_no_case, an_appeal_comes_back_to_somebody_else, a_granted_appeal_reverses_the_decision, an_erasure_needs_four_eyes, what_does_not_go_is_refused, what_was_decided_about_staff_is_for_administrators;
            block: a_block_is_for_who_is_active;
            erasure: an_erased_account_leaves_nothing_to_decide;
            reversal: a_reversal_undoes_its_own_decision_only, a_reversal_ends_its_own_mute_only, an_address_stays_banned_as_long_as_somebody_wants_it, the_same_is_not_decided_twice_at_once, a_reversal_is_told_but_not_its_reason, a_reversal_leaves_what_others_demand, a_ban_of_who_is_banned_changes_nothing, an_address_that_was_also_banned_otherwise_stays_banned, the_last_administrator_is_not_taken_out;
            operations: figures_are_kept_and_forgotten, a_setting_is_changed_with_both_values_in_the_trail, accounts_are_counted_now_and_then, a_backup_is_asked_for_and_taken_once, what_is_safe_is_noted_in_place_of_what_was, proofs_are_noted_newest_first, work_is_held_by_one;
            oversight: people_are_found_by_what_is_known_of_them, an_account_is_shown_with_what_belongs_to_it, the_trail_is_filtered, guessing_addresses_are_listed;
            services: a_service_token_works_until_it_ends;
        }
    };
}

pub mod account;
pub mod block;
pub mod card;
pub mod console;
pub mod detection;
pub mod erasure;
pub mod keys;
pub mod log;
pub mod member;
pub mod moderation;
pub mod operations;
pub mod oversight;
pub mod relation;
pub mod reversal;
pub mod services;
pub mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use schema_store::rows::account::{Activation, Origin, Registration};
use schema_store::rows::conversation::RequestAnswer;
use schema_store::rows::device::NewSession;
use schema_store::{Accounts, ChangePosition, NewToken, PostgresStore, SqliteStore, Store};
use schema_wire::record::{
    Append, Appended, Change, Page, Standing, StoreReply, StoreRequest, UserEventPage,
};
use schema_wire::{ConversationId, DeviceId, Offset, Position, PublishKey, Refused, UserId};

/// Where every test's clock begins, unix ms.
pub const START: u64 = 1_800_000_000_000;

/// A clock that only the test moves.
#[derive(Clone)]
pub struct TestClock(pub Arc<AtomicU64>);

impl TestClock {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    pub fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn forward(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// A store and its clock.
pub struct Bed<S> {
    pub store: S,
    pub clock: TestClock,
}

/// A store whose log is swept.
pub trait Sweeps {
    /// Sweeps all there is to sweep, as of `now` (unix ms).
    async fn sweep_all(&self, now: u64);
}

impl Sweeps for SqliteStore {
    async fn sweep_all(&self, now: u64) {
        while self.sweep(now).await.unwrap().more {}
    }
}

impl Sweeps for PostgresStore {
    async fn sweep_all(&self, now: u64) {
        while self.sweep(now).await.unwrap().more {}
    }
}

/// A signed-in person.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    pub user: UserId,
    pub device: DeviceId,
}

pub fn key(n: u64) -> PublishKey {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    PublishKey(bytes)
}

pub fn message(from: Person, conversation: ConversationId, n: u64) -> Append {
    Append {
        conversation,
        publish_key: key(n),
        sender: from.user,
        device: from.device,
        kind: 0,
        relates_to: None,
        expires_in: None,
        expected_epoch: None,
        notify: 0,
        body: Bytes::from(format!("message {n}")),
        commitment: None,
    }
}

/// The offset of a stored message.
#[track_caller]
pub fn offset(outcome: Appended) -> u64 {
    match outcome {
        Appended::Stored { offset, .. } => offset.0,
        other => panic!("not stored: {other:?}"),
    }
}

#[track_caller]
pub fn refused(outcome: Appended) -> Refused {
    match outcome {
        Appended::Refused { refused, .. } => refused,
        other => panic!("not refused: {other:?}"),
    }
}

/// A page of a user's stream.
pub async fn events<S: Store>(bed: &Bed<S>, user: UserId, after: Position) -> UserEventPage {
    match bed.store.ask(StoreRequest::UserEvents { user, after, limit: 200 }).await {
        StoreReply::UserEvents(page) => page,
        other => panic!("{other:?}"),
    }
}

/// The end of the change log.
pub async fn now_position<S: Store>(bed: &Bed<S>) -> ChangePosition {
    bed.store.changes(ChangePosition::default(), 1).await.unwrap().1
}

pub async fn changes_since<S: Store>(bed: &Bed<S>, after: ChangePosition) -> Vec<Change> {
    bed.store.changes(after, 1000).await.unwrap().0
}

impl<S: Store + Accounts> Bed<S> {
    pub async fn person(&self, name: &str) -> Person {
        let new = Registration {
            email: format!("{name}@example.org"),
            name: name.to_owned(),
            password_hash: "$argon2id$x".to_owned(),
            invite: None,
            activation: Activation::Immediate,
        };
        let user = self.store.register(new, Origin::system()).await.unwrap();
        let (_, refresh) = NewToken::generate(self.clock.now() + 7 * 86_400_000);
        let session =
            NewSession { user, device: None, device_name: "laptop".to_owned(), refresh, rehash: None };
        let device = self.store.open_session(session, Origin::system()).await.unwrap().device;
        Person { user, device }
    }

    /// Two people with a direct conversation.
    pub async fn pair(&self) -> (Person, Person, ConversationId) {
        let (alice, bob) = (self.person("alice").await, self.person("bob").await);
        let (conversation, new) = self.store.create_direct(alice.user, bob.user).await.unwrap();
        assert!(new);
        self.store.answer_request(bob.user, conversation, RequestAnswer::Accept).await.unwrap();
        (alice, bob, conversation)
    }

    pub async fn publish(&self, append: Append) -> Appended {
        self.store.append(vec![append]).await.unwrap().pop().unwrap()
    }

    pub async fn page(&self, user: UserId, conversation: ConversationId, from: u64, backwards: bool) -> Page {
        let request = StoreRequest::Recover { user, conversation, from: Offset(from), limit: 200, backwards };
        match self.store.ask(request).await {
            StoreReply::Recover(page) => page,
            other => panic!("{other:?}"),
        }
    }

    pub async fn standing(
        &self,
        user: UserId,
        conversation: ConversationId,
        after: Option<Position>,
    ) -> Option<Standing> {
        match self.store.ask(StoreRequest::Standing { user, conversation, after }).await {
            StoreReply::Standing(standing) => standing,
            other => panic!("{other:?}"),
        }
    }
}

/// A page in a line: `1 2 deleted(3) not_member(4-6)`, and where it goes on.
pub fn sketch(page: &Page) -> String {
    use schema_wire::record::Entry;
    let mut words = Vec::new();
    for entry in &page.entries {
        words.push(match entry {
            Entry::Message(m) => m.offset.0.to_string(),
            Entry::Gone { from, to, reason } if from == to => format!("{reason:?}({})", from.0),
            Entry::Gone { from, to, reason } => format!("{reason:?}({}-{})", from.0, to.0),
        });
    }
    words.push(format!("-> {}", page.next.0));
    words.join(" ").replace("GONE_REASON_", "").to_lowercase()
}
