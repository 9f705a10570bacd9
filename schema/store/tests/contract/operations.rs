//! What the pages about running the product keep.

use schema_store::operations::{REQUEST_WAITS_MS, REQUESTS_MAX, SPAN_BYTES_MAX};
use schema_store::rows::account::Origin;
use schema_store::rows::backup::{BackupWork, CheckRow, DrillRow, LogNote, LogNoted, RequestState};
use schema_store::rows::operations::SettingChange;
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Operations};

use crate::contract::oversight::Overseen;
use crate::contract::{Bed, START, message};

const DAY: u64 = 86_400_000;

pub async fn figures_are_kept_and_forgotten<S: Overseen + Operations>(bed: Bed<S>) {
    let store = &bed.store;
    for (began_at, figures) in [(600_000, "b"), (300_000, "a"), (900_000, "c"), (300_000, "late")] {
        store.keep_span(began_at, 300, figures.into()).await.unwrap();
    }
    store.keep_span(0, 3600, "hour".into()).await.unwrap();
    let read = async |length_s, from, until, limit| -> Vec<(u64, Vec<u8>)> {
        store.spans(length_s, from, until, limit).await.unwrap()
    };
    let both = vec![(300_000, b"a".to_vec()), (600_000, b"b".to_vec())];
    assert_eq!(read(300, 300_000, 900_000, 9).await, both, "in order; of two the first one stays");
    assert_eq!(read(300, 0, u64::MAX, 1).await.len(), 1);
    store.forget_spans(300, 900_000).await.unwrap();
    assert_eq!(read(300, 0, u64::MAX, 9).await, [(900_000, b"c".to_vec())]);
    assert_eq!(read(3600, 0, u64::MAX, 9).await, [(0, b"hour".to_vec())], "of another length");
    let huge = store.keep_span(1, 300, vec![0; SPAN_BYTES_MAX + 1]).await;
    assert!(matches!(huge, Err(AccountError::Invalid { .. })), "{huge:?}");
    assert!(
        store.backups_noted(9).await.unwrap().is_empty() && store.drills_noted(9).await.unwrap().is_empty()
    );
}

pub async fn a_setting_is_changed_with_both_values_in_the_trail<S: Overseen + Operations>(bed: Bed<S>) {
    let ada = bed.staff("ada", AccountRole::Admin).await;
    let by = || Origin { actor: Some(ada), ..Origin::system() };
    let before = bed.store.audit_head().await.unwrap().id;
    for value in [Some("60"), Some("60"), Some("80"), None, None] {
        bed.store.change_setting("flag-rate", value.map(str::to_owned), by()).await.unwrap();
    }
    let trail = bed.store.audit_page(None, 9).await.unwrap();
    let told: Vec<_> = trail.iter().filter(|row| row.id > before).map(|row| row.detail.as_str()).collect();
    let expected = ["flag-rate: 80 -> (default)", "flag-rate: 60 -> 80", "flag-rate: (default) -> 60"];
    assert_eq!(told, expected, "and what changes nothing is no change");
    bed.store.change_setting("flag-burst", Some("9".into()), by()).await.unwrap();
    let set = bed.store.settings_set().await.unwrap();
    let set: Vec<_> = set.iter().map(|one| (&*one.name, &*one.value, &*one.changed_by)).collect();
    assert_eq!(set, [("flag-burst", "9", "ada")]);
    let huge = bed.store.change_setting("flag-burst", Some("9".repeat(2049)), by()).await;
    assert!(matches!(huge, Err(AccountError::Invalid { .. })), "{huge:?}");
    let change =
        |name, value: &str, is_secret| SettingChange { name, value: Some(value.to_owned()), is_secret };
    let both = vec![change("mail-host", "mail.example", false), change("mail-password", "sealed", true)];
    bed.store.change_settings(both, by()).await.unwrap();
    let another =
        vec![change("mail-password", "sealed anew", true), change("mail-host", &"9".repeat(2049), false)];
    assert!(bed.store.change_settings(another, by()).await.is_err());
    let trail = bed.store.audit_page(None, 2).await.unwrap();
    let told: Vec<_> = trail.iter().map(|row| row.detail.as_str()).collect();
    assert_eq!(told, ["mail-password: (default) -> (set)", "mail-host: (default) -> mail.example"]);
    let mut set = bed.store.operator_settings().await.unwrap();
    set.sort();
    let expected = [("flag-burst", "9"), ("mail-host", "mail.example"), ("mail-password", "sealed")];
    assert_eq!(set, expected.map(|(name, value)| (name.to_owned(), value.to_owned())), "all of them or none");
}

pub async fn accounts_are_counted_now_and_then<S: Overseen + Operations>(bed: Bed<S>) {
    assert_eq!(bed.store.statistics().await, Ok(None), "nobody counted yet");
    bed.clock.forward(DAY - START % DAY - 1000);
    let (alice, bob, conversation) = bed.pair().await;
    for n in 0..3 {
        bed.publish(message(bob, conversation, n)).await;
    }
    bed.publish(message(alice, conversation, 9)).await;
    let take = async |older_than| bed.store.take_statistics(older_than).await.unwrap();
    assert!(take(0).await);
    let counted = bed.store.statistics().await.unwrap().unwrap();
    assert_eq!((counted.new_today, counted.taken_at), (2, bed.clock.now()));
    let senders: Vec<_> = counted.senders.iter().map(|row| (row.email.as_deref(), row.number)).collect();
    assert_eq!(senders, [(Some("bob@example.org"), 3), (Some("alice@example.org"), 1)], "most first");
    assert!(counted.storage.is_empty(), "nobody has media");
    bed.clock.forward(2000);
    assert!(!take(counted.taken_at - 1).await, "that is recent enough");
    assert_eq!(bed.store.statistics().await.unwrap().unwrap(), counted, "and stays");
    assert!(take(counted.taken_at).await);
    assert_eq!(bed.store.statistics().await.unwrap().unwrap().new_today, 0, "another day began");
    bed.clock.forward(8 * DAY);
    assert!(take(bed.clock.now()).await);
    assert_eq!(bed.store.statistics().await.unwrap().unwrap().active, 0, "nobody was here for a week");
    bed.store.erase_account(bob.user, "asked".into(), Origin::system()).await.unwrap();
    let kept = bed.store.statistics().await.unwrap().unwrap();
    assert_eq!(kept.senders[0].email, None, "whoever is gone has no address in it");
}

pub async fn a_backup_is_asked_for_and_taken_once<S: Overseen + Operations>(bed: Bed<S>) {
    let sue = bed.staff("sue", AccountRole::Sre).await;
    let ask = async |work| bed.store.ask_backup(work, Origin { actor: Some(sue), ..Origin::system() }).await;
    let take = async || bed.store.take_backup_request().await.unwrap();
    let states = async || -> Vec<(BackupWork, RequestState)> {
        let requests = bed.store.backup_requests(99).await.unwrap();
        requests.into_iter().map(|request| (request.work, request.state)).collect()
    };
    assert_eq!(take().await, None);
    let before = bed.store.audit_head().await.unwrap().id;
    ask(BackupWork::Run).await.unwrap();
    assert_eq!(ask(BackupWork::Run).await, Err(AccountError::Overtaken), "one of a kind waits");
    bed.clock.forward(10);
    ask(BackupWork::Drill).await.unwrap();
    let trail = bed.store.audit_page(None, 9).await.unwrap();
    let told: Vec<_> =
        trail.iter().filter(|row| row.id > before).map(|row| (&*row.event, &*row.detail)).collect();
    assert_eq!(told, [("BACKUP_ASKED", "DRILL"), ("BACKUP_ASKED", "RUN")], "and nothing of what was refused");
    let waiting = vec![(BackupWork::Drill, RequestState::Waits), (BackupWork::Run, RequestState::Waits)];
    assert_eq!(states().await, waiting, "newest first");
    assert_eq!(bed.store.backup_requests(1).await.unwrap()[0].asker, "sue");
    let (run, work) = take().await.unwrap();
    assert_eq!(work, BackupWork::Run, "oldest first");
    bed.clock.forward(10);
    ask(BackupWork::Run).await.unwrap();
    let (drill, work) = take().await.unwrap();
    assert_eq!(work, BackupWork::Drill);
    bed.store.end_backup_request(run, Ok("x".repeat(600))).await.unwrap();
    bed.store.end_backup_request(run, Err("too late".into())).await.unwrap();
    let at = bed.clock.now();
    assert_eq!(bed.store.give_up_backup_requests().await, Ok(1));
    bed.store.end_backup_request(drill, Ok("too late".into())).await.unwrap();
    let ended = states().await;
    assert_eq!(ended[0].1, RequestState::Waits, "what waits is not given up");
    assert!(
        matches!(&ended[1].1, RequestState::Ended { succeeded: false, detail, .. } if detail.contains("ended"))
    );
    assert_eq!(ended[2].1, RequestState::Ended { at, succeeded: true, detail: "x".repeat(512) });
    bed.clock.forward(REQUEST_WAITS_MS);
    assert_eq!((take().await, states().await[0].1.clone()), (None, RequestState::Lapsed));
    ask(BackupWork::Run).await.unwrap();
    assert!(take().await.is_some());
    assert!(matches!(states().await[0].1, RequestState::Taken { at } if at == bed.clock.now()));
    for _ in 0..REQUESTS_MAX {
        ask(BackupWork::Run).await.unwrap();
        take().await.unwrap();
    }
    assert_eq!(
        bed.store.backup_requests(u32::MAX).await.unwrap().len(),
        REQUESTS_MAX as usize,
        "old ones go"
    );
}

pub async fn what_is_safe_is_noted_in_place_of_what_was<S: Operations>(bed: Bed<S>) {
    assert_eq!(bed.store.log_noted().await, Ok(None), "nobody follows a log");
    for (safe_at, continues) in [(START + 1, false), (START + 9, true), (START + 5, true)] {
        let note = LogNote {
            safe_at,
            lag_bytes: 7,
            sealed_to: "0/5000300".into(),
            unbroken_from: "0/3000000".into(),
            unbroken_since: START,
            continues,
        };
        bed.clock.forward(1000);
        bed.store.note_log(note.clone()).await.unwrap();
        let noted = LogNoted { note, noted_at: bed.clock.now() };
        assert_eq!(noted.safe_at(), continues.then_some(safe_at));
        assert_eq!(bed.store.log_noted().await, Ok(Some(noted)), "also an earlier moment, after a restore");
    }
}

pub async fn proofs_are_noted_newest_first<S: Operations>(bed: Bed<S>) {
    let check = |n: u64| CheckRow {
        passed: n > 1,
        started_at: START + n,
        finished_at: START + n + 3,
        detail: n.to_string(),
    };
    let drill = |n: u64| DrillRow {
        passed: n > 1,
        started_at: START + n,
        finished_at: START + n + 9_000,
        took_ms: (n > 1).then_some(4_000),
        detail: n.to_string(),
    };
    for n in [1, 2] {
        bed.store.note_check(check(n)).await.unwrap();
        bed.store.note_drill(drill(n)).await.unwrap();
    }
    assert_eq!(bed.store.checks_noted(10).await.unwrap(), [check(2), check(1)]);
    assert_eq!(bed.store.checks_noted(1).await.unwrap(), [check(2)]);
    assert_eq!(bed.store.drills_noted(10).await.unwrap(), [drill(2), drill(1)]);
    assert_eq!(
        (drill(2).restore_ms(), drill(1).restore_ms()),
        (4_000, 9_000),
        "what was kept before has no other"
    );
    bed.store.note_check(CheckRow { detail: "é".repeat(600), ..check(3) }).await.unwrap();
    assert_eq!(bed.store.checks_noted(1).await.unwrap()[0].detail, "é".repeat(512));
}

pub async fn work_is_held_by_one<S: Operations>(bed: Bed<S>) {
    let hold = async |holder, for_ms| bed.store.hold_work("letters", [holder; 16], for_ms).await.unwrap();
    assert!(hold(1, 1000).await);
    assert!(!hold(2, 1000).await, "somebody does it");
    assert!(bed.store.hold_work("others", [2; 16], 1000).await.unwrap(), "that is other work");
    bed.clock.forward(999);
    assert!(!hold(2, 1000).await && hold(1, 1000).await, "kept");
    bed.clock.forward(999);
    assert!(!hold(2, 0).await, "nor lets anybody go for another");
    bed.clock.forward(1);
    assert!(hold(2, 1000).await, "whoever did it is late");
    assert!(!hold(1, 1000).await);
    assert!(hold(2, 0).await, "let go");
    assert!(hold(1, 1000).await);
}
