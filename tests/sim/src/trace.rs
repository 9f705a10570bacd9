//! The steps of each message of one conversation, as they happen; the words are the names of the files.

use relay_proto::Event;
use schema_wire::bus::Hint;
use schema_wire::peer::PeerFrame;
use schema_wire::record::{Append, Appended};
use schema_wire::v1::{ClientFrame, ServerFrame, client_frame, server_frame};
use schema_wire::{ConversationId, Step};

use crate::id;
use crate::queue::Place;
use crate::world::World;

/// What is written down.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Index of the conversation whose messages are followed.
    pub conversation: Option<usize>,
    /// Whether faults, sessions and other events are noted too.
    pub all: bool,
    pub lines: Vec<String>,
}

impl Trace {
    /// Notes something about the world.
    pub fn note(&mut self, now: u64, text: impl FnOnce() -> String) {
        if self.all {
            self.lines.push(format!("{:>12} us  {}", now, short(&text())));
        }
    }

    fn follows(&self, conversation: ConversationId) -> bool {
        self.conversation == Some(id::index(&conversation.0))
    }
}

/// Shortens what every line repeats: ids become their index.
fn short(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("-0000-000") {
        let (before, after) = rest.split_at(at);
        let kept = before.len().saturating_sub(8);
        let index = before.get(kept..).unwrap_or("").trim_start_matches('0');
        out.push_str(before.get(..kept).unwrap_or(""));
        out.push_str(if index.is_empty() { "#0" } else { "#" });
        out.push_str(index);
        rest = after.get(28..).unwrap_or("");
    }
    out.push_str(rest);
    for noise in [", reason: ", "MessageField::", "ServerFrame", "GONE_REASON_"] {
        out = out.replace(noise, " ");
    }
    out
}

fn file(step: Step) -> String {
    match step {
        Step::Decode => "schema/wire/src/codec.rs".into(),
        step => format!("relay/proto/src/message/{}.rs", step.name()),
    }
}

fn talk(bytes: &[u8]) -> ConversationId {
    ConversationId::from_slice(bytes).unwrap_or_default()
}

impl World {
    fn step(
        &mut self,
        conversation: ConversationId,
        at: (usize, usize),
        step: Step,
        what: impl FnOnce() -> String,
    ) {
        if self.trace.follows(conversation) {
            let (node, shard) = at;
            let line = format!(
                "{:>12} us  node{node}/shard{shard}  {:<9}  {:<40}  {}",
                self.now,
                step.name(),
                what(),
                file(step)
            );
            self.trace.lines.push(line);
        }
    }

    /// A client's frame reaches a shard.
    pub fn trace_received(&mut self, link: usize, frame: &ClientFrame) {
        let place = self.links[link].place;
        let device = self.links[link].device;
        let body = frame.body.as_ref();
        self.trace.note(self.now, || format!("{place:?} link {link} d{device} <- {body:?}"));
        if let Some(client_frame::Body::Publish(publish)) = body {
            let text = String::from_utf8_lossy(&publish.body).into_owned();
            for step in [Step::Admit, Step::Authorise] {
                let text = text.clone();
                self.step(talk(&publish.conversation), (place.node, place.shard), step, || text);
            }
        }
    }

    /// The store decides on an append.
    pub fn trace_append(&mut self, place: Place, append: &Append, appended: &Appended) {
        let text = || format!("{} -> {appended:?}", String::from_utf8_lossy(&append.body));
        self.step(append.conversation, (place.node, place.shard), Step::Append, text);
    }

    /// A shard tells another something.
    pub fn trace_peer(&mut self, place: Place, to: usize, frame: &PeerFrame) {
        if let PeerFrame::Publication(p) = frame {
            let text = || format!("{} to shard{to}", p.offset.0);
            self.step(p.conversation, (place.node, place.shard), Step::FanOut, text);
        }
        self.trace.note(self.now, || format!("{place:?} -> shard{to} {frame:?}"));
    }

    /// A home tells the other nodes.
    pub fn trace_forward(&mut self, node: usize, hint: &Hint) {
        self.trace.note(self.now, || format!("node{node} => {hint:?}"));
        let Hint::Publication(publication) = hint else { return };
        let shard = self.home(publication.conversation);
        let offset = publication.offset.0;
        self.step(publication.conversation, (node, shard), Step::Forward, || {
            format!("{offset} to other nodes")
        });
    }

    /// A frame leaves an outbox.
    pub fn trace_transmitted(&mut self, link: usize, frame: &ServerFrame) {
        let place = self.links[link].place;
        let device = self.links[link].device;
        self.trace.note(self.now, || format!("{place:?} link {link} d{device} -> {:?}", frame.body));
        let at = (place.node, place.shard);
        match &frame.body {
            Some(server_frame::Body::Delivery(d)) => {
                let text = || format!("{} to d{device}: {}", d.offset, String::from_utf8_lossy(&d.body));
                self.step(talk(&d.conversation), at, Step::Deliver, text);
            }
            Some(server_frame::Body::PublishAck(a)) => {
                let text = || format!("{} to d{device}, duplicate: {}", a.offset, a.duplicate);
                self.step(talk(&a.conversation), at, Step::Ack, text);
            }
            _ => {}
        }
    }

    /// An event reaches a shard.
    pub fn trace_event(&mut self, place: Place, event: &Event) {
        if matches!(event, Event::Stored { .. } | Event::Changed { .. } | Event::Control { .. })
            || matches!(event, Event::Forwarded { .. } | Event::Listening { .. } | Event::Bus { .. })
        {
            self.trace.note(self.now, || format!("{place:?} <= {event:?}"));
        }
    }
}
