//! The user's own stream: one dense log for all devices, resumed by one offset.

use schema_store::accounts::Accounts;
use schema_wire::v1::user_event::Event;
use schema_wire::v1::{server_frame::Body, *};
use wire_tests::{Carrier, Session, World, scenarios};

scenarios!(a_device_that_was_away_resumes_by_one_offset, cursors_never_go_back_and_show_on_the_other_device,);

async fn a_device_that_was_away_resumes_by_one_offset(carrier: Carrier) {
    let world = World::start().await;
    let (ada, bob) = (world.person("ada").await, world.person("bob").await);
    let mut session = Session::open(&world, carrier, bob).await;
    let before = session.welcome.user_head;
    let group = world.group(ada, &[bob]).await;
    let event = session.user_event().await;
    assert_eq!((event.offset, event.generation), (before + 1, 1));
    match event.event {
        Some(Event::AddedTo(added)) => assert_eq!(
            (added.conversation, added.by, added.first, added.role.as_known()),
            (group.to_bytes(), ada.user.to_bytes(), 1, Some(Role::Member))
        ),
        other => panic!("instead of AddedTo: {other:?}"),
    }
    drop(session);
    world.store.set_setting(bob.user, "theme".into(), "dark".into()).await.expect("a setting");
    world.store.remove_member(ada.user, group, bob.user).await.expect("an owner may");
    let mut session = Session::resume(&world, carrier, bob, Some(before + 1), &[]).await;
    assert_eq!(session.welcome.user_head, before + 3);
    let (setting, removed) = (session.user_event().await, session.user_event().await);
    assert_eq!((setting.offset, removed.offset), (before + 2, before + 3));
    assert!(
        matches!(setting.event, Some(Event::SettingChanged(s)) if (&*s.name, &*s.value) == ("theme", "dark"))
    );
    assert!(matches!(removed.event, Some(Event::RemovedFrom(r)) if r.conversation == group.to_bytes()));
    let mut fresh = Session::resume(&world, carrier, world.device(bob.user).await, Some(0), &[]).await;
    let mut offset = 0;
    while offset < fresh.welcome.user_head {
        let event = fresh.user_event().await;
        assert_eq!(event.offset, offset + 1, "dense from the first");
        offset = event.offset;
    }
}

async fn cursors_never_go_back_and_show_on_the_other_device(carrier: Carrier) {
    let world = World::start().await;
    let ada = world.person("ada").await;
    let group = world.group(ada, &[]).await;
    let mut phone = Session::open(&world, carrier, ada).await;
    let mut laptop = Session::open(&world, carrier, world.device(ada.user).await).await;
    for number in 1..=4 {
        phone.publish(group, &number.to_string()).await;
    }
    for offset in [3, 1, 4] {
        let cursor = Cursor { conversation: group.to_bytes(), offset, ..Default::default() };
        phone.done(cursor).await;
    }
    for expected in [3, 4] {
        let moved = loop {
            if let Some(Event::CursorMoved(moved)) = laptop.user_event().await.event {
                break moved;
            }
        };
        assert_eq!((moved.conversation, moved.offset), (group.to_bytes(), expected));
    }
    let subscribe = Subscribe { conversation: group.to_bytes(), ..Default::default() };
    match laptop.ask(subscribe).await {
        Body::Subscribed(subscribed) => assert_eq!(subscribed.cursor, 4),
        other => panic!("instead of Subscribed: {other:?}"),
    }
}
