//! What one node says to the others through the bus. Every frame is a hint that may be lost, doubled or overtaken; the
//! store is the truth. Each frame names its version, so that nodes of two releases run side by side.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use buffa::{UnknownField, UnknownFieldData};

use crate::codec;
use crate::frame::{Frame, Lane};
use crate::id::{ConversationId, DeviceId, Generation, Offset, PublishKey, UserId};
use crate::peer::Ephemeral;
use crate::publication::{Publication, Shared};
use crate::v1::{PresenceState, ServerFrame, server_frame::Body};

/// The version this release writes. It rises with a change that the release before could not read, and only a release
/// after [`READS`] did, so that each release reads what its neighbours write; new kinds and new fields at a frame's end
/// need none. A frame of a version that is not read makes its reader ask the store more often.
pub const VERSION: u8 = 1;
/// The versions this release reads.
pub const READS: RangeInclusive<u8> = 1..=VERSION;
/// Longest frame, in bytes: the largest message with room around it.
pub const BUS_BYTES_MAX: usize = codec::FRAME_BYTES_MAX + 1024;

const MAGIC: [u8; 2] = *b"RB";
const HEADER: usize = 12;
/// Number of a field of `ServerFrame` that only nodes write; reserved in the schema.
const MEMBERS_VERSION_FIELD: u32 = 2_000;

/// One life of one node's process: a random number, so that nobody takes its own frames for another's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Life(pub u64);

/// Whom a frame concerns: nodes hear what concerns those they serve, and what concerns all nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    Conversation(ConversationId),
    User(UserId),
    Nodes,
}

impl Subject {
    /// The channel of the bus that carries it.
    pub fn channel(self) -> String {
        match self {
            Self::Conversation(id) => format!("relay:1:c:{id}"),
            Self::User(id) => format!("relay:1:u:{id}"),
            Self::Nodes => "relay:1:nodes".into(),
        }
    }

    /// A well-mixed number for choosing the shard it concerns.
    pub fn spread(self) -> u64 {
        match self {
            Self::Conversation(id) => id.spread(),
            Self::User(id) => id.spread(),
            Self::Nodes => 0,
        }
    }
}

/// What the homes of two nodes tell each other.
#[derive(Clone, Debug)]
pub enum Hint {
    /// A message was appended.
    Publication(Shared),
    /// Somebody types or read up to somewhere. `serial` rises per conversation and life; `members_version` is one in which
    /// the user is a member, 0 from a release that does not say.
    Ephemeral {
        conversation: ConversationId,
        serial: u64,
        user: UserId,
        members_version: u64,
        event: Ephemeral,
    },
    /// An ephemeral publication. `serial` is of the same row.
    Signal { conversation: ConversationId, serial: u64, user: UserId, members_version: u64, frame: Frame },
    /// What the user shows on the node that says so. Unix milliseconds. Good for one lease.
    Presence { user: UserId, state: PresenceState, seen_at: u64 },
    /// Whoever has sessions of the user says what they show.
    PresenceAsked { user: UserId },
}

impl Hint {
    /// Whom it concerns.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Publication(publication) => Subject::Conversation(publication.conversation),
            Self::Ephemeral { conversation, .. } | Self::Signal { conversation, .. } => {
                Subject::Conversation(*conversation)
            }
            Self::Presence { user, .. } | Self::PresenceAsked { user } => Subject::User(*user),
        }
    }
}

/// Everything that travels between nodes.
#[derive(Clone, Debug)]
pub enum BusFrame {
    Hint(Hint),
    /// A sign of life, to itself too: `sent_us` is the sender's own clock, `lost` how many of its frames never left.
    Beat {
        sent_us: u64,
        lost: u64,
    },
    /// The change log grew: read it now.
    Nudge,
    /// The node goes away on purpose.
    Bye,
}

/// Why a frame is passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// Not one of ours.
    Foreign,
    /// Of a release this one does not know.
    Version,
    /// Of a kind this release does not know.
    Kind,
    /// Cut short, too long, or at odds with itself.
    Malformed,
}

impl Unreadable {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Foreign, Self::Version, Self::Kind, Self::Malformed];

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Version => "version",
            Self::Kind => "kind",
            Self::Malformed => "malformed",
        }
    }
}

mod kind {
    pub(super) const PUBLICATION: u8 = 1;
    pub(super) const TYPING: u8 = 2;
    pub(super) const CURSOR: u8 = 3;
    pub(super) const SIGNAL: u8 = 4;
    pub(super) const PRESENCE: u8 = 5;
    pub(super) const PRESENCE_ASKED: u8 = 6;
    pub(super) const BEAT: u8 = 16;
    pub(super) const NUDGE: u8 = 17;
    pub(super) const BYE: u8 = 18;
}

/// The bytes of a frame: magic, version, kind, life, then the fields of the kind, numbers big-endian.
pub fn encode(life: Life, frame: &BusFrame) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + 64);
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.push(kind_of(frame));
    out.extend_from_slice(&life.0.to_be_bytes());
    match frame {
        BusFrame::Hint(hint) => write_hint(&mut out, hint),
        BusFrame::Beat { sent_us, lost } => {
            out.extend_from_slice(&sent_us.to_be_bytes());
            out.extend_from_slice(&lost.to_be_bytes());
        }
        BusFrame::Nudge | BusFrame::Bye => {}
    }
    out
}

fn kind_of(frame: &BusFrame) -> u8 {
    match frame {
        BusFrame::Hint(Hint::Publication(_)) => kind::PUBLICATION,
        BusFrame::Hint(Hint::Ephemeral { event: Ephemeral::Typing { .. }, .. }) => kind::TYPING,
        BusFrame::Hint(Hint::Ephemeral { event: Ephemeral::Cursor { .. }, .. }) => kind::CURSOR,
        BusFrame::Hint(Hint::Signal { .. }) => kind::SIGNAL,
        BusFrame::Hint(Hint::Presence { .. }) => kind::PRESENCE,
        BusFrame::Hint(Hint::PresenceAsked { .. }) => kind::PRESENCE_ASKED,
        BusFrame::Beat { .. } => kind::BEAT,
        BusFrame::Nudge => kind::NUDGE,
        BusFrame::Bye => kind::BYE,
    }
}

fn write_hint(out: &mut Vec<u8>, hint: &Hint) {
    match hint {
        Hint::Publication(publication) => {
            out.extend_from_slice(&publication.members_version.to_be_bytes());
            out.extend_from_slice(&publication.frame.body());
        }
        Hint::Ephemeral { conversation, serial, user, members_version, event } => {
            out.extend_from_slice(&conversation.0);
            out.extend_from_slice(&serial.to_be_bytes());
            out.extend_from_slice(&user.0);
            let value = match event {
                Ephemeral::Typing { active } => u64::from(*active),
                Ephemeral::Cursor { offset } => offset.0,
            };
            out.extend_from_slice(&value.to_be_bytes());
            out.extend_from_slice(&members_version.to_be_bytes());
        }
        Hint::Signal { conversation, serial, members_version, frame, .. } => {
            out.extend_from_slice(&conversation.0);
            out.extend_from_slice(&serial.to_be_bytes());
            out.extend_from_slice(&frame.body());
            member_since(*members_version).write_to(out);
        }
        Hint::Presence { user, state, seen_at } => {
            out.extend_from_slice(&user.0);
            out.push(*state as u8);
            out.extend_from_slice(&seen_at.to_be_bytes());
        }
        Hint::PresenceAsked { user } => out.extend_from_slice(&user.0),
    }
}

/// Who said what. Fields behind those of this version are passed over.
pub fn decode(bytes: &[u8]) -> Result<(Life, BusFrame), Unreadable> {
    let mut rest = Fields(bytes);
    if rest.array()? != MAGIC {
        return Err(Unreadable::Foreign);
    }
    let [version, kind] = rest.array()?;
    if !READS.contains(&version) {
        return Err(Unreadable::Version);
    }
    if bytes.len() > BUS_BYTES_MAX {
        return Err(Unreadable::Malformed);
    }
    let life = Life(rest.number()?);
    let frame = match kind {
        kind::BEAT => BusFrame::Beat { sent_us: rest.number()?, lost: rest.number()? },
        kind::NUDGE => BusFrame::Nudge,
        kind::BYE => BusFrame::Bye,
        kind => BusFrame::Hint(read_hint(kind, &mut rest)?),
    };
    Ok((life, frame))
}

fn read_hint(kind: u8, rest: &mut Fields<'_>) -> Result<Hint, Unreadable> {
    Ok(match kind {
        kind::PUBLICATION => {
            let members_version = rest.number()?;
            Hint::Publication(Arc::new(publication(members_version, rest.0)?))
        }
        kind::TYPING | kind::CURSOR => {
            let (conversation, serial) = (ConversationId(rest.array()?), rest.number()?);
            let (user, value) = (UserId(rest.array()?), rest.number()?);
            let event = match kind {
                kind::TYPING => Ephemeral::Typing { active: value != 0 },
                _ => Ephemeral::Cursor { offset: Offset(value) },
            };
            let members_version = if rest.0.is_empty() { 0 } else { rest.number()? };
            Hint::Ephemeral { conversation, serial, user, members_version, event }
        }
        kind::SIGNAL => {
            let (conversation, serial) = (ConversationId(rest.array()?), rest.number()?);
            let (user, members_version, frame) = signal(conversation, rest.0)?;
            Hint::Signal { conversation, serial, user, members_version, frame }
        }
        kind::PRESENCE => {
            let user = UserId(rest.array()?);
            let [state] = rest.array()?;
            let state = shown(state).ok_or(Unreadable::Malformed)?;
            Hint::Presence { user, state, seen_at: rest.number()? }
        }
        kind::PRESENCE_ASKED => Hint::PresenceAsked { user: UserId(rest.array()?) },
        _ => return Err(Unreadable::Kind),
    })
}

fn shown(state: u8) -> Option<PresenceState> {
    use PresenceState as P;
    [P::Unspecified, P::Online, P::Away, P::Offline, P::Hidden]
        .into_iter()
        .find(|known| *known as u8 == state)
}

/// Everything about a publication is read from the frame its recipients get, so the two never differ.
fn publication(members_version: u64, body: &[u8]) -> Result<Publication, Unreadable> {
    let malformed = Unreadable::Malformed;
    let frame: ServerFrame = codec::decode_shared(body).map_err(|_| malformed)?;
    let (0, Some(Body::Delivery(delivery))) = (frame.answers, frame.body) else { return Err(malformed) };
    let conversation = ConversationId::from_slice(&delivery.conversation).ok_or(malformed)?;
    if delivery.offset == 0 {
        return Err(malformed);
    }
    Ok(Publication {
        conversation,
        generation: Generation(delivery.generation),
        offset: Offset(delivery.offset),
        kind: delivery.kind,
        sender: UserId::from_slice(&delivery.sender).ok_or(malformed)?,
        device: DeviceId::from_slice(&delivery.device).ok_or(malformed)?,
        at: delivery.at,
        relates_to: delivery.relates_to.map(Offset),
        expires_at: delivery.expires_at,
        publish_key: PublishKey::from_slice(&delivery.publish_key).ok_or(malformed)?,
        members_version,
        origin: None,
        frame: Frame::from_body(body, Lane::Conversation(conversation.spread())),
    })
}

/// Who sent it is read from the frame its recipients get, too. They don't get what stands behind it.
fn signal(conversation: ConversationId, body: &[u8]) -> Result<(UserId, u64, Frame), Unreadable> {
    let frame: ServerFrame = codec::decode_shared(body).map_err(|_| Unreadable::Malformed)?;
    let said = frame.__buffa_unknown_fields.iter().rfind(|field| field.number == MEMBERS_VERSION_FIELD);
    let (members_version, body) = match said {
        Some(UnknownField { data: UnknownFieldData::Fixed64(version), .. }) => {
            let mut end = Vec::new();
            member_since(*version).write_to(&mut end);
            (*version, body.strip_suffix(&end[..]).unwrap_or(body))
        }
        _ => (0, body),
    };
    match (frame.answers, frame.body) {
        (0, Some(Body::SignalEvent(event))) if event.conversation[..] == conversation.0 => {
            let user = UserId::from_slice(&event.sender).ok_or(Unreadable::Malformed)?;
            let frame = Frame::from_body(body, Lane::Conversation(conversation.spread()));
            Ok((user, members_version, frame))
        }
        _ => Err(Unreadable::Malformed),
    }
}

/// The last field of a signal between nodes. A frame that fills the rest leaves no room behind it, so it is one that
/// releases and clients which don't know it pass over (Protocol Buffers, "Unknown Fields").
fn member_since(members_version: u64) -> UnknownField {
    UnknownField { number: MEMBERS_VERSION_FIELD, data: UnknownFieldData::Fixed64(members_version) }
}

/// What is left to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Unreadable::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }
}
