//! A greeted session: requests with their answers, and what comes unasked, in order.

use std::collections::VecDeque;

use buffa::{Inline, MessageField};
use bytes::Bytes;
use schema_wire::v1::{client_frame, server_frame::Body, *};
use schema_wire::{ConversationId, Disconnect, Refused};

use crate::{Carrier, Incoming, Link, Login, World, within};

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
pub enum After {
    Start,
    Now,
    Offset(u64),
}

impl After {
    /// The field on the wire; positions are of the first generation.
    pub fn position(self) -> MessageField<Position, Inline<Position>> {
        match self {
            Self::Now => MessageField::none(),
            Self::Start => position(0),
            Self::Offset(offset) => position(offset),
        }
    }
}

/// A position in the first generation.
pub fn position(offset: u64) -> MessageField<Position, Inline<Position>> {
    MessageField::some(Position { generation: 1, offset, ..Default::default() })
}

/// A random publish key.
pub fn key() -> Bytes {
    let mut key = [0u8; 16];
    getrandom::fill(&mut key).expect("randomness");
    Bytes::copy_from_slice(&key)
}

/// A message to publish.
pub fn publish(conversation: ConversationId, text: &str) -> Publish {
    Publish {
        conversation: conversation.to_bytes(),
        publish_key: key(),
        body: Bytes::copy_from_slice(text.as_bytes()),
        ..Default::default()
    }
}

/// A connection after Welcome.
pub struct Session {
    pub link: Link,
    pub welcome: Welcome,
    requests: u64,
    unasked: VecDeque<Body>,
}

impl Session {
    /// Connects and greets.
    pub async fn open(world: &World, carrier: Carrier, login: Login) -> Self {
        Self::resume(world, carrier, login, None, &[]).await
    }

    /// Connects and greets with positions.
    pub async fn resume(
        world: &World,
        carrier: Carrier,
        login: Login,
        user_position: Option<u64>,
        resume: &[(ConversationId, u64)],
    ) -> Self {
        let hello = Hello {
            versions: vec![1],
            token: world.token(login),
            user_position: user_position.map(position).unwrap_or_default(),
            resume: resume
                .iter()
                .map(|(c, after)| Resume {
                    conversation: c.to_bytes(),
                    after: position(*after),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        let link = within("a connection", Link::open(&world.server, carrier)).await;
        Self::greet(link, hello).await.unwrap_or_else(|(code, _)| panic!("Hello was refused with {code}"))
    }

    /// Says Hello on a link; the code of the refusal, or of the end, and the link when the answer is no.
    pub async fn greet(mut link: Link, hello: Hello) -> Result<Self, (u32, Link)> {
        link.send(&ClientFrame { request: 1, body: Some(hello.into()), ..Default::default() }).await;
        let mut unasked = VecDeque::new();
        loop {
            match within("Welcome", link.next()).await {
                Incoming::Frame(frame) => match frame.body {
                    Some(Body::Welcome(welcome)) => {
                        assert_eq!(frame.answers, 1);
                        return Ok(Self { link, welcome, requests: 1, unasked });
                    }
                    Some(Body::Refusal(refusal)) => return Err((refusal.code, link)),
                    // Streams of QUIC overtake each other.
                    other => unasked.extend(other),
                },
                // Who is banned while the handshake runs is cut by the ban, not refused by the look.
                Incoming::Closed { code: Some(code), .. } => return Err((code.into(), link)),
                closed => panic!("instead of Welcome: {closed:?}"),
            }
        }
    }

    /// Sends a request and gives its number.
    pub async fn send(&mut self, body: impl Into<client_frame::Body>) -> u64 {
        self.requests += 1;
        let frame = ClientFrame { request: self.requests, body: Some(body.into()), ..Default::default() };
        self.link.send(&frame).await;
        self.requests
    }

    /// Sends a request and waits for its answer.
    pub async fn ask(&mut self, body: impl Into<client_frame::Body>) -> Body {
        let request = self.send(body).await;
        self.answer(request).await
    }

    /// Waits for the answer to a request; what comes unasked meanwhile is kept.
    pub async fn answer(&mut self, request: u64) -> Body {
        loop {
            match within("an answer", self.link.next()).await {
                Incoming::Frame(frame) if frame.answers == request => return frame.body.expect("a body"),
                Incoming::Frame(frame) => self.unasked.extend(frame.body),
                closed => panic!("instead of an answer: {closed:?}"),
            }
        }
    }

    /// The next thing unasked.
    pub async fn next(&mut self) -> Body {
        if let Some(body) = self.unasked.pop_front() {
            return body;
        }
        match within("something unasked", self.link.next()).await {
            Incoming::Frame(frame) => frame.body.expect("a body"),
            closed => panic!("instead of a frame: {closed:?}"),
        }
    }

    /// The next of a conversation's order (Delivery, Gone, Rewound, Unsubscribed); other things are passed over.
    pub async fn next_of_log(&mut self) -> Body {
        loop {
            let body = self.next().await;
            let of_log =
                matches!(body, Body::Delivery(_) | Body::Gone(_) | Body::Rewound(_) | Body::Unsubscribed(_));
            if of_log {
                return body;
            }
        }
    }

    /// The next delivery; a hole is a failure.
    pub async fn delivery(&mut self) -> Delivery {
        match self.next_of_log().await {
            Body::Delivery(delivery) => delivery,
            other => panic!("instead of a delivery: {other:?}"),
        }
    }

    /// The next deliveries as (offset, text).
    pub async fn deliveries(&mut self, count: usize) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        for _ in 0..count {
            let d = self.delivery().await;
            all.push((d.offset, String::from_utf8_lossy(&d.body).into_owned()));
        }
        all
    }

    /// The next user event.
    pub async fn user_event(&mut self) -> UserEvent {
        loop {
            if let Body::UserEvent(event) = self.next().await {
                return event;
            }
        }
    }

    /// Publishes and waits for the ack.
    pub async fn publish(&mut self, conversation: ConversationId, text: &str) -> PublishAck {
        self.publish_as(publish(conversation, text)).await
    }

    /// Publishes this and waits for the ack.
    pub async fn publish_as(&mut self, publish: Publish) -> PublishAck {
        match self.ask(publish).await {
            Body::PublishAck(ack) => ack,
            other => panic!("instead of an ack: {other:?}"),
        }
    }

    /// Subscribes.
    pub async fn subscribe(&mut self, conversation: ConversationId, after: After) -> Subscribed {
        let after = after.position();
        let subscribe = Subscribe { conversation: conversation.to_bytes(), after, ..Default::default() };
        match self.ask(subscribe).await {
            Body::Subscribed(subscribed) => subscribed,
            other => panic!("instead of Subscribed: {other:?}"),
        }
    }

    /// Sends what must be refused.
    pub async fn refused(&mut self, body: impl Into<client_frame::Body>) -> (Refused, Refusal) {
        match self.ask(body).await {
            Body::Refusal(refusal) => (known(refusal.code), refusal),
            other => panic!("instead of a refusal: {other:?}"),
        }
    }

    /// Sends what is answered with Done.
    pub async fn done(&mut self, body: impl Into<client_frame::Body>) {
        let answer = self.ask(body).await;
        assert!(matches!(answer, Body::Done(_)), "instead of Done: {answer:?}");
    }

    /// Reads to the end and says how it came.
    pub async fn closed(&mut self) -> Option<Disconnect> {
        closed(&mut self.link).await
    }
}

/// The refusal of that number.
pub fn known(code: u32) -> Refused {
    Refused::from_code(code).unwrap_or_else(|| panic!("{code} is in no table"))
}

/// Reads a link to its end: the documented disconnect, or `None` for another end. The reason is the code's name.
pub async fn closed(link: &mut Link) -> Option<Disconnect> {
    let (code, reason) = closed_with(link).await;
    let disconnect = Disconnect::from_code(code?)?;
    assert_eq!(reason, disconnect.name());
    Some(disconnect)
}

/// Reads a link to its end: code and reason.
pub async fn closed_with(link: &mut Link) -> (Option<u16>, String) {
    within("the end of the connection", async {
        loop {
            if let Incoming::Closed { code, reason } = link.next().await {
                return (code, reason);
            }
        }
    })
    .await
}
