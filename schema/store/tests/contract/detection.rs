//! What is noticed of senders.

use bytes::Bytes;
use schema_store::detection::{ACTIVE_WITHIN_MS, Detection, MINUTE_MS, NEW_FOR_MS, Sender};

use crate::contract::moderation::Desk;
use crate::contract::{Bed, Person, message};

pub async fn busy_senders_are_counted<S: Desk + Detection>(bed: Bed<S>) {
    let (alice, bob, conversation) = bed.pair().await;
    for n in 0..12 {
        bed.publish(message(alice, conversation, n)).await;
    }
    bed.publish(message(bob, conversation, 100)).await;
    let senders = async |at_least| bed.store.senders(at_least).await.unwrap();
    let of = |senders: Vec<Sender>, person: Person| senders.into_iter().find(|one| one.user == person.user);
    let found = of(senders(2).await, alice).unwrap();
    assert_eq!((found.minute, found.first_day, found.same, found.is_staff), (12, 12, 1, false));
    assert_eq!(of(senders(2).await, bob), None, "who sends little is not looked at");
    assert_eq!(of(senders(1).await, bob).unwrap().minute, 1);
    bed.clock.forward(MINUTE_MS);
    let found = of(senders(2).await, alice).unwrap();
    assert_eq!((found.minute, found.first_day), (0, 12), "the minute is over, the day is not");
    bed.clock.forward(ACTIVE_WITHIN_MS);
    assert!(senders(1).await.is_empty(), "nobody is active");
    bed.clock.forward(NEW_FOR_MS);
    bed.publish(message(alice, conversation, 200)).await;
    assert_eq!(of(senders(1).await, alice).unwrap().first_day, 0, "an account is new for a day");
}

pub async fn the_same_to_many_is_noticed<S: Desk + Detection>(bed: Bed<S>) {
    let spam = bed.person("spam").await;
    for n in 0..4 {
        let other = bed.person(&format!("other{n}")).await;
        let (conversation, _) = bed.store.create_direct(spam.user, other.user).await.unwrap();
        let mut same = message(spam, conversation, n);
        same.body = Bytes::from_static(b"the same to everybody");
        bed.publish(same).await;
        let mut own = message(spam, conversation, 100 + n);
        own.body = Bytes::from(format!("for {n}"));
        bed.publish(own).await;
    }
    let found = bed.store.senders(1).await.unwrap();
    assert_eq!((found.len(), found[0].same, found[0].minute), (1, 4, 8));
}
