//! What the load generator says and hears: frames of the floors and of the relay as plain bytes, whatever carries them.
//! Publications and deliveries are written and recognised by arithmetic; everything else is decoded in full.

use anyhow::{Context, Result, anyhow, bail, ensure};
use schema_wire::Encoding;
use schema_wire::codec::{decode_server, encode_client};
use schema_wire::v1::{self, client_frame, server_frame};

use crate::plan::{Dialect, Plan};

/// Identifier of a conversation.
pub type Conversation = [u8; 16];

/// Request number of a connection's Hello.
pub const REQUEST_HELLO: u64 = 1;
/// Request number of a connection's Subscribe.
pub const REQUEST_SUBSCRIBE: u64 = 2;
/// Request number of a connection's Recover.
pub const REQUEST_RECOVER: u64 = 3;
/// First request number that publications of a connection may carry.
pub const REQUEST_PUBLISH: u64 = 4;

/// Messages asked for at once, the most the relay gives.
const PAGE: u32 = 200;

/// First byte of a floor's messages.
const JOIN: u8 = 1;
const PUBLISH: u8 = 2;

// Tags of protobuf fields: the field's number, three bits further up, and 2 (bytes) or 0 (a number).
const CLIENT_REQUEST: u8 = 1 << 3;
const CLIENT_PUBLISH: u8 = 3 << 3 | 2;
const CLIENT_SIGNAL: u8 = 14 << 3 | 2;
const PUBLISH_CONVERSATION: u8 = 1 << 3 | 2;
const PUBLISH_KEY: u8 = 2 << 3 | 2;
const PUBLISH_BODY: u8 = 9 << 3 | 2;
const SIGNAL_CONVERSATION: u8 = 1 << 3 | 2;
const SIGNAL_BODY: u8 = 2 << 3 | 2;
const SERVER_ANSWERS: u8 = 1 << 3;
const SERVER_DELIVERY: u8 = 4 << 3 | 2;
/// Field 19 needs two bytes.
const SERVER_SIGNAL_EVENT: [u8; 2] = [(19 << 3 | 2) & 0x7f | 0x80, 19 >> 4];
const DELIVERY_CONVERSATION: u8 = 1 << 3 | 2;
const DELIVERY_GENERATION: u8 = 2 << 3;
const DELIVERY_OFFSET: u8 = 3 << 3;
const DELIVERY_KEY: u8 = 12 << 3 | 2;

/// Bytes of a publish key.
const KEY_BYTES: usize = 16;
/// What follows the body of a Delivery: its publish key.
const DELIVERY_TAIL_BYTES: usize = 2 + KEY_BYTES;

/// Where a subscriber stands in its conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub generation: u32,
    pub offset: u64,
}

/// A server's frame at first sight.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// A body that was published: of a floor, of a signal, or of a stored message.
    Body(&'a [u8]),
    /// The floor's answer to a join.
    Joined,
    /// Something of the relay for [`answer`].
    Other,
}

/// What the relay says that is no delivery.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Welcome,
    Subscribed(Position),
    /// To the publication with this request number.
    Acked(u64),
    Page(Page),
    /// Nothing a load generator waits for.
    Nothing,
}

/// A part of a conversation's history.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub bodies: Vec<Vec<u8>>,
    /// Of the last of them.
    pub last: Position,
    /// First offset of the next page; 0 when there is none.
    pub next: u64,
}

/// The conversation of 32 hexadecimal digits.
///
/// # Errors
/// They are not.
pub fn conversation(digits: &str) -> Result<Conversation> {
    let number = u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32);
    Ok(number.with_context(|| format!("{digits:?} are not 32 hexadecimal digits"))?.to_be_bytes())
}

/// The conversations of all rooms of a plan; none for floors, which know rooms by number.
///
/// # Errors
/// A room of a relay's plan names no conversation.
pub fn conversations(plan: &Plan) -> Result<Vec<Conversation>> {
    match plan.dialect {
        Dialect::Floor => Ok(vec![Conversation::default(); plan.rooms.len()]),
        Dialect::Relay => plan.rooms.iter().map(|room| conversation(&room.conversation)).collect(),
    }
}

/// The frame that opens a relay's session.
pub fn hello(token: &str) -> Vec<u8> {
    let body = v1::Hello { versions: vec![1], token: token.to_owned(), ..Default::default() };
    client(REQUEST_HELLO, body.into())
}

/// The frame that follows a conversation of the relay: from now on, or after a position.
pub fn subscribe(conversation: &Conversation, after: Option<Position>) -> Vec<u8> {
    let after =
        after.map(|p| v1::Position { generation: p.generation, offset: p.offset, ..Default::default() });
    let conversation = conversation.to_vec().into();
    client(
        REQUEST_SUBSCRIBE,
        v1::Subscribe { conversation, after: after.into(), ..Default::default() }.into(),
    )
}

/// The frame that asks for the history from an offset on.
pub fn recover(conversation: &Conversation, from: u64) -> Vec<u8> {
    let conversation = conversation.to_vec().into();
    client(REQUEST_RECOVER, v1::Recover { conversation, from, limit: PAGE, ..Default::default() }.into())
}

fn client(request: u64, body: client_frame::Body) -> Vec<u8> {
    encode_client(&v1::ClientFrame { request, body: Some(body), ..Default::default() }, Encoding::Proto)
}

/// The frame that joins a room of a floor.
pub fn join(room: u32) -> [u8; 5] {
    let mut frame = [JOIN; 5];
    frame[1..].copy_from_slice(&room.to_be_bytes());
    frame
}

/// Appends a publication to a room of a floor.
pub fn publish_floor(out: &mut Vec<u8>, room: u32, body: &[u8]) {
    out.push(PUBLISH);
    out.extend_from_slice(&room.to_be_bytes());
    out.extend_from_slice(body);
}

/// Appends an ephemeral publication for the relay.
pub fn signal(out: &mut Vec<u8>, conversation: &Conversation, body: &[u8]) {
    out.push(CLIENT_SIGNAL);
    varint(out, (field_bytes(conversation.len()) + field_bytes(body.len())) as u64);
    field(out, SIGNAL_CONVERSATION, conversation);
    field(out, SIGNAL_BODY, body);
}

/// Appends a durable publication for the relay; its ack carries `request`.
pub fn publish(
    out: &mut Vec<u8>,
    request: u64,
    conversation: &Conversation,
    key: &[u8; KEY_BYTES],
    body: &[u8],
) {
    out.push(CLIENT_REQUEST);
    varint(out, request);
    out.push(CLIENT_PUBLISH);
    varint(out, (field_bytes(conversation.len()) + field_bytes(key.len()) + field_bytes(body.len())) as u64);
    field(out, PUBLISH_CONVERSATION, conversation);
    field(out, PUBLISH_KEY, key);
    field(out, PUBLISH_BODY, body);
}

fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that [`field`] writes.
fn field_bytes(bytes: usize) -> usize {
    let bits = usize::BITS - (bytes | 1).leading_zeros();
    1 + bits.div_ceil(7) as usize + bytes
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A protobuf number at the front, and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// Looks at a server's frame. `payload` is the length of the bodies that are published.
pub fn see(dialect: Dialect, frame: &[u8], payload: usize) -> Seen<'_> {
    match dialect {
        Dialect::Floor if frame == [JOIN] => Seen::Joined,
        Dialect::Floor => Seen::Body(frame),
        Dialect::Relay => see_relay(frame, payload),
    }
}

/// The kind is read from the first bytes, so that nothing but a delivery counts as one; the body lies at a fixed
/// distance from the end, whatever the lengths of the numbers before it.
fn see_relay(frame: &[u8], payload: usize) -> Seen<'_> {
    let body = match unanswered(frame) {
        [SERVER_DELIVERY, ..] => frame
            .len()
            .checked_sub(DELIVERY_TAIL_BYTES)
            .filter(|end| frame[*end] == DELIVERY_KEY && usize::from(frame[end + 1]) == KEY_BYTES),
        rest if rest.starts_with(&SERVER_SIGNAL_EVENT) => Some(frame.len()),
        _ => None,
    };
    match body.and_then(|end| frame.get(end.checked_sub(payload)?..end)) {
        Some(body) => Seen::Body(body),
        None => Seen::Other,
    }
}

/// A server's frame from its body's tag on.
fn unanswered(frame: &[u8]) -> &[u8] {
    match frame {
        [SERVER_ANSWERS, rest @ ..] => number(rest).map_or(&[], |(_, rest)| rest),
        _ => frame,
    }
}

/// The position of a Delivery.
pub fn position(frame: &[u8]) -> Option<Position> {
    let (_, rest) = number(unanswered(frame).strip_prefix(&[SERVER_DELIVERY])?)?;
    let rest = rest.strip_prefix(&[DELIVERY_CONVERSATION, 16])?.get(16..)?;
    let (generation, rest) = number(rest.strip_prefix(&[DELIVERY_GENERATION])?)?;
    let (offset, _) = number(rest.strip_prefix(&[DELIVERY_OFFSET])?)?;
    Some(Position { generation: generation as u32, offset })
}

/// Decodes what [`see`] called other.
///
/// # Errors
/// The relay refuses, loses or ends something: nothing a measured run may meet.
pub fn answer(frame: &[u8]) -> Result<Answer> {
    let decoded = decode_server(frame, Encoding::Proto)
        .map_err(|_| anyhow!("a frame of {} bytes that is no ServerFrame", frame.len()))?;
    Ok(match decoded.body {
        Some(server_frame::Body::Welcome(_)) => Answer::Welcome,
        Some(server_frame::Body::Subscribed(subscribed)) => {
            Answer::Subscribed(Position { generation: subscribed.generation, offset: subscribed.head })
        }
        Some(server_frame::Body::PublishAck(ack)) => {
            ensure!(!ack.duplicate, "an ack calls a new publish key a duplicate");
            Answer::Acked(decoded.answers)
        }
        Some(server_frame::Body::HistoryPage(page)) => Answer::Page(history(page)?),
        Some(server_frame::Body::Refusal(refusal)) => {
            bail!("refused with code {}: {}", refusal.code, refusal.message)
        }
        Some(
            unwanted @ (server_frame::Body::Gone(_)
            | server_frame::Body::Rewound(_)
            | server_frame::Body::Unsubscribed(_)
            | server_frame::Body::Notice(_)),
        ) => bail!("the relay says {unwanted:?}"),
        Some(server_frame::Body::Delivery(delivery)) => {
            bail!("a delivery with a body of {} bytes, which nobody published", delivery.body.len())
        }
        _ => Answer::Nothing,
    })
}

fn history(page: v1::HistoryPage) -> Result<Page> {
    let mut seen = Page { next: page.next, ..Page::default() };
    for item in page.items {
        let Some(v1::history_item::Item::Delivery(delivery)) = item.item else {
            bail!("history has a gap where every message was stored a moment ago");
        };
        seen.last = Position { generation: delivery.generation, offset: delivery.offset };
        seen.bodies.push(delivery.body.to_vec());
    }
    ensure!(!seen.bodies.is_empty(), "a page of history without a message");
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use schema_wire::codec::decode_client;

    use super::*;

    const PAYLOAD: usize = 128;

    fn delivery(answers: u64, offset: u64, body: &[u8]) -> Vec<u8> {
        use buffa::Message as _;
        let delivery = v1::Delivery {
            conversation: vec![7; 16].into(),
            generation: 1,
            offset,
            sender: vec![1; 16].into(),
            device: vec![2; 16].into(),
            at: 1_700_000_000_000,
            body: body.to_vec().into(),
            publish_key: vec![9; 16].into(),
            ..Default::default()
        };
        v1::ServerFrame { answers, body: Some(delivery.into()), ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn a_delivery_gives_its_body_and_position() {
        let body: Vec<u8> = (0..PAYLOAD as u8).collect();
        for (answers, offset) in [(0, 1), (300, 127), (0, 128), (1, u64::MAX)] {
            let frame = delivery(answers, offset, &body);
            assert_eq!(see(Dialect::Relay, &frame, PAYLOAD), Seen::Body(&body));
            assert_eq!(position(&frame), Some(Position { generation: 1, offset }));
        }
    }

    #[test]
    fn what_is_no_delivery_is_decoded() {
        use buffa::Message as _;
        let ack = v1::PublishAck { publish_key: vec![9; 200].into(), offset: 4, ..Default::default() };
        let frame =
            v1::ServerFrame { answers: 77, body: Some(ack.into()), ..Default::default() }.encode_to_vec();
        assert_eq!(see(Dialect::Relay, &frame, PAYLOAD), Seen::Other);
        assert_eq!(answer(&frame).expect("an ack"), Answer::Acked(77));
        let refusal = v1::Refusal { code: 400, message: "slow down".into(), ..Default::default() };
        let frame = v1::ServerFrame { body: Some(refusal.into()), ..Default::default() }.encode_to_vec();
        let error = answer(&frame).expect_err("a refusal").to_string();
        assert!(error.contains("400") && error.contains("slow down"), "{error}");
    }

    #[test]
    fn a_publication_is_what_the_schema_says() {
        let mut frame = Vec::new();
        publish(&mut frame, 300, &[7; 16], &[9; 16], &[b'x'; 200]);
        let decoded = decode_client(&frame, Encoding::Proto).expect("a frame");
        let Some(client_frame::Body::Publish(publish)) = decoded.body else { panic!("no publish") };
        assert_eq!((decoded.request, &publish.conversation[..]), (300, &[7; 16][..]));
        assert_eq!((&publish.publish_key[..], &publish.body[..]), (&[9; 16][..], &[b'x'; 200][..]));
    }

    #[test]
    fn a_signal_has_field_14_and_its_event_ends_with_the_body() {
        let mut frame = Vec::new();
        signal(&mut frame, &[7; 16], &[b'x'; PAYLOAD]);
        assert_eq!(frame[..3], [0x72, 0x95, 0x01]);
        assert_eq!(frame[3..5], [0x0a, 16]);
        assert_eq!(frame[21..24], [0x12, 0x80, 0x01]);
        assert_eq!(frame.len(), 3 + 18 + 3 + PAYLOAD);
        let event = [&[0x9a, 0x01, 0x80, 0x01][..], &[b'x'; PAYLOAD]].concat();
        assert_eq!(see(Dialect::Relay, &event, PAYLOAD), Seen::Body(&[b'x'; PAYLOAD]));
    }
}
