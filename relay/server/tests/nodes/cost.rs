//! What one copy to another node costs, roughly: CPU of the bus's threads per publication and way from post to inbox, beside
//! two Redis hops alone on the same server. Prints figures; run it on request, on a quiet machine, in release.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use relay_proto::Limits;
use relay_server::mesh::cores::{Inbox, Mail};
use relay_server::mesh::nodes::{self, Bus};
use relay_server::ring::{Ring, RingConfig};
use schema_wire::bus::{Hint, Subject};
use schema_wire::publication::{Publication, delivery, delivery_frame};
use schema_wire::{ConversationId, DeviceId, Generation, Offset, PublishKey, UserId};
use servers::Redis;

const TALK: ConversationId = ConversationId([9; 16]);
const BODY_BYTES: usize = 256;
const PUBLICATIONS: u64 = 200_000;
/// Publications under way at once: a busy node sends many in one round trip.
const WINDOW: u64 = 256;
const ALONE: u64 = 2_000;

fn hint(offset: u64) -> Hint {
    let (from, key, body) =
        ((UserId([1; 16]), DeviceId([2; 16])), PublishKey([3; 16]), Bytes::from(vec![7; BODY_BYTES]));
    let place = (Generation(1), Offset(offset));
    let delivery = delivery(TALK, place.0, place.1, 0, from, 1_800_000_000_000, (None, None), key, body);
    Hint::Publication(Arc::new(Publication {
        conversation: TALK,
        generation: place.0,
        offset: place.1,
        kind: 0,
        sender: from.0,
        device: from.1,
        at: 1_800_000_000_000,
        relates_to: None,
        expires_at: None,
        publish_key: key,
        members_version: 1,
        origin: None,
        frame: delivery_frame(delivery),
    }))
}

struct End {
    bus: Bus,
    inbox: Inbox,
    // Its waker is the inbox's.
    _ring: Ring,
    thread: String,
}

/// CPU time of a thread so far, in nanoseconds.
fn cpu_ns(thread: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).expect("a thread");
    text.split(' ').next().expect("a number").parse().expect("a number")
}

fn bus_threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let ids = tasks.filter_map(|task| task.file_name().into_string().ok());
    let is_bus = |id: &String| {
        std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).is_ok_and(|name| name.trim() == "bus")
    };
    ids.filter(is_bus).collect()
}

fn end(url: &str) -> End {
    let before = bus_threads();
    let ring = Ring::new(&RingConfig::default()).expect("a ring");
    let inbox = Inbox::new(ring.waker());
    let bus = nodes::start(url, vec![inbox.clone()], &Limits::default(), || {}).expect("a bus");
    let thread = bus_threads().into_iter().find(|id| !before.contains(id)).expect("its thread");
    End { bus, inbox, _ring: ring, thread }
}

/// The next publication; everything else is passed over.
fn take(inbox: &Inbox) -> u64 {
    let began = Instant::now();
    loop {
        match inbox.take() {
            Some(Mail::Forwarded { hint: Hint::Publication(publication), .. }) => {
                return publication.offset.0;
            }
            Some(_) => {}
            None => std::thread::yield_now(),
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nothing comes");
    }
}

fn median(mut ways: Vec<Duration>) -> Duration {
    ways.sort_unstable();
    ways[ways.len() / 2]
}

/// From SPUBLISH on one plain connection to the pushed message on another.
fn hops_alone(url: &str) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (pushed, mut messages) = tokio::sync::mpsc::unbounded_channel();
        let client = redis::Client::open(format!("{url}/?protocol=resp3")).expect("a URL");
        let config = redis::AsyncConnectionConfig::new().set_push_sender(pushed);
        let mut hears = client.get_multiplexed_async_connection_with_config(&config).await.expect("connects");
        redis::cmd("SSUBSCRIBE").arg("alone").query_async::<()>(&mut hears).await.expect("subscribes");
        let mut says = client.get_multiplexed_async_connection().await.expect("connects");
        messages.recv().await.expect("the confirmation");
        let mut ways = Vec::new();
        for _ in 0..ALONE {
            let began = Instant::now();
            let body = vec![7u8; BODY_BYTES + 100];
            redis::cmd("SPUBLISH").arg("alone").arg(body).query_async::<()>(&mut says).await.expect("says");
            messages.recv().await.expect("hears");
            ways.push(began.elapsed());
        }
        median(ways)
    })
}

#[test]
#[ignore = "prints figures that only a quiet machine makes meaningful"]
fn one_copy_to_another_node() {
    let redis = Redis::start();
    let url = redis.url();
    let (from, to) = (end(&url), end(&url));
    to.bus.post().listen(Subject::Conversation(TALK), true);
    while !matches!(to.inbox.take(), Some(Mail::Listening { .. })) {
        std::thread::yield_now();
    }
    let post = from.bus.post();
    let mut ways = Vec::new();
    for offset in 1..=ALONE {
        let began = Instant::now();
        post.forward(hint(offset));
        take(&to.inbox);
        ways.push(began.elapsed());
    }
    println!(
        "way of one copy, post to inbox: {:?}; two Redis hops alone: {:?}",
        median(ways),
        hops_alone(&url)
    );
    let before = (cpu_ns(&from.thread), cpu_ns(&to.thread));
    let (mut sent, mut got, began) = (0, 0, Instant::now());
    while got < PUBLICATIONS {
        while sent < PUBLICATIONS && sent - got < WINDOW {
            sent += 1;
            post.forward(hint(sent));
        }
        got += u64::from(take(&to.inbox) > 0);
    }
    let each = |ns: u64| ns as f64 / PUBLICATIONS as f64 / 1_000.0;
    println!(
        "{PUBLICATIONS} copies of {BODY_BYTES} B, {WINDOW} under way: {:.2} us of the sender's bus, {:.2} us of the \
         receiver's, {:.0} a second",
        each(cpu_ns(&from.thread) - before.0),
        each(cpu_ns(&to.thread) - before.1),
        PUBLICATIONS as f64 / began.elapsed().as_secs_f64(),
    );
}
