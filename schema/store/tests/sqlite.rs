//! The contract against SQLite.
#![allow(clippy::unwrap_used)]

mod contract;

use contract::{Bed, TestClock, account, keys, log, member, stream};
use schema_store::SqliteStore;
use schema_store::sqlite::Options;
use std::sync::Arc;

/// A fresh store in a folder of its own.
fn bed() -> (tempfile::TempDir, Bed<SqliteStore>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let reading = clock.clone();
    let options = Options { clock: Arc::new(move || reading.now()), ..Options::default() };
    let store = SqliteStore::open_with(&folder.path().join("store.db"), options).unwrap();
    (folder, Bed { store, clock })
}

macro_rules! contract {
    ($($module:ident: $($test:ident),* $(,)?;)*) => {$($(
        #[tokio::test]
        async fn $test() {
            let (_folder, bed) = bed();
            $module::$test(bed).await;
        }
    )*)*};
}

contract! {
    log: offsets_are_dense_under_concurrent_appends, a_retry_gets_the_first_offset, one_refusal_does_not_spoil_the_batch, times_never_go_back, delete_leaves_a_gap_that_says_so, what_expires_is_gone, pages_are_dense_both_ways, big_pages_end_early, a_home_shard_reads_without_membership, nothing_from_blocked_suspended_or_muted;
    member: history_honours_intervals, an_open_history_is_read_from_the_beginning, every_change_takes_the_next_version, roles_decide_who_may_what, the_muted_wait, a_pair_has_one_conversation, a_large_group_is_made_at_once, lists_go_by_recency_and_count_the_unread, members_learn_of_it;
    stream: cursors_only_move_forward, a_stream_is_paged, changes_come_in_order_and_once, attaching_knows_what_matters, acquaintances_share_a_conversation, live_sessions_hear_of_members_and_devices, it_says_that_it_is_ready;
    keys: a_package_is_claimed_once, a_new_identity_is_told, keys_are_bounded_and_not_for_strangers;
    account: an_address_registers_once, an_invite_works_once, pending_accounts_wait, a_reused_refresh_token_ends_the_family, one_of_two_concurrent_rotations_wins, devices_come_and_go, a_new_password_ends_other_sessions, a_reset_works_once_for_an_hour, failed_logins_name_the_address, the_audit_chain_holds, erasing_leaves_tombstones_only, erasing_an_owner_hands_the_group_over, an_export_has_everything_in_pages, an_administrator_is_made;
}
