//! People found and shown; the audit trail filtered.

use std::net::IpAddr;

use schema_store::rows::account::{AuditEntry, Origin, audit_event};
use schema_store::rows::oversight::AuditFilter;
use schema_store::rows::role::AccountRole;
use schema_store::{AccountError, Oversight};
use schema_wire::UserId;

use crate::contract::Bed;
use crate::contract::moderation::Desk;

pub trait Overseen: Desk + Oversight {}
impl<S: Desk + Oversight> Overseen for S {}

impl<S: Overseen> Bed<S> {
    async fn found(&self, text: &str) -> Vec<String> {
        let people = self.store.find_people(text.into(), None).await.unwrap();
        people.into_iter().map(|person| person.name).collect()
    }

    async fn note(&self, event: &'static str, subject: Option<UserId>, address: Option<IpAddr>) {
        let by = Origin { actor: None, address, user_agent: None };
        let entry = AuditEntry { event, subject, detail: String::new() };
        self.store.audit(entry, by).await.unwrap();
    }
}

pub async fn people_are_found_by_what_is_known_of_them<S: Overseen>(bed: Bed<S>) {
    let mut ids = Vec::new();
    for name in ["Anna", "annabel", "bob", "50%_off"] {
        ids.push(bed.person(name).await.user);
        bed.clock.forward(1);
    }
    assert_eq!(bed.found("").await, ["50%_off", "bob", "annabel", "Anna"], "newest first");
    assert_eq!(bed.found("ANN").await, ["annabel", "Anna"], "in any case");
    assert_eq!(bed.found("nabe").await, ["annabel"], "anywhere in it");
    assert_eq!(bed.found("b@exam").await, ["bob"], "also in the address");
    assert_eq!(bed.found("nabel@exam").await, ["annabel"], "on both sides of the sign");
    assert!(bed.found("nabel@elsewhere").await.is_empty(), "all of it");
    assert_eq!(bed.found("an").await, ["annabel", "Anna"], "a short text begins it");
    assert!(bed.found("nn").await.is_empty(), "and nothing else");
    assert_eq!(bed.found("%_o").await, ["50%_off"], "every sign stands for itself");
    assert!(bed.found("a%l").await.is_empty() && bed.found("a_n").await.is_empty());
    let bob = ids[2].to_string();
    assert_eq!(bed.found(&bob).await, ["bob"]);
    assert_eq!(bed.found(&bob[..11]).await.len(), 4, "ids of the same moment begin alike");
    assert!(bed.found(&UserId([1; 16]).to_string()).await.is_empty());
    let rest = bed.store.find_people("ann".into(), Some(ids[1])).await.unwrap();
    assert_eq!(rest.iter().map(|person| person.user).collect::<Vec<_>>(), [ids[0]], "the next page");
}

pub async fn an_account_is_shown_with_what_belongs_to_it<S: Overseen>(bed: Bed<S>) {
    let mia = bed.staff("mia", AccountRole::Moderator).await;
    let (alice, bob, _) = bed.pair().await;
    let shown = bed.store.person(bob.user).await.unwrap();
    assert_eq!((shown.sessions, shown.conversations, shown.storage, shown.strikes), (1, 1, 0, 0));
    assert_eq!((shown.devices.len(), shown.devices[0].id), (1, bob.device));
    let by = Origin { actor: Some(mia), ..Origin::system() };
    for text in ["called, nobody there", "  apologised "] {
        bed.store.add_note(bob.user, text.into(), by.clone()).await.unwrap();
        bed.clock.forward(1);
    }
    let notes = bed.store.person(bob.user).await.unwrap().notes;
    let texts: Vec<_> = notes.iter().map(|note| (note.author.as_str(), note.text.as_str())).collect();
    assert_eq!(texts, [("mia", "apologised"), ("mia", "called, nobody there")]);
    let empty = bed.store.add_note(bob.user, " ".into(), by.clone()).await;
    assert!(matches!(empty, Err(AccountError::Invalid { field: "note", .. })), "{empty:?}");
    let nobody = UserId([1; 16]);
    assert_eq!(bed.store.add_note(nobody, "who?".into(), by).await, Err(AccountError::NotFound));
    assert_eq!(bed.store.person(nobody).await.unwrap_err(), AccountError::NotFound);
    bed.store.erase_account(bob.user, "asked".into(), Origin::system()).await.unwrap();
    let gone = bed.store.person(bob.user).await.unwrap();
    assert_eq!((gone.row.email, gone.notes.len(), gone.devices.len()), (None, 0, 0), "nothing is left");
    assert!(bed.found("bob").await.is_empty());
    assert_eq!(bed.store.person(alice.user).await.unwrap().row.name, "alice");
}

pub async fn the_trail_is_filtered<S: Overseen>(bed: Bed<S>) {
    let bob = bed.person("bob").await.user;
    let before = bed.store.audit_head().await.unwrap().id;
    for n in 0..6 {
        let event = if n % 2 == 0 { audit_event::AUDIT_READ } else { audit_event::AUDIT_EXPORTED };
        bed.note(event, (n < 3).then_some(bob), None).await;
    }
    let ids = async |event: Option<&str>, subject, last| -> Vec<u64> {
        let filter = AuditFilter { event: event.map(str::to_owned), subject };
        let rows = bed.store.find_audit(filter, last, 3).await.unwrap();
        rows.into_iter().map(|row| row.id - before).collect()
    };
    assert_eq!(ids(None, None, None).await, [6, 5, 4]);
    assert_eq!(ids(None, None, Some(before + 4)).await, [3, 2, 1]);
    assert_eq!(ids(Some("AUDIT_READ"), None, None).await, [5, 3, 1]);
    assert_eq!(ids(None, Some(bob), None).await, [3, 2, 1]);
    assert_eq!(ids(Some("AUDIT_EXPORTED"), Some(bob), None).await, [2]);
    assert!(ids(Some("NOTHING"), None, None).await.is_empty());
}

pub async fn guessing_addresses_are_listed<S: Overseen>(bed: Bed<S>) {
    let since = bed.clock.now();
    let (busy, quiet) = (IpAddr::from([203, 0, 113, 7]), IpAddr::from([203, 0, 113, 8]));
    bed.note(audit_event::LOGIN_FAILED, None, Some(busy)).await;
    bed.clock.forward(1);
    for _ in 0..6 {
        bed.note(audit_event::LOGIN_FAILED, None, Some(busy)).await;
        bed.note(audit_event::LOGIN, None, Some(quiet)).await;
    }
    for _ in 0..5 {
        bed.note(audit_event::LOGIN_FAILED, None, Some(quiet)).await;
    }
    bed.note(audit_event::LOGIN_FAILED, None, None).await;
    let found = bed.store.failed_sign_ins(since, 5).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|one| (one.address, one.attempts)).collect();
    assert_eq!(found, [(busy, 6)], "more than five, and not the one before");
}
